"""Unit tests as a reward through the real service on the real engine: verdicts, refusals, and runs that train on them.

The programs of the run are written by a tiny policy that first learns their form.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.judge_server import Reply, serve
from tests.law_rows import write_corpus
from tests.reward_rows import answer, rewards
from tests.rollout_runs import read_rollouts
from tests.sandbox_engine import IMAGE, SOCKET, list_left, why_no_engine
from tests.sandbox_serving import serve_tools
from tests.trainer_runs import TINY, events_of, metric, run_here, write_rows, write_run
from trainer.contract.endpoints import call
from trainer.contract.hashing import hash_directory
from trainer.contract.rewards import check_reachable
from trainer.contract.rewards.unit_tests import ROUTE, Sandbox
from trainer.rewards import Scored, score_all

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

TOKEN = "rollouts-of-the-tests"
OWNER = "test-unit-tests-reward"
ROW = {"tests": "assert double(2) == 4\nassert double(-3) == -6\nassert double('ab') == 'abab'"}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The `sandbox` field of the reward, for a service with code tools and a token."""
    if reason := why_no_engine():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("service")
    settings = folder / "code.toml"
    settings.write_text(
        f'socket = "{SOCKET}"\nimage = "{IMAGE}"\nowner = "{OWNER}"\nwarm = 2\nmost_containers = 6\n'
        "longest_wait_s = 120.0\n[limits]\nwall_s = 3.0\n"
    )
    tokens = folder / "tokens"
    tokens.touch(mode=0o600)
    tokens.write_text(f"trainer:{TOKEN}\n")
    os.environ["UNIT_TESTS_TOKEN"] = TOKEN
    with serve_tools(folder, "--code-settings-file", settings, "--token-file", tokens) as address:
        yield {"base_url": address, "api_key_env": "UNIT_TESTS_TOKEN"}
    del os.environ["UNIT_TESTS_TOKEN"]
    assert asyncio.run(list_left(OWNER.removeprefix("test-"))) == []


def score(sandbox: dict[str, str], *codes: str, row: dict[str, Any] | None = None, **settings: Any) -> list[Scored]:
    """What each program is worth."""
    listed = rewards({"kind": "unit_tests", "sandbox": sandbox, **settings})
    return score_all(listed, [answer(f"```python\n{code}\n```", row=row or ROW) for code in codes])


RIGHT = "def double(x):\n    return x + x"
WRONG = {
    "another value": "def double(x):\n    return 3 * x",
    "no such function": "def twice(x):\n    return 2 * x",
    "not Python": "def double(x:",
    "not text": "def double(x):\n    return 2 * x\n\x00",
    "ends at once": "import sys\nsys.exit(0)",
    "dies": "import os\nos.kill(os.getpid(), 9)",
    "loops": "while True: pass",
    "floods": "def double(x):\n    while True: print('x' * 1000)",
    "eats memory": "def double(x):\n    eaten = []\n    while True: eaten.append(bytearray(1 << 20))",
    "equal to everything": "class Same:\n    def __eq__(self, other): return True\ndef double(x):\n    return Same()",
    "writes a verdict": "print('{\"passed\": 3, \"total\": 3}')\ndef double(x):\n    print('3 of 3 tests passed')",
}


def test_a_right_program_is_worth_one_and_a_bad_one_nothing_whatever_it_does(sandbox):
    scored = score(sandbox, RIGHT, *WRONG.values())
    assert [one.faults for one in scored] == [{}] * len(scored)
    assert scored[0].total == 1.0
    assert {name: one.total for name, one in zip(WRONG, scored[1:], strict=True)} == dict.fromkeys(WRONG, 0.0)


def test_the_share_counts_each_test_by_itself(sandbox):
    halfway = "def double(x):\n    return 2 * x if x == 2 else 0"
    crash = "def double(x):\n    return 2 * x if x != 2 else 1 / 0"
    scored = score(sandbox, RIGHT, halfway, crash, "x = 1", counts="share")
    assert [one.total for one in scored] == [1.0, pytest.approx(1 / 3), pytest.approx(2 / 3), 0.0]


def test_tests_that_would_show_the_answer_are_the_rows_fault(sandbox):
    [scored] = score(sandbox, RIGHT, row={"tests": "assert all(double(n) == 2 * n for n in range(9))\nprint(1)"})
    assert scored.total is None
    assert scored.faults["unit_tests"].startswith("The sandbox refuses ")
    assert "tests, line 2: not an assertion" in scored.faults["unit_tests"]


def test_a_sandbox_without_code_tools_or_token_is_refused_before_launch(sandbox, tmp_path: Path):
    [reward] = rewards({"kind": "unit_tests", "sandbox": sandbox})
    assert check_reachable([reward.config]) == []
    facts = {name: value for name, value in reward.notes().items() if name != "sandbox"}
    assert facts["runtime"] == "runc"
    assert str(facts["image_digest"]).startswith("sha256:")
    [stranger] = rewards({"kind": "unit_tests", "sandbox": {"base_url": sandbox["base_url"]}})
    [refused] = check_reachable([stranger.config])
    assert refused.startswith(
        f"rewards[0].sandbox: {sandbox['base_url']} refuses calls without a key; name api_key_env"
    )
    corpus = write_corpus(tmp_path / "laws.jsonl")
    with serve_tools(tmp_path, "--no-code", "--corpus", corpus, "--index-folder", tmp_path / "indexes") as address:
        [laws_only] = rewards({"kind": "unit_tests", "sandbox": {"base_url": address}})
        assert check_reachable([laws_only.config]) == [
            f"rewards[0].sandbox: {address} offers no run_tests. Start it without --no-code, or give its address "
            "without a path."
        ]


# ---- a run ----

