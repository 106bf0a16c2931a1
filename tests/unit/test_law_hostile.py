"""What a hostile policy writes into the law tools: every call ends soon, with one status and valid UTF-8."""

import json
import random
import time

import pytest
from law_rows import ROWS, write_corpus
from starlette.testclient import TestClient

from toolsandbox.contract import ReadLaw
from toolsandbox.law.provider import LawTools
from toolsandbox.law.writing import normalise
from toolsandbox.service import build_app
from toolsandbox.settings import ServiceSettings

FULL = 20_000
"""Characters of the longest query that is searched."""
LAW = ROWS[0][0]
CPU_SECONDS = 5.0
"""A search of the longest query takes 0.2 s; a step whose time grows with the square would take minutes."""


def fill(piece: str) -> str:
    return (piece * FULL)[:FULL]


def scatter(first: int, last: int) -> str:
    draw = random.Random(0)
    return "".join(chr(draw.randrange(first, last)) for _ in range(FULL))


HOSTILE = {
    "digits": fill("1"),
    "Thai digits": fill("๙"),
    "citations": fill("มาตรา 1 "),
    "a long list": "มาตรา " + fill("1, และ "),
    "strokes": "มาตรา " + fill("1/"),
    "paragraph signs": fill("§ "),
    "German citations": fill("§§ 1, 2 und 3 BGB "),
    "names": fill(LAW),
    "cited names": fill(f"มาตรา 1 แห่ง{LAW} "),
    "years": fill("พ.ศ.2543"),
    "emoji": fill("👩‍👩‍👧‍👦"),
    "right to left": fill("\u202e\u2066\u200f"),
    "control characters": fill("".join(map(chr, range(32)))),
    "escape sequences": fill("\x1b[2J\x1b]0;x\x07"),
    "combining marks": fill("a\u0301\u0301"),
    "Thai tones": fill("\u0e48\u0e49"),
    "nothing visible": fill("\u200b\u2060"),
    "one word": fill("ก"),
    "ambiguous words": fill("ตากลมมาก"),
    "characters that stand for many": fill("\ufdfa"),
    "white space": "มาตรา" + " " * (FULL - 6) + "1",
    "brackets": fill("(((a+)+)+)$["),
    "backtracking": "a" * (FULL - 1) + "!",
    "quotes": fill("'\"\\`"),
    "markup": fill("</tool_response><|im_end|>"),
    "any Thai": scatter(0x0E01, 0x0E5B),
    "any letters": scatter(0x20, 0xD7FF),
}


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    return LawTools(write_corpus(folder / "laws.jsonl"), folder=folder / "indexes")


@pytest.fixture(scope="module")
def client(tools):
    with TestClient(build_app(ServiceSettings(), [tools])) as client:
        yield client


def call(client, tool, **arguments):
    """The result of a call that must be answered with 200 and within its share of processor time."""
    begun = time.process_time()
    response = client.post(f"/v1/tools/{tool}", json={"arguments": arguments})
    assert time.process_time() - begun < CPU_SECONDS
    assert response.status_code == 200
    return json.loads(response.content.decode("utf-8"))["result"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_query_is_searched_or_refused_and_answers_twice_alike(client, name):
    first, again = (call(client, "search_law", query=HOSTILE[name], top_k=50) for _ in range(2))
    assert first["status"] in {"ok", "rejected"}
    assert first["hits"] == again["hits"]
    assert all(hit["law_name"] in {row[0] for row in ROWS} for hit in first["hits"])


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_or_section_is_answered_in_words(client, name):
    part = HOSTILE[name]
    for arguments in (
        {"law_name": part[:500]},
        {"law_name": LAW, "section_num": part[:100]},
        {"law_name": part[:500], "section_num": part[:100]},
        {"law_name": part},
        {"law_name": LAW, "section_num": part},
    ):
        result = call(client, "read_law", **arguments)
        assert result["answer"] in {"found", "unknown_law", "unknown_section", "ambiguous_law", "invalid"}
        assert (result["status"] == "ok") == (result["answer"] == "found")
        assert 0 < len(result["text"]) < 25_000


@pytest.mark.parametrize("query", ["", " \t\n", "\u3000"])
def test_a_query_without_a_letter_is_refused_in_words(client, query):
    result = call(client, "search_law", query=query)
    assert (result["status"], result["text"]) == ("rejected", "query is empty: write what to look for.")


def test_a_megabyte_is_refused_with_the_limit(client):
    result = call(client, "search_law", query="ก" * (1 << 20))
    assert (result["status"], result["text"]) == ("rejected", "query may have 20000 characters: shorten it.")
    result = call(client, "read_law", law_name="ก" * (1 << 20))
    assert (result["status"], result["answer"]) == ("rejected", "invalid")
    assert len(result["text"]) < 200


def test_half_of_a_surrogate_pair_breaks_nothing(client, tools):
    body = b'{"arguments": {"query": "\\ud800 \xe0\xb8\x81"}}'
    assert client.post("/v1/tools/search_law", content=body).status_code in {200, 400}
    assert tools.engine.search("\ud800\udfff", 5) == []
    assert tools.reader.read(ReadLaw.model_construct(law_name=LAW, section_num="\ud800")).answer == "unknown_section"
    assert normalise("a\ud800b") == "a\ufffdb"


def test_what_a_query_becomes_is_limited_too(tools):
    """Each of these characters stands for eighteen."""
    begun = time.process_time()
    tools.engine.search(fill("\ufdfa"), 50)
    assert time.process_time() - begun < CPU_SECONDS


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[" * 100_000, b'{"queries": [' + b'"a",' * 10_000 + b'"a"]}'])
@pytest.mark.parametrize("path", ["/search", "/retrieve", "/read"])
def test_a_body_that_is_none_is_422_on_the_routes_of_others(client, path, body):
    assert client.post(path, content=body).status_code == 422
