"""A checkpoint with tools is evaluated as it is trained: the same episodes, token by token, and the same rewards."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.market_laws import PLACES, asked, day, serve_markets, taught
from tests.trainer_runs import TINY, events_of, open_here, run_here, write_rows, write_run
from trainer.contract import ExitCode
from trainer.contract.events import ScoredSample
from trainer.contract.hashing import hash_directory
from trainer.evaluation.command import main

pytestmark = [pytest.mark.trains]

ROOM = 220
TASK: dict[str, Any] = {
    "task": "markets",
    "dataset": "ask@1",
    "output_type": "agent",
    "metric": "exact",
    "generation_kwargs": {"max_gen_toks": ROOM},
    "agent": {
        "rewards": [
            {"kind": "exact"},
            {"kind": "gold_section", "tools": ["search_law"]},
            {"kind": "tool_form"},
        ],
        "tell_tools": False,
        "in_step": True,
    },
}
STAGES: list[dict[str, Any]] = [
    {
        "kind": "sft",
        "data": [{"dataset": "chat@1"}],
        "steps": 130,
        "batch_size": 8,
        "sequence_length": 256,
        "optimizer": {"learning_rate": 5e-3},
    },
    {"kind": "evaluate", "tasks": ["markets"], "board": "agents"},
]
RFT: dict[str, Any] = {
    "kind": "agentic_rft",
    "data": [{"dataset": "train@1"}],
    "held_out": [{"dataset": "ask@1"}],
    "steps": 1,
    "batch_size": 4,
    "group_size": 2,
    "sequence_length": 400,
    "sampling": {"max_new_tokens": ROOM},
    "rewards": TASK["agent"]["rewards"],
    "tell_tools": False,
    "in_step": True,
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_markets(tmp_path_factory.mktemp("laws")) as address:
        yield address


def toolset(address: str) -> dict[str, Any]:
    return {"name": "law@1", "tools": ["search_law", "read_law"], "address": address}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory, service: str) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("data")
    rows = [asked(n) for n in range(len(PLACES))]
    return {
        "chat@1": write_rows(folder / "chat.jsonl", [taught(n, service) for n in range(len(PLACES))] * 4, "chat"),
        "ask@1": write_rows(folder / "ask.jsonl", rows, "prompts"),
        "train@1": write_rows(folder / "train.jsonl", rows[::-1], "prompts"),
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, service: str) -> Path:
    import torch

    from trainer.contract.stages.cpt import ModelShape
    from trainer.policy import initialise_policy
    from trainer.tokenizer import train_tokenizer

    shape = {**TINY, "hidden_size": 64, "ffn_size": 128, "heads": 4, "kv_heads": 2, "context_length": 512}
    texts = [json.dumps(taught(n, service)) for n in range(len(PLACES))]
    tokenizer = train_tokenizer(texts, vocab_size=400, context_length=512)
    policy = initialise_policy(ModelShape(**shape), tokenizer, seed=5, device=torch.device("cpu"))
    directory = tmp_path_factory.mktemp("base")
    policy.save(directory)
    return directory


def write(out: Path, stages: list[dict[str, Any]], base: Path, datasets: Any, address: str, **fields: Any) -> Path:
    recipe = {"base": "tiny", **({"toolset": "law@1"} if address else {})}
    named = {"path": str(base), "sha256": hash_directory(base)}
    more = {"toolset": toolset(address)} if address else {}
    return write_run(out, stages, datasets, recipe=recipe, base=named, **more, **fields)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, base: Path, datasets: Any, service: str) -> Path:
    out = write(tmp_path_factory.mktemp("run"), STAGES, base, datasets, service, tasks={"markets": TASK})
    assert run_here(out) == ExitCode.FINISHED, (out / "events.jsonl").read_text()[-2000:]
    return out


def read_samples(path: Path) -> list[ScoredSample]:
    return [ScoredSample.model_validate_json(line) for line in path.read_text("utf-8").splitlines()]


def test_an_evaluate_stage_plays_episodes_and_keeps_what_was_said(run: Path):
    (scored,) = events_of(run, "task_scored")
    samples = read_samples(run / scored.samples_path)
    assert (scored.samples, scored.left_out, scored.board) == (8, 0, "agents")
    assert scored.mean == sum(sample.score for sample in samples) / 8 > 0.8
    right = next(sample for sample in samples if sample.score == 1)
    place = int(right.item.partition("-")[2])
    assert (right.output, right.target, right.prompt) == (day(place), day(place), asked(place)["question"])
    episode = right.episode
    assert episode is not None
    assert (episode.turns, episode.calls, episode.tool_errors, episode.malformed_calls) == (2, 1, 0, 0)
    assert (episode.stop_reason, episode.rewards["exact"]) == ("answered", 1.0)
    assert episode.rewards.keys() == {"exact", "gold_section", "tool_form"}
    first, last = episode.conversation
    (call,) = first.calls
    assert "<tool_call>" in first.text
    assert (call.tool, call.status, last.text) == ("search_law", "ok", day(place))
    assert call.output.startswith("[1] Market Code ")
    assert episode.completion_tokens == right.tokens > 10
    # What the first turn read is read again in the second, with the first turn and the tool's words behind it.
    assert episode.prompt_tokens > 2 * episode.completion_tokens


def test_held_out_answers_of_training_and_evaluation_are_the_same_episodes_token_by_token(
    run: Path, tmp_path: Path, datasets: Any, service: str, monkeypatch: pytest.MonkeyPatch
):
    from trainer.contract import TaskSpec
    from trainer.contract.toolsets import ToolsetSpec
    from trainer.evaluation.command import load_model
    from trainer.evaluation.outputs import agent
    from trainer.evaluation.stage import score_task
    from trainer.stage import StageWork

    checkpoint = run / "checkpoints/step-000130/model"
    session = open_here(write(tmp_path / "rft", [RFT], checkpoint, datasets, service))
    work = StageWork(session, 0, session.spec.recipe.stages[0])
    trained = work.algorithm.answer_held_out(work.algorithm.held_out[0], valued=True)

    played: list[Any] = []
    play = agent.play
    monkeypatch.setattr(
        agent, "play", lambda episodes, *rest, **how: (play(episodes, *rest, **how), played.extend(episodes))
    )
    model, tokenizer = load_model(checkpoint, "cpu")
    samples = score_task(
        TaskSpec(**TASK),
        Path(datasets["ask@1"].path),
        model=model,
        tokenizer=tokenizer,
        path=tmp_path / "samples.jsonl",
        tell=lambda done, total: None,
        should_stop=lambda: False,
        toolset=ToolsetSpec(**toolset(service)),
    )
    assert len(played) == len(trained) == 8
    assert sum(len(one.made) for one in played) >= 8
    for mine, theirs, sample in zip(played, trained, samples, strict=True):
        assert mine.prompt.ids == theirs.prompt.ids
        assert mine.token_ids == theirs.token_ids
        assert mine.logprobs == theirs.logprobs
        assert [(one.call, one.result.text) for one in mine.made] == [
            (one.call, one.result.text) for one in theirs.calls
        ]
        assert (mine.ending, mine.answer) == (theirs.stop_reason, theirs.text)
        assert sample.episode.rewards == theirs.components


@pytest.fixture
def files(tmp_path: Path, service: str) -> list[str]:
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(TASK))
    (tmp_path / "tools.yaml").write_text(yaml.safe_dump(toolset(service)))
    return ["--task", str(tmp_path / "task.yaml"), "--toolset", str(tmp_path / "tools.yaml")]


def test_the_command_tells_every_reward_and_what_episodes_took(
    run: Path, tmp_path: Path, files: list[str], datasets: Any, capsys: pytest.CaptureFixture[str]
):
    model = run / "checkpoints/step-000130/model"
    words = ["--model", model, *files, "--data", f"ask@1={datasets['ask@1'].path}", "--out", tmp_path / "out"]
    assert main([str(word) for word in words]) == ExitCode.FINISHED
    out = capsys.readouterr().out
    assert out.splitlines()[1].split()[:2] == ["markets", "exact"]
    assert "gold_section" in out
    assert "markets: 2.0 turns and 1.0 calls an item; of 8 calls 0 failed, 0 malformed" in out
    (result,) = json.loads((tmp_path / "out/results.json").read_text())
    (scored,) = events_of(run, "task_scored")
    assert (result["mean"], result["n"], result["left_out"]) == (scored.mean, 8, 0)
    assert result["rewards"]["exact"]["interval"] == result["interval"]
    assert result["rewards"]["gold_section"]["n"] == 8


def test_a_recipe_without_a_toolset_is_refused_before_anything_is_computed(tmp_path: Path, base: Path, datasets: Any):
    out = write(tmp_path / "run", [STAGES[1]], base, datasets, "", tasks={"markets": TASK})
    assert run_here(out) == ExitCode.INVALID_SPEC
    (failed,) = events_of(out, "attempt_failed")
    assert "recipe.stages[0] names task markets, which is answered with tools; name a toolset" in failed.error


def test_rows_that_no_reward_can_judge_are_refused_before_the_first_stage(
    tmp_path: Path, base: Path, datasets: Any, service: str
):
    bad = write_rows(tmp_path / "bad.jsonl", [{"question": "When?", "answer": "Never."}], "prompts")
    task = {**TASK, "metric": "gold_section"}
    out = write(tmp_path / "run", STAGES, base, {**datasets, "ask@1": bad}, service, tasks={"markets": task})
    assert run_here(out) == ExitCode.INVALID_SPEC
    (failed,) = events_of(out, "attempt_failed")
    assert "markets: agent.rewards[0] (gold_section): 1 of 1 rows of ask@1" in failed.error
    assert not list(events_of(out, "stage_started"))


def test_items_whose_tools_fail_are_left_out_and_counted(
    run: Path, tmp_path: Path, files: list[str], datasets: Any, capsys: pytest.CaptureFixture[str], service: str
):
    """The service answers questions about some markets and breaks on the others."""
    from tests.broken_tools import break_some

    with break_some(service, lambda body: b"Nakhon" in body or b"Phrae" in body) as broken:
        tools = {**toolset(broken), "limits": {"retries": 0}}
        (tmp_path / "tools.yaml").write_text(yaml.safe_dump(tools))
        model = run / "checkpoints/step-000130/model"
        words = ["--model", model, *files, "--data", f"ask@1={datasets['ask@1'].path}", "--out", tmp_path / "out"]
        assert main([str(word) for word in words]) == ExitCode.FINISHED
    assert "markets: 2 items are left out of the score, through no fault of the model" in capsys.readouterr().out
    (result,) = json.loads((tmp_path / "out/results.json").read_text())
    samples = read_samples(tmp_path / "out" / result["samples"])
    assert [sample.item for sample in samples if sample.status == "left_out"] == ["market-0", "market-7"]
    assert (result["n"], result["left_out"]) == (6, 2)
    assert result["mean"] == sum(sample.score or 0 for sample in samples) / 6
    assert all(sample.score is None for sample in samples if sample.status == "left_out")
