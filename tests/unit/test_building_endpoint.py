"""Asking a chat endpoint that misbehaves: what comes back, what is kept, what it cost."""

import threading
from typing import Any

import pytest
from judge_server import Reply as Said
from judge_server import says, serve

from chanote.building import endpoint as module
from chanote.building.endpoint import ChatEndpoint, Endpoint, EndpointFailed, Limits, Price, Question

QUICK = Limits(seconds=20, attempts=3, concurrency=4, tolerated=3)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(module, "FIRST_WAIT", 0.01)


def ask_about(text: str, **fields: Any) -> Question:
    return Question(messages=({"role": "user", "content": text},), **fields)


def connect(server: Any, folder: Any, **fields: Any) -> ChatEndpoint:
    limits = fields.pop("limits", QUICK)
    return ChatEndpoint(Endpoint(base_url=server.url, model="judge"), replies=folder, limits=limits, **fields)


def echo(_: int, body: dict[str, Any]) -> Said:
    """Answers with the question and tells 10 and 3 tokens."""
    choice = {"message": {"content": "re " + body["messages"][-1]["content"]}, "finish_reason": "stop"}
    return Said({"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 3}})


def test_replies_come_in_the_order_of_the_questions(tmp_path):
    held = threading.Event()

    def first_is_slow(number: int, body: dict[str, Any]) -> Said:
        if body["messages"][-1]["content"] == "0":
            held.wait(20)
        elif body["messages"][-1]["content"] == "3":
            held.set()
        return echo(number, body)

    with serve(first_is_slow) as server, connect(server, tmp_path) as client:
        texts = [(number, reply.text) for number, reply in client.ask_all(ask_about(str(n)) for n in range(9))]
    assert texts == [(n, f"re {n}") for n in range(9)]


def test_a_restart_asks_nothing_twice_and_still_knows_the_cost(tmp_path):
    questions = [ask_about("a"), ask_about("b"), ask_about("a", sample=1)]
    price = Price(prompt=2.0, completion=10.0, currency="THB")
    with serve(echo) as server:
        with connect(server, tmp_path, price=price) as client:
            first = [reply.text for _, reply in client.ask_all(questions)]
        with connect(server, tmp_path, price=price) as client:
            again = list(client.ask_all(questions))
            cost = client.cost()
        assert len(server.asked) == 3
    assert [reply.text for _, reply in again] == first
    assert all(reply.kept for _, reply in again)
    assert (cost["replies"], cost["prompt_tokens"], cost["completion_tokens"]) == (3, 30, 9)
    assert cost["money"] == pytest.approx((30 * 2.0 + 9 * 10.0) / 1e6)
    assert (cost["asked_now"], cost["found_on_disk"], cost["currency"]) == (0, 3, "THB")


def test_the_same_words_are_asked_anew_for_another_sample_seed_or_temperature(tmp_path):
    questions = [ask_about("a"), ask_about("a", sample=1), ask_about("a", seed=7), ask_about("a", temperature=0.5)]
    with serve(echo) as server, connect(server, tmp_path) as client:
        assert len({client.hash(question) for question in questions}) == 4
        list(client.ask_all(questions))
        assert len(server.asked) == 4


def test_faults_of_the_server_are_tried_again(tmp_path):
    wrongs = [
        Said({"error": {"message": "overloaded"}}, status=500),
        Said({}, status=429, headers={"Retry-After": "0.01"}),
        Said(b"<html>no JSON</html>"),
        Said({"choices": []}),
        Said({"choices": [{"message": {"content": ["parts"]}}]}),
        Said(b'{"choices": [{"mess', headers={"Content-Length": "500"}),
        Said({}, hang_up=True),
    ]

    def fails_first(number: int, body: dict[str, Any]) -> Said:
        return wrongs[number] if number < len(wrongs) else echo(number, body)

    patient = Limits(seconds=20, attempts=8, concurrency=1)
    with serve(fails_first) as server, connect(server, tmp_path, limits=patient) as client:
        reply = client.ask(ask_about("x"))
        assert len(server.asked) == len(wrongs) + 1
        assert client.cost()["attempts_repeated"] == len(wrongs)
    assert (reply.text, reply.fault) == ("re x", "")


def test_a_server_that_hangs_is_given_up_in_time(tmp_path):
    hasty = Limits(seconds=0.3, attempts=2, concurrency=1)
    with serve(lambda *_: says("late", after_s=60)) as server, connect(server, tmp_path, limits=hasty) as client:
        assert "did not answer within 0.3 s" in client.ask(ask_about("x")).fault
        assert client.cost()["replies"] == 0


def test_a_server_that_says_when_to_come_back_holds_every_question(tmp_path, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(module._Asking, "_rest", lambda self, made, asked: waits.append(asked))

    def busy_once(number: int, body: dict[str, Any]) -> Said:
        return Said({}, status=429, headers={"Retry-After": "17"}) if number == 0 else echo(number, body)

    with serve(busy_once) as server, connect(server, tmp_path) as client:
        client.ask(ask_about("x"))
    assert waits == [17.0]


def test_one_question_that_is_refused_leaves_the_others_alone(tmp_path):
    def refuses_long(number: int, body: dict[str, Any]) -> Said:
        if body["messages"][-1]["content"] == "long":
            return Said({"error": {"message": "the prompt is too long"}}, status=400)
        return echo(number, body)

    with serve(refuses_long) as server, connect(server, tmp_path) as client:
        replies = [reply for _, reply in client.ask_all([ask_about("a"), ask_about("long"), ask_about("b")])]
    assert [reply.text for reply in replies] == ["re a", "", "re b"]
    assert "the prompt is too long" in replies[1].fault


def test_a_fault_is_not_kept(tmp_path):
    right = [False]

    def later_well(number: int, body: dict[str, Any]) -> Said:
        return echo(number, body) if right[0] else Said({}, status=400)

    with serve(later_well) as server, connect(server, tmp_path) as client:
        assert client.ask(ask_about("a")).fault
        right[0] = True
        assert client.ask(ask_about("a")).text == "re a"


def test_a_server_that_is_away_ends_the_asking_with_a_sentence(tmp_path):
    with serve(lambda *_: Said({}, status=503)) as server, connect(server, tmp_path) as client:
        with pytest.raises(EndpointFailed, match="questions in a row stayed without an answer; look at the server"):
            list(client.ask_all(ask_about(str(n)) for n in range(1000)))
        assert len(server.asked) < 100


def test_a_wrong_key_ends_the_asking_at_once_and_is_never_shown(tmp_path):
    with (
        serve(lambda *_: Said({"error": {"message": "bad sk-secret"}}, status=401)) as server,
        connect(server, tmp_path, key="sk-secret") as client,
        pytest.raises(EndpointFailed) as failed,
    ):
        client.ask(ask_about("a"))
    assert "status 401" in str(failed.value)
    assert "sk-secret" not in str(failed.value)


def test_the_key_is_sent_and_kept_nowhere(tmp_path):
    with serve(echo) as server:
        with connect(server, tmp_path, key="sk-secret") as client:
            client.ask(ask_about("a"))
        assert server.headers[0]["Authorization"] == "Bearer sk-secret"
    assert not any(b"sk-secret" in file.read_bytes() for file in tmp_path.iterdir())


def test_nothing_is_asked_once_the_money_is_spent(tmp_path):
    price = Price(completion=1e6, currency="EUR", most=7.0)
    one = Limits(concurrency=1)
    with serve(echo) as server, connect(server, tmp_path, price=price, limits=one) as client:
        with pytest.raises(EndpointFailed, match="The 7 EUR that this may cost are spent"):
            list(client.ask_all(ask_about(str(n)) for n in range(10)))
        assert len(server.asked) == 3  # 3 EUR each: under 7 after two


def test_a_reply_without_token_counts_is_counted_as_such(tmp_path):
    with serve(lambda *_: says("hello")) as server, connect(server, tmp_path) as client:
        assert client.ask(ask_about("a")).text == "hello"
        assert client.cost()["uncounted_replies"] == 1


def test_a_reply_larger_than_the_limit_is_no_reply(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_TEXT", 100)
    with serve(lambda *_: says("ก" * 101)) as server, connect(server, tmp_path) as client:
        assert "101 characters" in client.ask(ask_about("a")).fault


def test_what_no_dataset_can_hold_is_replaced(tmp_path):
    broken = Said(b'{"choices": [{"message": {"content": "a\\ud800b\\u0000c"}, "finish_reason": "stop"}]}')
    with serve(lambda *_: broken) as server, connect(server, tmp_path) as client:
        assert client.ask(ask_about("a")).text == "a?b\ufffdc"


def test_a_stop_leaves_in_the_middle_and_what_was_answered_stays(tmp_path):
    class Stopped(Exception):
        pass

    with serve(echo) as server:
        with connect(server, tmp_path, limits=Limits(concurrency=1)) as client:

            def stop_after_five() -> None:
                if client.cost()["asked_now"] >= 5:
                    raise Stopped

            with pytest.raises(Stopped):
                list(client.ask_all((ask_about(str(n)) for n in range(1000)), leave_if_asked=stop_after_five))
        assert len(server.asked) < 1000
        with connect(server, tmp_path) as client:
            assert [reply.kept for _, reply in client.ask_all(ask_about(str(n)) for n in range(5))] == [True] * 5


def test_equal_questions_are_asked_once_and_all_get_the_answer(tmp_path):
    """Also those that come while the first is still under way."""
    others = threading.Barrier(2)

    def differ(number: int, body: dict[str, Any]) -> Said:
        others.wait(20)  # both questions are under way before either is answered
        return says(f"answer {number}")

    questions = [ask_about(name) for name in ("a", "b", "a", "a", "b", "a")]
    with serve(differ) as server, connect(server, tmp_path) as client:
        texts = [reply.text for _, reply in client.ask_all(questions)]
        assert client.cost()["replies"] == client.cost()["asked_now"] == len(server.asked) == 2
    assert texts == [texts[{"a": 0, "b": 1}[name]] for name in "abaaba"]
    assert texts[0] != texts[1]
