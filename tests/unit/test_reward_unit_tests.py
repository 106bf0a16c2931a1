"""Unit tests as a reward: which program is run, what its verdict is worth, and what happens when the sandbox fails."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.judge_server import JudgeServer, Reply, serve
from tests.reward_rows import answer, rewards
from trainer.contract.endpoints import Address
from trainer.contract.rewards import check_reachable
from trainer.contract.rewards.unit_tests import UnitTestsReward
from trainer.rewards import Answer, Scored, check_rows, reward_notes, score_all
from trainer.rewards import asking as asking_module
from trainer.rewards.code_blocks import last_program

ROW = {"tests": "assert double(2) == 4\nassert double(5) == 10"}
PIECES = [
    "```",
    "````",
    "`",
    "```python\n",
    "```bash\n",
    "\n```\n",
    "\n",
    " ",
    "x = 1",
    "\r",
    "\x00",
    "\ud800",
    "{.python}",
]
CODE = "def double(x):\n    return 2 * x"


@pytest.fixture(autouse=True)
def quick_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking_module, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(asking_module, "LOOK_SECONDS", 0.02)


def base_url(server: JudgeServer) -> str:
    return server.url.removesuffix("/v1")


def config(server: JudgeServer, **fields: Any) -> dict[str, Any]:
    return {"kind": "unit_tests", "sandbox": {"base_url": base_url(server)}, **fields}


def verdict(passed: int, total: int = 2, **how: Any) -> Reply:
    """A reply of the service to a call that it judged."""
    detail = {"status": "ok", "passed": passed, "total": total, "fault": None, "message": "", "cases": []}
    result = {"status": "ok", "text": f"{passed} of {total} tests passed", "retryable": False, "detail": detail}
    return Reply({"id": "1", "tool": "run_tests", "session": None, "result": result}, **how)


def refusal(fault: str | None, message: str) -> Reply:
    detail = {"status": "rejected", "passed": 0, "total": 0, "fault": fault, "message": message, "cases": []}
    return Reply({"result": {"status": "rejected", "text": message, "detail": detail}})


INFRA = Reply(
    {
        "result": {
            "status": "infra_error",
            "text": "the container was lost",
            "retryable": True,
            "detail": {"status": "infra_error", "passed": 0, "total": 2, "message": "the container was lost"},
        }
    }
)


def written(code: str = CODE, *, row: dict[str, Any] | None = None, **values: Any) -> Answer:
    return answer(f"Here it is.\n```python\n{code}\n```\n", row=ROW if row is None else row, **values)


def value_by(
    script: Callable[[int, dict[str, Any]], Reply], *answers: Answer, **settings: Any
) -> tuple[list[dict[str, Any]], list[Scored]]:
    """What the sandbox was asked, and what came of it."""
    with serve(script) as server:
        scored = score_all(rewards(config(server, **settings)), answers)
        return server.asked, scored


def only_fault(scored: list[Scored]) -> str:
    [one] = scored
    assert one.total is None
    return one.faults["unit_tests"]


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("```python\nx = 1\n```", "x = 1\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("```py\nx = 1\n```\nor\n```python3\nx = 2\n```\n", "x = 2\n"),
        ("```Python title='a'\nx = 1\n```", "x = 1\n"),
        ("```{.python}\nx = 1\n```", "x = 1\n"),
        ("```python\nx = 1\n```\n```bash\nls\n```\n```json\n{}\n```", "x = 1\n"),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
        ("```text\n```python\nx = 1\n```\n", None),
        ("```python\nx = 1\n```\n```python\nx = 2", "x = 2\n"),
        ("  ```python\r\nx = 1\r\n  ```\r\n", "x = 1\r\n"),
        ("```python\n```", "\n"),
        ("def double(x): ...", None),
        ("`x = 1`", None),
        ("```python x = 1```", None),
        ("    ```python\n    x = 1\n    ```", None),
        ("", None),
    ],
)
def test_the_program_is_the_last_block_of_python(text: str, program: str | None):
    assert last_program(text, cut=False) == program


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=20), cut=st.booleans())
def test_whatever_is_written_is_a_program_of_its_own_lines_or_none(pieces: list[str], cut: bool):
    text = "".join(pieces)
    program = last_program(text, cut=cut)
    if program is not None:
        assert f"\n{program}" in f"{text}\n" or program == "\n"
        assert last_program(text, cut=False) is not None


def test_a_block_that_was_cut_off_is_no_program():
    text = "```python\nx = 1\n```\n```python\nx = 2"
    assert last_program(text, cut=True) == "x = 1\n"
    assert last_program("```python\nx = 2", cut=True) is None


def test_hostile_fences_take_no_time():
    started = time.process_time()
    for text in ("`" * 300_000 + "x`", "```" + " " * 300_000 + "`", "```\n" * 100_000, "```python\n" * 100_000):
        last_program(text, cut=False)
    assert time.process_time() - started < 20


@pytest.mark.parametrize(
    ("passed", "counts", "value"), [(2, "all", 1.0), (1, "all", 0.0), (0, "all", 0.0), (1, "share", 0.5)]
)
def test_the_value_is_all_or_the_share(passed: int, counts: str, value: float):
    _, [scored] = value_by(lambda *_: verdict(passed), written(), counts=counts)
    assert scored.total == value
    assert scored.faults == {}


def test_the_sandbox_gets_program_and_tests_and_a_key():
    [request], _ = value_by(lambda *_: verdict(2), written())
    assert request.pop("idempotency_key")
    assert request == {"arguments": {"code": CODE + "\n", "tests": ROW["tests"]}}


def test_set_up_goes_before_the_program_and_lists_of_tests_become_lines():
    row = {"test_list": ["assert f(1) == 1", "assert f(2) == 2"], "imports": "import math"}
    settings = {"tests": "test_list", "setup": "imports", "test_seconds": 2.5}
    [request], _ = value_by(lambda *_: verdict(2), written("f = math.floor", row=row), **settings)
    assert request["arguments"] == {
        "code": "import math\nf = math.floor\n",
        "tests": "assert f(1) == 1\nassert f(2) == 2",
        "timeout_s": 2.5,
    }


@pytest.mark.parametrize(
    "text", ["no code", "<think>\n```python\nx = 1\n```\n", "```python\n" + "x = 1\n" * 50_000 + "```\n"]
)
def test_an_answer_without_a_program_is_worth_nothing_and_costs_nothing(text: str):
    asked, [scored] = value_by(lambda *_: verdict(2), answer(text, row=ROW))
    assert (scored.total, scored.faults, asked) == (0.0, {}, [])


def test_what_was_only_thought_is_not_run():
    text = "<think>```python\nx = 1\n```</think>\n```python\nx = 2\n```"
    [request], _ = value_by(lambda *_: verdict(2), answer(text, row=ROW))
    assert request["arguments"]["code"] == "x = 2\n"


def test_equal_programs_are_run_once_and_gated_ones_never():
    asked, scored = value_by(lambda *_: verdict(2), written(), written(), written("x = 1"))
    assert [one.total for one in scored] == [1.0, 1.0, 1.0]
    assert sorted(request["arguments"]["code"] for request in asked) == [CODE + "\n", "x = 1\n"]
    with serve(lambda *_: verdict(2)) as server:
        listed = rewards({"kind": "think_answer", "weight": 0}, config(server, gate="think_answer"))
        assert [one.total for one in score_all(listed, [written()])] == [0.0]
        assert server.asked == []


@pytest.mark.parametrize(
    "failure",
    [
        INFRA,
        Reply({"error": {"code": "overloaded", "message": "full"}}, status=429, headers={"Retry-After": "0.02"}),
        Reply({"error": {"code": "unavailable", "message": "later"}}, status=503, headers={"Retry-After": "0.02"}),
        Reply({}, status=500),
        Reply(b"", hang_up=True),
    ],
)
def test_a_sandbox_that_failed_is_asked_again_with_the_same_key(failure: Reply):
    asked, [scored] = value_by(lambda number, _: verdict(2) if number == 2 else failure, written())
    assert scored.total == 1.0
    assert len(asked) == 3
    assert len({request["idempotency_key"] for request in asked}) == 1


def test_another_call_has_another_key():
    with serve(lambda *_: verdict(2)) as server:
        listed = rewards(config(server))
        for _ in range(2):
            score_all(listed, [written(), written("x = 1")])
        assert len({request["idempotency_key"] for request in server.asked}) == 4


def test_a_service_that_asks_for_time_gets_it():
    full = Reply({}, status=429, headers={"Retry-After": "0.3"})
    started = time.monotonic()
    _, [scored] = value_by(lambda number, _: verdict(2) if number else full, written())
    assert scored.total == 1.0
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize(
    ("failure", "sentence", "calls"),
    [
        (INFRA, "The sandbox failed: the container was lost", 2),
        (
            Reply({"error": {"code": "unavailable", "message": "unavailable: no container engine"}}, status=503),
            "The sandbox failed: {} answered with status 503: unavailable: no container engine.",
            2,
        ),
        (Reply({}, status=413), "The sandbox failed: {} answered with status 413: {{}}.", 1),
        (
            refusal("tests", "tests, line 1: not an assertion"),
            "The sandbox refuses the row's tests: tests, line 1: not an assertion",
            1,
        ),
        (refusal(None, "no argument"), "The sandbox refuses the call: no argument", 1),
        (Reply({"result": {"status": "ok"}}), "The sandbox replied with something that is no verdict.", 1),
        (Reply([1]), "The sandbox replied with something that is no verdict.", 1),
        (verdict(3, 2), "The sandbox replied with something that is no verdict.", 1),
        (verdict(0, 0), "The sandbox replied with something that is no verdict.", 1),
        (verdict(True, 2), "The sandbox replied with something that is no verdict.", 1),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_verdict_masks_and_is_never_zero(failure: Reply, sentence: str, calls: int):
    with serve(lambda *_: failure) as server:
        scored = score_all(rewards(config(server, attempts=2)), [written()])
        assert only_fault(scored) == sentence.format(base_url(server))
        assert len(server.asked) == calls


def test_a_program_that_the_sandbox_does_not_take_is_worth_nothing():
    _, [scored] = value_by(lambda *_: refusal("code", "code: 2000000 bytes, at most 1048576"), written())
    assert (scored.total, scored.faults) == (0.0, {})


def test_one_sandbox_failure_masks_one_rollout():
    def script(_: int, body: dict[str, Any]) -> Reply:
        return INFRA if "lost" in body["arguments"]["code"] else verdict(2)

    _, scored = value_by(script, written("a = 1"), written("lost = 1"), written("b = 1"), attempts=1)
    assert [one.total for one in scored] == [1.0, None, 1.0]


def test_a_sandbox_that_takes_too_long_is_given_up_in_time():
    started = time.monotonic()
    with serve(lambda *_: verdict(2, after_s=30)) as server:
        scored = score_all(rewards(config(server, seconds=0.3, attempts=2)), [written()])
        assert only_fault(scored) == f"The sandbox failed: {base_url(server)} did not answer within 0.3 s."
    assert time.monotonic() - started < 20
    started = time.monotonic()
    _, scored = value_by(lambda *_: verdict(2, after_s=30), written(), total_seconds=0.3)
    assert only_fault(scored) == "The sandbox had not answered when the 0.3 s for all programs were over."
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({}, "no `tests`"),
        ({"tests": " \n"}, "no `tests`"),
        ({"tests": []}, "no `tests`"),
        ({"tests": "assert f(1) =="}, "`tests` that are not valid Python (line 1)"),
        ({"tests": "assert f('\x00')"}, "`tests` that are not valid Python"),
        ({"tests": "(" * 5000}, "`tests` that are not valid Python"),
    ],
)
def test_rows_without_usable_tests_are_refused_before_a_run_and_masked_in_it(row: dict[str, Any], said: str):
    with serve(lambda *_: verdict(2)) as server:
        listed = rewards(config(server))
        [error] = check_rows(listed, [ROW, row], path="recipe.stages[0].rewards", dataset="tasks@1")
        assert error.startswith("recipe.stages[0].rewards[0] (unit_tests): 1 of 2 rows of tasks@1")
        assert f"row 2 has {said}" in error
        assert only_fault(score_all(listed, [written(row=row)])).startswith(f"The row has {said}")
        assert server.asked == []


def test_the_sandbox_is_tried_before_launch(monkeypatch: pytest.MonkeyPatch):
    with serve(lambda *_: verdict(1, 1)) as server:
        [reward] = rewards(config(server))
        where = base_url(server)
        assert check_reachable([reward.config]) == []
        [request] = server.asked
        assert set(request["arguments"]) == {"code", "tests"}
        [strict] = rewards(config(server, test_seconds=3.0))
        assert check_reachable([strict.config]) == []
        assert server.asked[-1]["arguments"]["timeout_s"] == 3.0
        for reply, said in {
            Reply({}, status=404): f"{where} offers no run_tests. Start it without --no-code, or give its address "
            "without a path.",
            verdict(0, 1): f"{where} could not judge a program that is right: 0 of 1 tests passed. Mend the sandbox.",
            INFRA: f"{where} could not judge a program that is right: the container was lost. Mend the sandbox.",
            Reply([1]): f"{where} could not judge a program that is right. Mend the sandbox.",
            Reply(
                {"error": {"code": "unavailable", "message": "unavailable: no container engine"}}, status=503
            ): f"{where} answered with status 503: unavailable: no container engine. Mend the sandbox.",
            Reply({"error": {"code": "unauthorized", "message": "send a token"}}, status=401): f"{where} refuses calls "
            "without a key; name api_key_env (status 401). Start the sandbox, or correct the address.",
        }.items():
            monkeypatch.setattr(server, "script", lambda *_, reply=reply: reply)
            assert check_reachable([reward.config]) == [f"rewards[0].sandbox: {said}"]
    assert check_reachable([reward.config]) == [
        f"rewards[0].sandbox: {where} cannot be reached (Connection refused). Start the sandbox, or correct the "
        "address."
    ]


def test_the_token_comes_from_the_environment_and_is_never_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SANDBOX_TOKEN", "a-secret-token-123")
    unauthorized = Reply({"error": {"code": "unauthorized", "message": "a-secret-token-123"}}, status=401)
    with serve(lambda number, _: verdict(2) if number == 0 else unauthorized) as server:
        sandbox = {"base_url": base_url(server), "api_key_env": "SANDBOX_TOKEN"}
        listed = rewards(config(server, sandbox=sandbox))
        assert [one.total for one in score_all(listed, [written()])] == [1.0]
        assert server.headers[0]["Authorization"] == "Bearer a-secret-token-123"
        sentence = only_fault(score_all(listed, [written()]))
        assert "refuses the key in SANDBOX_TOKEN" in sentence
        assert "a-secret" not in sentence


def test_an_address_that_is_none_is_refused_with_an_example_of_its_own():
    with pytest.raises(ValidationError, match=r"is no address like http://127\.0\.0\.1:8930"):
        UnitTestsReward.model_validate({"sandbox": {"base_url": "127.0.0.1:8930"}})
    with pytest.raises(ValidationError, match=r"is no address like http://127\.0\.0\.1:8000"):
        Address(base_url="x")


def test_the_notes_name_the_sandbox():
    with serve(lambda *_: verdict(2)) as server:
        notes = reward_notes(rewards(config(server)))
        assert notes == {"reward/unit_tests/sandbox": base_url(server)}
