"""A code of law about markets, the tool service that reads it, and questions whose answers stand in it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.sandbox_serving import serve_tools

PLACES = ("Nakhon", "Ban Mai", "Pak Nam", "Doi Saket", "Lampang", "Mae Rim", "Chiang Dao", "Phrae")
LAW = "Market Code"


def day(place: int) -> str:
    return f"On day {3 * place % 28 + 1}."


def question(place: int) -> str:
    return f"When does the market of {PLACES[place]} open?"


def asked(place: int) -> dict[str, Any]:
    """A row of prompts with all that rewards look at."""
    return {
        "id": f"market-{place}",
        "question": question(place),
        "answer": day(place),
        "citations": [{"law": LAW, "section": str(place + 1)}],
    }


@contextmanager
def serve_markets(folder: Path, *, places: int = len(PLACES)) -> Iterator[str]:
    """Address of the real service over the code, or its first sections, law tools only."""
    sections = [
        {
            "law_name": LAW,
            "section_num": str(n + 1),
            "text": f"The market of {name} opens on day {3 * n % 28 + 1}.",
        }
        for n, name in enumerate(PLACES[:places])
    ]
    (folder / "laws.jsonl").write_text("".join(json.dumps(one) + "\n" for one in sections))
    with serve_tools(folder, "--no-code", "--corpus", folder / "laws.jsonl") as address:
        yield address


def taught(place: int, address: str) -> dict[str, Any]:
    """A conversation as the service would have it."""
    arguments = {"query": f"market {PLACES[place]}", "top_k": 1}
    said = httpx.post(f"{address}/v1/tools/search_law", json={"arguments": arguments}).json()["result"]["text"]
    return {
        "messages": [
            {"role": "user", "content": question(place)},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "search_law", "arguments": arguments}}],
            },
            {"role": "tool", "content": said},
            {"role": "assistant", "content": day(place)},
        ]
    }