FACTORS = range(2, 8)


def write_program(factor: int) -> str:
    return f"```python\ndef f(x):\n    return x * {factor}\n```"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny policy that has learnt to write programs and is often wrong about the factor."""
    import torch

    from trainer.contract.stages.cpt import ModelShape
    from trainer.policy import initialise_policy
    from trainer.tokenizer import train_tokenizer

    turns = {factor: (f"Multiply by {factor}.", write_program(factor)) for factor in FACTORS}
    tokenizer = train_tokenizer([" ".join(turn) for turn in turns.values()] * 4, vocab_size=320, context_length=128)
    policy = initialise_policy(ModelShape(**TINY), tokenizer, seed=5, device=torch.device("cpu"))
    out, start = tmp_path_factory.mktemp("sft"), tmp_path_factory.mktemp("start")
    policy.save(start)
    chats = [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": program}]}
        for asked, program in turns.values()
    ]
    stage = {
        "kind": "sft",
        "data": [{"dataset": "programs@1"}],
        "steps": 60,
        "batch_size": 6,
        "sequence_length": 96,
        "optimizer": {"learning_rate": 1e-2, "schedule": "constant"},
    }
    assert run_here(write_code_run(out, stage, start, programs=write_rows(out / "rows.jsonl", chats, "chat"))) == 0
    return out / "checkpoints/step-000060/model"


def write_code_run(out: Path, stage: dict[str, Any], base: Path, **datasets: Any) -> Path:
    return write_run(
        out,
        [stage],
        {f"{name}@1": file for name, file in datasets.items()},
        recipe={"base": "tiny"},
        base={"path": str(base), "sha256": hash_directory(base)},
    )


def write_grpo_run(out: Path, base: Path, *, steps: int, **reward: Any) -> Path:
    out.mkdir(parents=True)
    tasks = [
        {
            "question": f"Multiply by {factor}.",
            "answer": str(factor),
            "tests": f"assert f(3) == {3 * factor}\nassert f(5) == {5 * factor}",
        }
        for factor in FACTORS
    ]
    stage = {
        "kind": "grpo",
        "data": [{"dataset": "tasks@1"}],
        "steps": steps,
        "batch_size": 24,
        "group_size": 4,
        "sequence_length": 96,
        "sampling": {"max_new_tokens": 48},
        "rewards": [{"kind": "unit_tests", **reward}],
        "optimizer": {"learning_rate": 1e-3, "schedule": "constant"},
    }
    return write_code_run(out, stage, base, tasks=write_rows(out / "tasks.jsonl", tasks, "prompts"))


def is_right(text: str, factor: str) -> bool:
    """Whether a completion is the one form of a right program that this policy knows."""
    return text.strip() == write_program(int(factor))


def test_a_run_trains_on_what_the_sandbox_found(sandbox, base: Path, tmp_path: Path):
    out = write_grpo_run(tmp_path / "run", base, steps=2, sandbox=sandbox)
    assert run_here(out) == 0
    [started] = events_of(out, "stage_started")
    assert started.notes["reward/unit_tests/sandbox"] == sandbox["base_url"]
    assert str(started.notes["reward/unit_tests/image_digest"]).startswith("sha256:")
    rollouts = [one for step in (1, 2) for one in read_rollouts(out, step)]
    assert len(rollouts) == 48
    assert [one.reward for one in rollouts] == [float(is_right(one.text, one.reference)) for one in rollouts]
    assert {one.reward for one in rollouts} == {0.0, 1.0}
    assert not any(one.masked for one in rollouts)
    assert metric(out, "rollout/faults/unit_tests") == {1: 0.0, 2: 0.0}
    trained = out / "checkpoints/step-000002/model"
    assert hash_directory(trained) != hash_directory(base)


def test_what_the_sandbox_could_not_judge_is_masked_and_counted(sandbox, base: Path, tmp_path: Path):
    """Between trainer and sandbox stands one that loses every program that multiplies by an even number."""
    inside = Sandbox.model_validate(sandbox)

    def script(_: int, body: dict[str, Any]) -> Reply:
        if any(f"x * {even}\n" in body["arguments"]["code"] for even in (2, 4, 6)):
            return Reply({"result": {"status": "infra_error", "text": "the container was lost", "retryable": True}})
        return Reply(call(inside, ROUTE, body, seconds=120))

    with serve(script) as between:
        between_url = between.url.removesuffix("/v1")
        settings = {"sandbox": {"base_url": between_url}, "attempts": 1}
        out = write_grpo_run(tmp_path / "run", base, steps=1, **settings)
        assert run_here(out) == 0
    rollouts = read_rollouts(out, 1)
    lost = [one for one in rollouts if any(f"x * {even}\n```" in one.text for even in (2, 4, 6))]
    assert 0 < len(lost) < len(rollouts)
    for one in rollouts:
        if one in lost:
            assert (one.reward, one.rewards["unit_tests"], one.advantage) == (None, None, None)
            assert one.masked == "Reward unit_tests failed: The sandbox failed: the container was lost"
        else:
            assert one.reward == float(is_right(one.text, one.reference))
    assert metric(out, "rollout/faults/unit_tests") == {1: float(len(lost))}


def test_a_run_does_not_start_without_its_sandbox(base: Path, tmp_path: Path):
    with serve(lambda *_: Reply({})) as server:
        gone = server.url.removesuffix("/v1")
    out = write_grpo_run(tmp_path / "run", base, steps=1, sandbox={"base_url": gone})
    assert run_here(out) == 2
    [failed] = events_of(out, "attempt_failed")
    assert failed.error == (
        f"recipe.stages[0].rewards[0].sandbox: {gone} cannot be reached (Connection refused). Start the sandbox, or "
        "correct the address."
    )
