"""Agents behind an endpoint that answers, misbehaves or goes away, with the real tool service."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.broken_tools import break_some
from tests.judge_server import JudgeServer, Reply, serve
from tests.market_laws import PLACES, asked, day, question, serve_markets
from trainer.contract import ExitCode
from trainer.contract.events import ScoredSample
from trainer.evaluation.command import main
from trainer.evaluation.endpoint import asking

TASK: dict[str, Any] = {
    "task": "markets",
    "dataset": "ask@1",
    "output_type": "agent",
    "metric": "exact",
    "generation_kwargs": {"max_gen_toks": 500},
    "agent": {
        "rewards": [{"kind": "exact"}, {"kind": "gold_section", "tools": ["search_law"]}],
        "system_prompt": "Look it up.",
    },
}
Body = dict[str, Any]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_markets(tmp_path_factory.mktemp("laws")) as address:
        yield address


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(asking, "LONGEST_WAIT", 0.02)


def says(text: str | None, *calls: tuple[str, str], used: tuple[int, int] = (100, 10), **how: Any) -> Reply:
    """A chat completion with calls, as (tool, arguments)."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {"id": f"id-{place}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for place, (name, arguments) in enumerate(calls)
        ]
    usage = {"prompt_tokens": used[0], "completion_tokens": used[1]}
    finished = how.pop("finish_reason", "tool_calls" if calls else "stop")
    return Reply({"choices": [{"message": message, "finish_reason": finished}], "usage": usage}, **how)


def place_of(body: Body) -> int:
    """Which market a conversation is about."""
    asked_about = next(one["content"] for one in body["messages"] if one["role"] == "user")
    return next(place for place in range(len(PLACES)) if question(place) == asked_about)


def look_up(body: Body) -> Reply:
    return says(None, ("search_law", json.dumps({"query": f"market {PLACES[place_of(body)]}", "top_k": 1})))


def looks_up_and_answers(number: int, body: Body) -> Reply:
    if body["messages"][-1]["role"] == "tool":
        return says(day(place_of(body)), used=(150, 5))
    return look_up(body)


@pytest.fixture
def evaluate(tmp_path: Path, service: str) -> Callable[..., int]:
    """Run the command against an endpoint with the first `count` markets."""

    def run(endpoint: JudgeServer, *more: str, count: int = 3, limits: Any = None, tools: str = "", out: str = "out"):
        rows = "".join(json.dumps(asked(place)) + "\n" for place in range(count))
        (tmp_path / "ask.jsonl").write_text(rows)
        (tmp_path / "task.yaml").write_text(yaml.safe_dump(TASK))
        toolset = {"name": "law@1", "tools": ["search_law", "read_law"], "address": tools or service}
        (tmp_path / "tools.yaml").write_text(yaml.safe_dump({**toolset, "limits": limits or {}}))
        words = ["--endpoint", endpoint.url, "--model", "judge", "--task", tmp_path / "task.yaml"]
        words += ["--data", f"ask={tmp_path / 'ask.jsonl'}", "--toolset", tmp_path / "tools.yaml"]
        return main([*map(str, words), "--out", str(tmp_path / out), *more])

    return run


@pytest.fixture
def samples(tmp_path: Path) -> Callable[[], dict[str, ScoredSample]]:
    def read() -> dict[str, ScoredSample]:
        lines = (tmp_path / "out/evaluations/markets.jsonl").read_text().splitlines()
        return {one.item: one for one in map(ScoredSample.model_validate_json, lines)}

    return read


