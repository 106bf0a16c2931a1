"""The law tools as the service mounts them: `search_law`, `read_law`, and the routes that others' clients expect."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prometheus_client.metrics_core import Metric
from starlette.routing import BaseRoute

from toolsandbox.contract import LawHit, ReadLaw, ReadReply, SearchLaw, SearchReply, ToolReply
from toolsandbox.law.dense import Embedder
from toolsandbox.law.index import LawIndex, open_index
from toolsandbox.law.read import LawReader
from toolsandbox.law.search import MAX_QUERY_CHARACTERS, LawSearch
from toolsandbox.law.wire import law_routes, make_measure
from toolsandbox.tools import Caller, Health, Tool

MAX_HIT_CHARACTERS = 4_000
MAX_REPLY_CHARACTERS = 40_000
SHORT_QUERY = 600
"""Characters whose search takes about two milliseconds: the way to a thread and back would cost more than it saves."""


class LawTools:
    """Long queries, and those that wait for an embedding model, run in threads: others are answered meanwhile."""

    def __init__(
        self,
        corpus: Path,
        *,
        language: str | None = None,
        folder: Path | None = None,
        embedder: Embedder | None = None,
    ) -> None:
        self._open = lambda: open_index(corpus, language=language, folder=folder, embedder=embedder)
        self._embedder = embedder
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="law")
        self._requests = make_measure()
        self._index: LawIndex | None = None
        self.engine: LawSearch
        self.reader: LawReader

    async def start(self) -> None:
        self._index = await asyncio.to_thread(self._open)
        self.engine = LawSearch(self._index, embed=self._embedder.embed_query if self._embedder else None)
        self.reader = LawReader(self._index.sections, self.engine.names)

    async def stop(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def tools(self) -> list[Tool]:
        return [
            Tool(
                "search_law",
                "Search the legislation. Returns the sections that fit the query best, each with its law and number.",
                SearchLaw,
                SearchReply,
                self._search,
                read_only=True,
            ),
            Tool(
                "read_law",
                "Read one section of a law by the law's name and the section's number, or the whole law.",
                ReadLaw,
                ReadReply,
                self._read,
                read_only=True,
            ),
        ]

    def routes(self) -> list[BaseRoute]:
        return law_routes(self, self._requests)

    def collect(self) -> Iterable[Metric]:
        """Measures of others' clients' routes, for Prometheus."""
        return self._requests.collect()

    def health(self) -> Health:
        if self._index is None:
            return Health(False, "the index is not open yet")
        facts: dict[str, str | int | float | bool] = {
            "corpus_hash": self._index.corpus_hash,
            "language": self._index.language.name,
            "laws": len(self.engine.names.names),
            "sections": len(self._index.sections),
        }
        if self._embedder is not None:
            facts["embeddings"] = self._embedder.model
        return Health(True, facts=facts)

    async def find(self, query: str, top_k: int) -> list[LawHit]:
        """Whole texts, uncut."""
        if self._embedder is None and len(query) <= SHORT_QUERY:
            ranked = self.engine.search(query, top_k)
        else:
            loop = asyncio.get_running_loop()
            ranked = await loop.run_in_executor(self._threads, self.engine.search, query, top_k)
        sections = self.engine.index.sections
        return [
            LawHit(
                law_name=sections[place].law_name,
                section_num=sections[place].section_num,
                text=sections[place].text,
                score=round(score, 6),
            )
            for place, score in ranked
        ]

    async def _search(self, arguments: SearchLaw, caller: Caller) -> ToolReply:
        if not arguments.query.strip():
            return SearchReply(status="rejected", text="query is empty: write what to look for.")
        if len(arguments.query) > MAX_QUERY_CHARACTERS:
            return SearchReply(status="rejected", text=f"query may have {MAX_QUERY_CHARACTERS} characters: shorten it.")
        hits = await self.find(arguments.query, arguments.top_k)
        return show_hits(hits)

    async def _read(self, arguments: ReadLaw, caller: Caller) -> ToolReply:
        return self.reader.read(arguments)


def show_hits(hits: list[LawHit]) -> SearchReply:
    """What the policy reads. A long section is cut, and fewer sections are shown than found, saying so each time."""
    if not hits:
        return SearchReply(status="ok", text="No section fits. Try other words, or fewer.")
    pieces, shown, truncated = [], [], False
    room = MAX_REPLY_CHARACTERS
    for number, hit in enumerate(hits, 1):
        text = hit.text
        if len(text) > MAX_HIT_CHARACTERS:
            truncated = True
            text = text[:MAX_HIT_CHARACTERS]
            hit = hit.model_copy(update={"text": text})
            text += f" [Cut: read the rest with read_law, section_num {hit.section_num}.]"
        piece = f"[{number}] {hit.law_name} {hit.section_num}\n{text}\n"
        if len(piece) > room:
            truncated = True
            pieces.append(f"[{len(hits) - number + 1} more sections are not shown: the reply is full.]")
            break
        room -= len(piece)
        pieces.append(piece)
        shown.append(hit)
    return SearchReply(status="ok", text="\n".join(pieces).rstrip("\n"), hits=shown, truncated=truncated)
