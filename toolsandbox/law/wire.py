"""Endpoints that other projects' clients call: Typhoon-S `/search` and `/read`, Search-R1 `/retrieve`.

Shapes and status codes are theirs. Ours are the limits, and that nothing is guessed: a law name that could be
several, or is none, is their 404, never the law whose name happens to be longest.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from prometheus_client import Histogram
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from toolsandbox.contract import ReadLaw
from toolsandbox.entrance import answer_unprocessable

if TYPE_CHECKING:
    from toolsandbox.law.provider import LawTools

BUCKETS_S = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10)
MAX_QUERIES = 64
MAX_QUERY = 20_000
MAX_TEXT_CHARACTERS = 2_000_000
"""Of all the documents in one reply; a batch whose replies would be longer gets 413."""


class Retrieve(BaseModel):
    """Fields that a client adds are ignored, as the originals do."""

    model_config = ConfigDict(extra="ignore")

    queries: list[str] = Field(max_length=MAX_QUERIES)
    topk: int = Field(default=3, ge=1, le=50)
    return_scores: bool = True


class Read(BaseModel):
    model_config = ConfigDict(extra="ignore")

    law_name: str
    section_num: str | None = None


def make_measure() -> Histogram:
    """Of one service; whoever mounts the routes tells it."""
    return Histogram(
        "toolsandbox_law_request_seconds",
        "Requests of /search, /retrieve and /read by status code, and their time",
        ["path", "status"],
        buckets=BUCKETS_S,
        registry=None,
    )


def law_routes(tools: LawTools, measure: Histogram) -> list[BaseRoute]:
    def counted(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def count(request: Request) -> Response:
            begun, status = time.perf_counter(), 500
            try:
                response = await answer(request)
                status = response.status_code
            finally:
                measure.labels(request.url.path, str(status)).observe(time.perf_counter() - begun)
            return response

        return count

    async def search(request: Request) -> Response:
        """Typhoon-S gives the score whatever is asked."""
        return await retrieve_for(request, always_scored=True)

    async def retrieve(request: Request) -> Response:
        return await retrieve_for(request, always_scored=False)

    async def retrieve_for(request: Request, *, always_scored: bool) -> Response:
        try:
            asked = Retrieve.model_validate_json(await request.body())
        except ValidationError as error:
            return answer_unprocessable(error)
        too_long = next((place for place, query in enumerate(asked.queries) if len(query) > MAX_QUERY), None)
        if too_long is not None:
            return JSONResponse({"detail": f"queries[{too_long}]: more than {MAX_QUERY} characters"}, status_code=422)
        results: list[list[dict[str, Any]]] = []
        room = MAX_TEXT_CHARACTERS
        for query in asked.queries:
            hits = await tools.find(query, asked.topk)
            documents = [{"contents": f"{hit.law_name} {hit.section_num}\n{hit.text}"} for hit in hits]
            room -= sum(len(document["contents"]) for document in documents)
            if room < 0:
                return JSONResponse({"detail": "the reply is too long: ask fewer queries or a lower topk"}, 413)
            if asked.return_scores or always_scored:
                results.append(
                    [{"document": found, "score": hit.score} for found, hit in zip(documents, hits, strict=True)]
                )
            else:
                results.append(list(documents))
        return JSONResponse({"result": results})

    async def read(request: Request) -> Response:
        try:
            asked = Read.model_validate_json(await request.body())
        except ValidationError as error:
            return answer_unprocessable(error)
        reply = tools.reader.read(ReadLaw(law_name=asked.law_name, section_num=asked.section_num))
        if reply.status != "ok":
            return JSONResponse({"detail": "Law not found"}, status_code=404)
        return JSONResponse({"text": reply.text})

    return [
        Route("/search", counted(search), methods=["POST"]),
        Route("/retrieve", counted(retrieve), methods=["POST"]),
        Route("/read", counted(read), methods=["POST"]),
    ]