def test_an_agent_is_told_its_tools_reads_them_and_is_judged(evaluate, samples, capsys: pytest.CaptureFixture[str]):
    with serve(looks_up_and_answers) as endpoint:
        assert evaluate(endpoint, "--price", "2,8", "--concurrency", "2") == ExitCode.FINISHED
    found = samples()
    assert list(found) == ["market-0", "market-1", "market-2"]
    assert all(one.score == 1 and one.output == one.target for one in found.values())
    episode = found["market-1"].episode
    assert (episode.turns, episode.calls, episode.prompt_tokens, episode.completion_tokens) == (2, 1, 250, 15)
    assert episode.cost == pytest.approx((250 * 2 + 15 * 8) / 1e6)
    assert episode.rewards == {"exact": 1.0, "gold_section": 1.0}
    assert episode.conversation[0].calls[0].output.startswith("[1] Market Code")
    first = next(body for body in endpoint.asked if len(body["messages"]) == 2)
    assert [one["role"] for one in first["messages"]] == ["system", "user"]
    assert {one["function"]["name"] for one in first["tools"]} == {"search_law", "read_law"}
    assert (first["temperature"], first["max_tokens"]) == (0.0, 500)
    # The episode's room: 500 less what was used after the first prompt.
    second = next(body for body in endpoint.asked if len(body["messages"]) == 4)
    assert second["max_tokens"] == 490
    out, err = capsys.readouterr()
    assert "750 tokens read, 45 written; cost 0.0019" in out
    assert "markets: 3 of 3" in err


def test_calls_of_one_turn_are_answered_in_their_order_each_under_its_id(evaluate, samples):
    def script(number: int, body: Body) -> Reply:
        if body["messages"][-1]["role"] == "tool":
            return says(day(0))
        calls = [("read_law", json.dumps({"law_name": "Market Code", "section_num": str(n)})) for n in (3, 1, 2)]
        return says("I read three.", *calls)

    with serve(script) as endpoint:
        evaluate(endpoint, count=1)
    *_, turn, first, second, third = endpoint.asked[-1]["messages"]
    assert [call["id"] for call in turn["tool_calls"]] == ["id-0", "id-1", "id-2"]
    assert [one["tool_call_id"] for one in (first, second, third)] == ["id-0", "id-1", "id-2"]
    assert [PLACES[n - 1] in one["content"] for n, one in zip((3, 1, 2), (first, second, third), strict=True)] == [
        True,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("name", "arguments", "told", "repeated"),
    [
        ("search_law", '{"query": ', "not valid JSON", {"unreadable": '{"query": '}),
        ("search_law", '["a"]', "not a JSON object", {"unreadable": '["a"]'}),
        ("search_law", '{"query": "\\ud800"}', "a character that JSON does not have", {"query": "\ud800"}),
        (
            "search_law",
            '{"top_k": NaN}',
            "a number or a character that JSON does not have",
            {"unreadable": '{"top_k": NaN}'},
        ),
        ("open_door", "{}", "there is no tool 'open_door'; the tools are: search_law, read_law", {}),
    ],
)
def test_calls_that_cannot_be_made_are_answered_with_what_is_wrong(
    evaluate, samples, name: str, arguments: str, told: str, repeated: Any
):
    def script(number: int, body: Body) -> Reply:
        return says(day(0)) if number else says(None, (name, arguments))

    with serve(script) as endpoint:
        evaluate(endpoint, count=1)
    *_, turn, answer = endpoint.asked[1]["messages"]
    assert told in answer["content"]
    # Servers refuse a history whose arguments are no JSON object.
    assert json.loads(turn["tool_calls"][0]["function"]["arguments"]) == repeated
    episode = samples()["market-0"].episode
    assert (episode.malformed_calls, episode.tool_errors, episode.rewards["exact"]) == (1, 0, 1.0)


@pytest.mark.parametrize(
    ("written", "told", "repeated"),
    [
        ('{"name": "search_law", "arguments": {"query": "Nakhon"}}', "[1] Market Code", {"query": "Nakhon"}),
        ('{"name": "search_law", ', "not valid JSON", {"unreadable": '{"name": "search_law", '}),
    ],
)
def test_calls_that_a_server_leaves_in_the_text_are_read_as_training_reads_them(
    evaluate, samples, written: str, told: str, repeated: Any
):
    def script(number: int, body: Body) -> Reply:
        return says(day(0)) if number else says(f"Let me see. <tool_call>{written}</tool_call>")

    with serve(script) as endpoint:
        evaluate(endpoint, count=1)
    *_, turn, answer = endpoint.asked[1]["messages"]
    assert told in answer["content"]
    assert (turn["content"], answer["tool_call_id"]) == ("Let me see. ", turn["tool_calls"][0]["id"])
    assert json.loads(turn["tool_calls"][0]["function"]["arguments"]) == repeated
    assert (samples()["market-0"].episode.calls, samples()["market-0"].score) == (1, 1.0)


