"""Which verifiers are admitted, what a batch may cost, and what is remembered: without an engine."""

import pytest

from toolsandbox.code.container import SandboxFailed
from toolsandbox.code.verifiers import MOST_TIMEOUTS, Batch, VerifierGate, try_functions
from toolsandbox.contract import TrialRequest, ValueAnswer, VerifyRequest

TRUE = ValueAnswer(status="ok", has_value=True, value=True)
FALSE = ValueAnswer(status="ok", has_value=True, value=False)
LATE = ValueAnswer(status="timeout")
LOST = ValueAnswer(status="infra_error", detail="the container was lost")


class Functions:
    """Runs a batch as a table of answers by first argument says; notes what was run."""

    def __init__(self, answers):
        self.answers = answers
        self.ran = []

    async def run(self, calls):
        self.ran += [call.arguments[0] for call in calls]
        return [self.answers[call.arguments[0]] for call in calls]


def request(*calls, **facts):
    verifier = {"name": "v", "source": "", "good": [["good"], ["fine"]], "bad": [["bad"]], **facts}
    return VerifyRequest.model_validate(
        {"verifiers": [verifier], "calls": [{"verifier": "v", "arguments": [call]} for call in calls]}
    )


async def judge(functions, asked, gate=None, **limits):
    batch = Batch(functions.run, **{"timeout_s": 1.0, "longest_s": 1000.0, **limits})
    return await (gate or VerifierGate()).judge(asked, batch)


GOOD = {"good": TRUE, "fine": TRUE, "bad": FALSE}


async def test_each_example_is_asked_twice_and_those_that_tell_most_come_first():
    functions = Functions(GOOD)
    reply = await judge(functions, request())
    assert (reply.status, reply.verifiers[0].admitted) == ("ok", True)
    assert functions.ran[:2] == ["good", "bad"]
    assert sorted(functions.ran) == ["bad", "bad", "fine", "fine", "good", "good"]


async def test_one_that_fails_the_first_two_examples_is_asked_no_more():
    functions = Functions({**GOOD, "bad": TRUE})
    reply = await judge(functions, request("x"))
    assert functions.ran == ["good", "bad"]
    assert reply.verifiers[0].reason == "bad[0]: it answered True, not False"


async def test_what_was_found_out_is_remembered_under_any_name():
    gate, functions = VerifierGate(), Functions({**GOOD, "x": TRUE})
    await judge(functions, request(), gate)
    asked = len(functions.ran)
    reply = await judge(functions, request("x"), gate)
    assert functions.ran[asked:] == ["x"]
    assert reply.verdicts[0].passed is True
    other = await judge(functions, request(good=[["fine"]]), gate)
    assert len(functions.ran) > asked + 1, "other examples are another question"
    assert other.verifiers[0].admitted is True


async def test_a_sandbox_that_failed_proves_nothing_and_is_not_remembered():
    gate, functions = VerifierGate(), Functions({**GOOD, "bad": LOST, "x": TRUE})
    reply = await judge(functions, request("x"), gate)
    assert (reply.status, reply.retryable) == ("infra_error", True)
    assert (reply.verifiers[0].admitted, reply.verdicts[0].status) == (None, "infra_error")
    functions.answers["bad"] = FALSE
    again = await judge(functions, request("x"), gate)
    assert (again.status, again.verdicts[0].passed) == ("ok", True)


async def test_a_lost_container_in_the_middle_is_told_for_its_calls_only():
    functions = Functions({**GOOD, "x": TRUE, "y": LOST})
    reply = await judge(functions, request("x", "y"))
    assert (reply.status, reply.retryable, reply.verifiers[0].admitted) == ("infra_error", True, True)
    assert [(verdict.status, verdict.passed) for verdict in reply.verdicts] == [("ok", True), ("infra_error", None)]


async def test_a_function_that_ran_out_of_time_three_times_is_not_run_again():
    functions = Functions({**GOOD, "slow": LATE})
    reply = await judge(functions, request(*["slow"] * 100))
    assert {verdict.status for verdict in reply.verdicts} == {"timeout"}
    assert functions.ran.count("slow") <= 16, "one look at the clock"
    assert reply.verdicts[-1].detail == f"not run: the function ran out of time {MOST_TIMEOUTS} times"


async def test_a_batch_that_takes_too_long_says_so_and_remembers_nothing_of_it():
    gate, functions = VerifierGate(), Functions({**GOOD, "x": TRUE})
    reply = await judge(functions, request("x"), gate, longest_s=-1)
    assert functions.ran == []
    assert (reply.status, reply.verifiers[0].admitted, reply.verdicts[0].status) == ("ok", False, "rejected")
    assert "the batch took too long; send less at once" in reply.verifiers[0].reason
    assert (await judge(functions, request("x"), gate)).verdicts[0].passed is True


async def test_no_container_at_all_is_told_by_an_exception():
    async def run(calls):
        raise SandboxFailed("the engine is away")

    with pytest.raises(SandboxFailed):
        await VerifierGate().judge(request(), Batch(run, timeout_s=1, longest_s=1))


async def test_functions_on_trial_answer_without_having_told_good_from_bad():
    functions = Functions({"x": TRUE, "y": ValueAnswer(status="ok", has_value=True, value=1), "z": LATE})
    asked = TrialRequest.model_validate(
        {
            "functions": [{"name": "f", "source": "def evaluate(a): ..."}],
            "calls": [{"verifier": "f", "arguments": [argument]} for argument in "xyz"],
        }
    )
    reply = await try_functions(asked, Batch(functions.run, timeout_s=1.0, longest_s=1000.0))
    assert [(one.status, one.passed) for one in reply.verdicts] == [("ok", True), ("error", None), ("timeout", None)]
    assert reply.status == "ok"


def test_a_trial_of_a_function_that_is_not_there_is_refused_by_name():
    with pytest.raises(ValueError, match=r"calls\[0\].verifier: there is no verifier 'g'"):
        TrialRequest.model_validate(
            {"functions": [{"name": "f", "source": ""}], "calls": [{"verifier": "g", "arguments": []}]}
        )
