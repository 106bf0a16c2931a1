"""What a run says about vLLM, and what is refused before anything is computed, with the field's name."""

import importlib.util
import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.judge_server import Reply, serve
from tests.rollout_runs import GRPO, write_base, write_rollout_run
from tests.trainer_runs import events_of, run_here
from tests.vllm_doubles import FACTS
from trainer.contract import Recipe
from trainer.contract.vllm import VllmSettings
from trainer.sampling.vllm_server import main, server_command

STAGE: dict[str, Any] = {**GRPO, "sampler": "vllm"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


def refusal(out: Path, base: Path, capsys: pytest.CaptureFixture[str], *stages: dict[str, Any], **fields: Any) -> str:
    """What the trainer says when it refuses; no stage was begun."""
    assert run_here(write_rollout_run(out, list(stages or [STAGE]), base, **fields)) == 2
    assert not events_of(out, "stage_started")
    assert not (out / "checkpoints").exists()
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8001", "ftp://one", "http://", "http://one:0", "http://me:secret@one", "http://one/v1"]
)
def test_an_address_that_is_none_is_refused(address: str):
    with pytest.raises(ValidationError, match="is no address like"):
        VllmSettings(server=address)


def test_the_environment_fills_what_the_run_leaves_open():
    environment = {
        "TRAINER_VLLM_SERVER": "http://one:8001/",
        "TRAINER_VLLM_SLEEP_LEVEL": "1",
        "TRAINER_VLLM_SECONDS": "",
    }
    settings = VllmSettings(sleep_level=0)
    # A frozen run names every field.
    for given in (settings, VllmSettings.model_validate(settings.model_dump(mode="json"))):
        found = given.with_environment(environment)
        assert (found.server, found.sleep_level, found.seconds) == ("http://one:8001", 0, 900.0)
    with pytest.raises(ValidationError, match="memory_share"):
        VllmSettings().with_environment({"TRAINER_VLLM_MEMORY_SHARE": "2"})


@pytest.mark.parametrize(
    ("sampling", "sentence"),
    [
        ({"temperature": 0.7, "top_p": 0.9}, r"set sampling\.top_p or sampling\.temperature to 1"),
        ({"temperature": 2.5}, r"takes a sampling\.temperature of 0\.01 to 2, not 2\.5"),
        ({"temperature": 0.001}, r"takes a sampling\.temperature of 0\.01 to 2, not 0\.001"),
    ],
)
def test_what_vllm_cannot_answer_exactly_is_refused_by_the_contract(sampling: dict[str, Any], sentence: str):
    stage = {**STAGE, "sampling": {"max_new_tokens": 16, **sampling}}
    with pytest.raises(ValidationError, match=sentence):
        Recipe.model_validate({"base": "tiny", "stages": [stage]})
    Recipe.model_validate({"base": "tiny", "stages": [{**stage, "sampler": "torch"}]})


def hide_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "vllm" else find(name))


def test_without_vllm_the_run_is_refused_before_its_first_stage(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    hide_vllm(monkeypatch)
    said = refusal(tmp_path / "run", base, capsys, {**GRPO, "steps": 1}, STAGE)
    assert "recipe.stages[1].sampler: sampler: vllm is chosen and vLLM is not installed" in said
    assert "pip install 'chanote[vllm]'" in said
    assert "choose sampler: torch" in said


def test_a_server_that_does_not_answer_is_refused_before_the_first_stage(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # taken, but nobody listens
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        said = refusal(tmp_path / "run", base, capsys, {**GRPO, "steps": 1}, STAGE, vllm={"server": address})
    assert f"vllm.server: {address} cannot be reached (Connection refused). Start one by" in said


def test_a_variable_that_makes_no_sense_is_named(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TRAINER_VLLM_SERVER", "nowhere")
    assert "vllm: a variable TRAINER_VLLM_… cannot be used" in refusal(tmp_path / "run", base, capsys)


def test_several_processes_need_a_server(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = refusal(tmp_path / "run", base, capsys)
    assert "recipe.stages[0].sampler: vLLM inside of the trainer samples for one process, and several train" in said


@pytest.mark.parametrize(
    ("facts", "changes", "sentence"),
    [
        (
            {"context": 64},
            {},
            "recipe.stages[0].sequence_length: the vLLM server at {} was started for 64 tokens and sequences have up "
            "to 96; start it with --max-model-len 96.",
        ),
        (
            {},
            {"sampling": {"max_new_tokens": 16, "top_p": 0.5}},
            "recipe.stages[0].sampling: the vLLM server at {} gives processed_logprobs, and temperature 1 with top_p "
            "0.5 wants raw_logprobs; start it with --logprobs-mode raw_logprobs.",
        ),
        ({"broken": True}, {}, "vllm.server: {} took weights in part only and can take none any more; start it anew."),
    ],
)
def test_a_server_started_for_something_else_is_refused(
    facts: dict[str, Any],
    changes: dict[str, Any],
    sentence: str,
    base: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    with serve(lambda number, body: Reply({"results": [{**FACTS, **facts}]})) as server:
        address = server.url.removesuffix("/v1")
        said = refusal(tmp_path / "run", base, capsys, {**STAGE, **changes}, vllm={"server": address})
    assert sentence.format(address) in said


def test_a_server_of_another_model_is_refused(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with serve(lambda number, body: Reply({"results": [FACTS]})) as server:
        address = server.url.removesuffix("/v1")
        said = refusal(tmp_path / "run", base, capsys, vllm={"server": address})
    assert f"vllm.server: {address} was started for a Qwen3ForCausalLM with 200 tokens and the policy is a" in said
    assert "start it with the run's own base" in said


def test_a_server_without_vllm_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    hide_vllm(monkeypatch)
    assert main(["base"]) == 2
    assert "pip install 'chanote[vllm]'" in capsys.readouterr().err
    assert main([]) == 2
    assert "python -m trainer.sampling.vllm_server MODEL" in capsys.readouterr().out


def test_the_server_starts_with_random_weights_and_exact_logprobs_unless_told_otherwise():
    command = server_command("base", ["--port", "9", "--logprobs-mode=raw_logprobs"])
    text = " ".join(command)
    assert "--model base" in text
    assert "--load-format dummy" in text
    assert "--host 127.0.0.1" in text
    assert "--worker-extension-cls trainer.sampling.vllm_worker.PolicyWeights" in text
    assert "--logprobs-mode processed_logprobs" not in text
    assert text.count("--port") == 1