def test_half_characters_of_an_endpoint_are_no_end_of_the_evaluation(evaluate, samples):
    with serve(lambda number, body: says("\ud801") if number else says("\ud800", ("\udfff", "\ud800"))) as endpoint:
        assert evaluate(endpoint, count=1) == ExitCode.FINISHED
    assert (samples()["market-0"].output, samples()["market-0"].episode.malformed_calls) == ("?", 1)


def test_endless_calls_end_at_the_limit_of_turns_and_count_as_wrong(evaluate, samples):
    with serve(lambda number, body: look_up(body)) as endpoint:
        assert evaluate(endpoint, count=1, limits={"turns": 3}) == ExitCode.FINISHED
    sample = samples()["market-0"]
    assert (sample.score, sample.status, sample.episode.stop_reason) == (0.0, "ok", "turn_limit")
    assert len(endpoint.asked) == 3


def test_an_episode_without_room_is_cut_off(evaluate, samples):
    def script(number: int, body: Body) -> Reply:
        return says(None, ("search_law", '{"query": "market"}'), used=(100 + 300 * number, 10))

    with serve(script) as endpoint:
        evaluate(endpoint, count=1)
    sample = samples()["market-0"]
    assert (sample.score, sample.status, sample.episode.stop_reason) == (0.0, "truncated", "length")
    assert [body["max_tokens"] for body in endpoint.asked] == [500, 490, 190]


def test_a_conversation_that_the_server_finds_too_long_is_the_agents_doing(evaluate, samples):
    fault = {"error": {"message": "This model's maximum context length is 100 tokens."}}
    with serve(lambda number, body: Reply(fault, status=400)) as endpoint:
        assert evaluate(endpoint, count=1) == ExitCode.FINISHED
    assert (samples()["market-0"].score, samples()["market-0"].status) == (0.0, "truncated")


def misbehaves(number: int) -> Reply:
    """A different fault each time."""
    faults = [
        Reply({"error": {"message": "overloaded"}}, status=500),
        Reply(b"<html>nonsense</html>"),
        Reply({"choices": []}),
        Reply({"choices": [{"message": {"content": 7}}]}),
        Reply({}, hang_up=True),
        Reply({"error": {"message": "later"}}, status=429, headers={"Retry-After": "0"}),
        Reply({"choices": [{"message": {"content": None, "tool_calls": ["search_law"]}}]}),
        Reply({"choices": "x"}, after_s=30),
    ]
    return faults[number % len(faults)]


def test_an_endpoint_that_recovers_is_asked_again_and_nothing_is_lost(evaluate, samples):
    seen: dict[int, int] = {}
    lock = threading.Lock()

    def script(number: int, body: Body) -> Reply:
        with lock:
            seen[place_of(body)] = turn = seen.get(place_of(body), -1) + 1
        return misbehaves(turn) if turn < 8 else looks_up_and_answers(number, body)

    with serve(script) as endpoint:
        assert evaluate(endpoint, "--attempts", "40", "--seconds", "2", count=2) == ExitCode.FINISHED
    assert [one.score for one in samples().values()] == [1.0, 1.0]


