"""Exact JSON of the endpoints that other projects' clients call, and of our own."""

import pytest
from law_rows import ROWS, write_corpus
from starlette.testclient import TestClient

from toolsandbox.contract import LawHit
from toolsandbox.law.provider import LawTools, show_hits
from toolsandbox.service import build_app
from toolsandbox.settings import ServiceSettings

QUERY = "มาตรา 65 ทวิ แห่งประมวลรัษฎากร"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wire")
    tools = LawTools(write_corpus(folder / "laws.jsonl"), folder=folder / "indexes")
    with TestClient(build_app(ServiceSettings(), [tools])) as client:
        yield client


@pytest.mark.parametrize("path", ["/search", "/retrieve"])
def test_retrieval_answers_one_list_per_query(client, path):
    response = client.post(path, json={"queries": [QUERY, "zzzz"], "topk": 1, "return_scores": True})
    score = response.json()["result"][0][0]["score"]
    assert response.json() == {
        "result": [[{"document": {"contents": f"ประมวลรัษฎากร 65 ทวิ\n{ROWS[5][2]}"}, "score": score}], []]
    }
    assert 2.0 < score < 2.1


def test_retrieval_without_scores_answers_bare_documents_but_search_never_does(client):
    asked = {"queries": [QUERY], "topk": 1, "return_scores": False}
    assert client.post("/retrieve", json=asked).json() == {
        "result": [[{"contents": f"ประมวลรัษฎากร 65 ทวิ\n{ROWS[5][2]}"}]]
    }
    assert set(client.post("/search", json=asked).json()["result"][0][0]) == {"document", "score"}


def test_three_documents_unless_asked_otherwise(client):
    assert len(client.post("/search", json={"queries": ["ประมวลรัษฎากร"]}).json()["result"][0]) == 3


def test_read_answers_a_text_or_404(client):
    found = client.post("/read", json={"law_name": "ประมวลรัษฎากร", "section_num": "มาตรา 10"})
    assert (found.status_code, found.json()) == (200, {"text": ROWS[1][2]})
    whole = client.post("/read", json={"law_name": "ประมวลรัษฎากร", "section_num": None}).json()["text"]
    assert whole.startswith(f"Law: ประมวลรัษฎากร\n\n--- Section 1 ---\n{ROWS[0][2]}\n\n--- Section 2 ---\n")
    for name, section in [("กฎหมายดวงจันทร์", None), ("ประมวลรัษฎากร", "99"), ("ก", "1"), ("", None)]:
        missing = client.post("/read", json={"law_name": name, "section_num": section})
        assert (missing.status_code, missing.json()) == (404, {"detail": "Law not found"})


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"queries": "one"},
        {"queries": ["a"] * 65},
        {"queries": ["a"], "topk": 0},
        {"queries": ["a"], "topk": 10**9},
        {"queries": ["x" * 20_001]},
        {"queries": [None]},
    ],
)
def test_requests_beyond_the_limits_are_422(client, asked):
    response = client.post("/search", json=asked)
    assert response.status_code == 422
    assert response.json()["detail"]


def test_search_law_natively(client):
    response = client.post("/v1/tools/search_law", json={"arguments": {"query": QUERY, "top_k": 2}})
    result = response.json()["result"]
    assert result["status"] == "ok"
    assert result["hits"][0] | {"score": 0} == {
        "law_name": "ประมวลรัษฎากร",
        "section_num": "65 ทวิ",
        "text": ROWS[5][2],
        "score": 0,
    }
    assert result["text"].startswith(f"[1] ประมวลรัษฎากร 65 ทวิ\n{ROWS[5][2]}\n\n[2] ")
    assert (
        client.post("/v1/tools/search_law", json={"arguments": {"query": " "}}).json()["result"]["status"] == "rejected"
    )


def test_read_law_natively(client):
    arguments = '{"law_name": "บัญชี", "section_num": "8"}'
    result = client.post("/v1/tools/read_law", json={"arguments": arguments}).json()["result"]
    assert (result["status"], result["answer"], len(result["candidates"])) == ("error", "ambiguous_law", 2)


def test_a_long_reply_is_cut_on_a_section_and_says_so():
    hits = [LawHit(law_name="a", section_num=str(number), text="x" * 3_990, score=1.0) for number in range(12)]
    reply = show_hits(hits)
    assert reply.truncated
    assert len(reply.hits) == 10 - (len(reply.text) < 39_000)
    assert reply.text.endswith("more sections are not shown: the reply is full.]")
    cut = show_hits([LawHit(law_name="a", section_num="1", text="y" * 5_000, score=1.0)])
    assert cut.text.endswith("y [Cut: read the rest with read_law, section_num 1.]")
    assert len(cut.hits[0].text) == 4_000


async def test_many_searches_at_once_answer_as_one_does(tmp_path):
    tools = LawTools(write_corpus(tmp_path / "laws.jsonl"), folder=tmp_path / "indexes")
    await tools.start()
    try:
        import asyncio

        alone = [await tools.find(row[2], 5) for row in ROWS]
        together = await asyncio.gather(*(tools.find(row[2], 5) for row in ROWS * 10))
        assert together == alone * 10
    finally:
        await tools.stop()


def test_requests_of_others_clients_are_counted_by_what_came_of_them(tmp_path):
    tools = LawTools(write_corpus(tmp_path / "laws.jsonl"), folder=tmp_path / "indexes")
    with TestClient(build_app(ServiceSettings(), [tools])) as client:
        for path in ("/search", "/search", "/retrieve"):
            client.post(path, json={"queries": [QUERY]})
        client.post("/search", json={"queries": "one"})
        client.post("/read", json={"law_name": "ประมวลรัษฎากร", "section_num": "10"})
        client.post("/read", json={"law_name": "กฎหมายดวงจันทร์"})
        lines = client.get("/metrics").text.splitlines()
    counts = [line for line in lines if line.startswith("toolsandbox_law_request_seconds_count")]
    assert sorted(line.partition("_count")[2] for line in counts) == [
        '{path="/read",status="200"} 1.0',
        '{path="/read",status="404"} 1.0',
        '{path="/retrieve",status="200"} 1.0',
        '{path="/search",status="200"} 2.0',
        '{path="/search",status="422"} 1.0',
    ]
