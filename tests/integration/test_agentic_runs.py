"""A policy learns to call the real tool service in one stage and is rewarded for what it answers in the next."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.market_laws import day, question, serve_markets, taught
from tests.rollout_runs import read_rollouts
from tests.trainer_runs import TINY, events_of, metric, run_trainer, trainer_process, write_rows, write_run
from trainer.contract.hashing import hash_directory, hash_file, list_files
from trainer.contract.tool_calls import StoredToolCall

pytestmark = [pytest.mark.trains]

SFT: dict[str, Any] = {
    "kind": "sft",
    "data": [{"dataset": "chat@1"}],
    "steps": 150,
    "batch_size": 8,
    "sequence_length": 256,
    "optimizer": {"learning_rate": 5e-3},
}
RFT: dict[str, Any] = {
    "kind": "agentic_rft",
    "data": [{"dataset": "ask@1"}],
    "held_out": [{"dataset": "ask@2"}],
    "measure_every": 2,
    "checkpoint_every": 2,
    "steps": 4,
    "batch_size": 16,
    "group_size": 4,
    "sequence_length": 400,
    "sampling": {"max_new_tokens": 300},
    "rewards": [{"kind": "exact"}],
    "optimizer": {"learning_rate": 1e-4},
    "tell_tools": False,
    "in_step": True,
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_markets(tmp_path_factory.mktemp("laws")) as address:
        yield address


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory, service: str) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("data")
    asked = [{"question": question(n), "answer": day(n)} for n in range(8)]
    return {
        "chat@1": write_rows(folder / "chat.jsonl", [taught(n, service) for n in range(8)] * 4, "chat"),
        "ask@1": write_rows(folder / "ask.jsonl", asked, "prompts"),
        "ask@2": write_rows(folder / "held_out.jsonl", asked[::-1], "prompts"),
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, service: str) -> Path:
    import torch

    from trainer.contract.stages.cpt import ModelShape
    from trainer.policy import initialise_policy
    from trainer.tokenizer import train_tokenizer

    shape = {**TINY, "hidden_size": 64, "ffn_size": 128, "heads": 4, "kv_heads": 2, "context_length": 512}
    texts = [json.dumps(taught(n, service)) for n in range(8)]
    policy = initialise_policy(
        ModelShape(**shape),
        train_tokenizer(texts, vocab_size=400, context_length=512),
        seed=5,
        device=torch.device("cpu"),
    )
    directory = tmp_path_factory.mktemp("base")
    policy.save(directory)
    return directory


def write(out: Path, stages: list[dict[str, Any]], base: Path, datasets: Any, service: str, **fields: Any) -> Path:
    out.mkdir()
    toolset = {"name": "law@1", "tools": ["search_law", "read_law"], "address": service}
    write_run(
        out,
        stages,
        datasets,
        recipe={"base": "tiny", "toolset": "law@1"},
        base={"path": str(base), "sha256": hash_directory(base)},
        toolset=toolset,
        **fields,
    )
    return out


def run(out: Path, stages: list[dict[str, Any]], base: Path, datasets: Any, service: str, **fields: Any) -> Path:
    result = run_trainer("run", str(write(out, stages, base, datasets, service, **fields)), seconds=600)
    assert result.returncode == 0, result.stderr[-4000:]
    return out


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, base: Path, datasets: Any, service: str) -> Path:
    return run(tmp_path_factory.mktemp("runs") / "whole", [SFT, RFT], base, datasets, service)


def test_the_policy_calls_the_tool_reads_it_and_answers(whole: Path):
    rollouts = [one for step in range(151, 155) for one in read_rollouts(whole, step)]
    assert len(rollouts) == 64
    answered = [one for one in rollouts if one.stop_reason == "answered" and len(one.turns) == 2]
    assert len(answered) > 32
    for one in rollouts:
        spans = [flag for start, end in one.turns for flag in one.trained[start:end]]
        assert all(spans)
        assert sum(spans) == sum(one.trained)
        assert [logp is not None for logp in one.logprobs] == one.trained
    two = answered[0]
    (_, first_end), (second, _) = two.turns
    between = "".join(two.tokens[first_end:second])
    assert between.startswith("\n<|im_start|>user\n<tool_response>\n[1] Market Code ")
    assert between.endswith("</tool_response><|im_end|>\n<|im_start|>assistant\n")


def test_the_trainer_gives_every_sampled_token_the_probability_it_was_sampled_with(whole: Path):
    """Also after text that tools said: what is trained on is what was sampled from, token by token."""
    assert max(metric(whole, "policy/logp_gap_max").values()) < 1e-4
    assert max(metric(whole, "rollout/tool_tokens").values()) > 10


def test_calls_are_stored_beside_their_rollouts(whole: Path):
    stored = list(events_of(whole, "tool_calls_stored"))
    assert [event.step for event in stored] == [151, 152, 153, 154]
    content = zstandard.ZstdDecompressor().decompress((whole / stored[0].path).read_bytes())
    calls = [StoredToolCall.model_validate_json(line) for line in content.splitlines()]
    assert len(calls) == stored[0].calls
    good = [call for call in calls if call.status == "ok"]
    assert good
    assert {call.tool for call in good} == {"search_law"}
    assert good[0].output.startswith("[1] Market Code ")
    assert metric(whole, "rollout/calls")[151] == len(calls) / 16


def test_held_out_questions_are_answered_with_tools(whole: Path):
    held_out = metric(whole, "held_out/ask@2/reward")
    assert sorted(held_out) == [150, 152, 154]
    assert held_out[154] > 0.8
    assert metric(whole, "held_out/ask@2/calls")[154] > 0.8


def test_a_stage_continued_in_its_middle_ends_the_same(
    whole: Path, tmp_path: Path, base: Path, datasets: Any, service: str
):
    """Bit for bit, tools and all."""
    resumed = {"resume_from": str(whole / "checkpoints/step-000152"), "attempt": 2}
    part = run(tmp_path / "part", [SFT, RFT], base, datasets, service, **resumed)
    assert read_rollouts(part, 154) == read_rollouts(whole, 154)
    last = "checkpoints/step-000154"
    for name in list_files(whole / last):
        assert hash_file(part / last / name) == hash_file(whole / last / name), name


def test_a_run_killed_while_its_next_round_is_played_goes_on_to_the_same_end(
    whole: Path, tmp_path: Path, datasets: Any, service: str
):
    """With episodes of older weights, against the real service: bit for bit, whatever was being played when it died."""
    taught, stages = whole / "checkpoints/step-000150/model", [{**RFT, "stale_steps": 1}]
    steady = run(tmp_path / "steady", stages, taught, datasets, service)
    killed = write(tmp_path / "killed", stages, taught, datasets, service)
    saved = killed / "checkpoints/step-000002"
    with trainer_process("run", str(killed)) as process:
        while process.poll() is None and not saved.is_dir():
            time.sleep(0.05)
        process.kill()
    part = run(tmp_path / "part", stages, taught, datasets, service, resume_from=str(saved), attempt=2)
    assert [max(one.age for one in read_rollouts(steady, step)) for step in range(1, 5)] == [0, 1, 1, 1]
    assert sum(len(one.turns) == 2 for one in read_rollouts(steady, 4)) > 8  # they do use the tool
    for step in (3, 4):
        assert read_rollouts(part, step) == read_rollouts(steady, step)
    last = "checkpoints/step-000004"
    for name in list_files(steady / last):
        assert hash_file(part / last / name) == hash_file(steady / last / name), name


def test_without_a_service_the_run_says_so(tmp_path: Path, base: Path, datasets: Any):
    out = tmp_path / "run"
    with pytest.raises(AssertionError, match="does not tell its tools"):
        run(out, [RFT], base, datasets, "http://127.0.0.1:9")