def test_what_an_endpoint_never_answers_is_left_out_and_asked_again_by_the_next_run(
    evaluate, samples, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def script(number: int, body: Body) -> Reply:
        broken = place_of(body) == 1
        return Reply({"error": {"message": "out of memory"}}, status=500) if broken else looks_up_and_answers(0, body)

    with serve(script) as endpoint:
        assert evaluate(endpoint, "--attempts", "2") == ExitCode.FINISHED
        asked_of_broken = sum(place_of(body) == 1 for body in endpoint.asked)
    found = samples()
    assert asked_of_broken == 2
    assert (found["market-1"].status, found["market-1"].score) == ("left_out", None)
    out = capsys.readouterr().out
    assert out.splitlines()[1].split()[:3] == ["markets", "exact", "1.000"]
    assert "markets: 1 items are left out of the score, through no fault of the model" in out
    assert "answered with status 500: out of memory" in out
    with serve(looks_up_and_answers) as endpoint:
        assert evaluate(endpoint) == ExitCode.FINISHED
        assert {place_of(body) for body in endpoint.asked} == {1}
    assert [one.score for one in samples().values()] == [1.0, 1.0, 1.0]
    assert not (tmp_path / "out/evaluations/markets.jsonl.partial").exists()


def test_an_endpoint_that_goes_away_ends_the_evaluation_and_what_was_answered_is_kept(
    evaluate, samples, capsys: pytest.CaptureFixture[str]
):
    def script(number: int, body: Body) -> Reply:
        if place_of(body) < 2:
            return looks_up_and_answers(number, body)
        return Reply({"error": {"message": "no such key"}}, status=401)

    with serve(script) as endpoint:
        assert evaluate(endpoint, "--concurrency", "1", count=8) == ExitCode.FAILED
    err = capsys.readouterr().err
    assert "refuses calls without a key; name api_key_env (status 401). What was answered is kept" in err
    with serve(looks_up_and_answers) as endpoint:
        assert evaluate(endpoint, count=8) == ExitCode.FINISHED
        assert {place_of(body) for body in endpoint.asked} == set(range(2, 8))
    assert "markets: 2 of 8" in capsys.readouterr().err
    assert len(samples()) == 8


def test_an_endpoint_that_fails_one_item_after_the_other_is_given_up(evaluate, capsys: pytest.CaptureFixture[str]):
    with serve(lambda number, body: Reply({"error": {"message": "busy"}}, status=503)) as endpoint:
        assert evaluate(endpoint, "--attempts", "1", "--concurrency", "2", count=8) == ExitCode.FAILED
    err = capsys.readouterr().err
    assert "the last 4 items could not be asked or judged; of the last one: " in err
    assert "answered with status 503: busy." in err


def test_answers_to_another_task_are_not_mixed_in(evaluate, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with serve(lambda number, body: Reply({}, status=401)) as endpoint:
        evaluate(endpoint)
        assert evaluate(endpoint, limits={"turns": 2}) == ExitCode.INVALID_SPEC
    assert "holds answers to another task, from another model or with other tools; remove it" in capsys.readouterr().err


def test_a_torn_line_of_a_crash_is_asked_again(evaluate, samples, tmp_path: Path):
    with serve(lambda number, body: Reply({}, status=401)) as endpoint:
        evaluate(endpoint)
    partial = tmp_path / "out/evaluations/markets.jsonl.partial"
    partial.write_bytes(partial.read_bytes() + '{"item": "market-0", "prompt": "ตลาด'.encode()[:-1])
    with serve(looks_up_and_answers) as endpoint:
        assert evaluate(endpoint) == ExitCode.FINISHED
    assert [one.score for one in samples().values()] == [1.0, 1.0, 1.0]


def test_items_whose_tools_fail_are_no_wrong_answers(evaluate, samples, service: str):
    with serve(looks_up_and_answers) as endpoint, break_some(service, lambda body: b"Ban Mai" in body) as tools:
        assert evaluate(endpoint, tools=tools, limits={"retries": 0}) == ExitCode.FINISHED
    assert [one.status for one in samples().values()] == ["ok", "left_out", "ok"]


def test_the_key_goes_to_the_endpoint_alone(evaluate, samples, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SOME_KEY", "sesame-123")
    with serve(looks_up_and_answers) as endpoint:
        assert evaluate(endpoint, "--api-key-env", "SOME_KEY", count=1) == ExitCode.FINISHED
        assert all(one["Authorization"] == "Bearer sesame-123" for one in endpoint.headers)
    assert all("sesame" not in file.read_text() for file in (tmp_path / "out").rglob("*.json*"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", "other"], "--endpoint: http://127.0.0.1:PORT/v1 does not serve other but judge."),
        (["--endpoint", "nowhere"], "--endpoint: is no address like http://127.0.0.1:8000/v1"),
        (["--api-key-env", "NO_SUCH_KEY"], "the environment variable NO_SUCH_KEY is empty; set it to the key"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(
    evaluate, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    with serve(looks_up_and_answers) as endpoint:
        assert evaluate(endpoint, *more) == ExitCode.INVALID_SPEC
        assert message.replace("PORT", str(endpoint.server_port)) in capsys.readouterr().err
        assert not endpoint.asked
