"""The real vLLM behind HTTP, as `python -m trainer.sampling.vllm_server` starts it. Runs in `make test-vllm`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.rollout_runs import GRPO, read_rollouts, write_base, write_rollout_run
from tests.sampler_models import forward_logprobs, largest_error, make_model, make_requests
from tests.trainer_runs import events_of, metric, run_trainer
from tests.vllm_models import take_weights
from tests.vllm_serving import serve
from trainer.contract.vllm import VllmSettings
from trainer.failures import RunFailed
from trainer.sampling import Completion, SamplingRequest, StopReason, TorchEngine
from trainer.sampling.vllm_client import VllmServer
from trainer.sampling.vllm_engine import VllmEngine

pytestmark = [pytest.mark.vllm, pytest.mark.trains]

ROUNDING = 2e-5
KEY = "a-key-of-the-tests"
STAGE: dict[str, Any] = {**GRPO, "sampler": "vllm", "steps": 3}
LONG = SamplingRequest(prompt_ids=tuple(2 + n * 7 % 190 for n in range(400)), max_new_tokens=4, temperature=0.0)
"""Longer than a block of the prefix cache, 128 tokens on a CPU."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"), head_dim=32, context_length=512)


@pytest.fixture(scope="module")
def server(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve(base, tmp_path_factory.mktemp("server") / "log", "--max-model-len", "512", key=KEY) as address:
        yield address


@pytest.fixture
def engine(base: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VllmEngine:
    monkeypatch.setenv("TESTS_KEY", KEY)
    model = make_model(AutoModelForCausalLM.from_pretrained(base).config, seed=1)
    backend = VllmServer(VllmSettings(server=server, api_key_env="TESTS_KEY"), folder=tmp_path / "sampler")
    return VllmEngine(model, AutoTokenizer.from_pretrained(base), backend, temperature=1.0, top_p=1.0)


def renew(engine: VllmEngine, seed: int) -> None:
    take_weights(engine.model, make_model(engine.model.config, seed=seed))
    engine.update_weights()


def expected_of(engine: VllmEngine, requests: list[SamplingRequest]) -> list[Completion]:
    return TorchEngine(engine.model, engine._tokenizer).sample(requests)


def tokens_of(completions: list[Completion]) -> list[tuple[int, ...]]:
    return [completion.token_ids for completion in completions]


def test_it_answers_as_the_torch_engine_after_every_update(engine: VllmEngine, tmp_path: Path):
    for seed in (2, 3):
        renew(engine, seed)
        requests = make_requests(8, temperature=0.0)
        found, expected = engine.sample(requests), expected_of(engine, requests)
        assert [(one.token_ids, one.text, one.stop_reason) for one in found] == [
            (one.token_ids, one.text, one.stop_reason) for one in expected
        ]
        assert largest_error(engine.model, requests, found) < ROUNDING
        assert engine.gap is not None
        assert engine.gap.mean < ROUNDING
    assert engine.updates == 3
    assert not list((tmp_path / "sampler").iterdir())  # weights lie on the disk no longer than they are needed


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_logprobs_are_those_of_a_forward_pass_at_the_temperature(engine: VllmEngine, temperature: float):
    requests = make_requests(12, temperature=temperature)
    found = engine.sample(requests)
    assert largest_error(engine.model, requests, found) < ROUNDING
    assert tokens_of(engine.sample(requests[::-1]))[::-1] == tokens_of(found)


def test_stop_strings_end_where_the_torch_engine_ends_them(engine: VllmEngine):
    free = expected_of(engine, make_requests(6, temperature=0.0))
    decode = engine._tokenizer.decode
    stops = tuple({decode([one.token_ids[2]]) for one in free[:3]} - {"", "�"})
    requests = make_requests(6, temperature=0.0, stop=stops)
    found = engine.sample(requests)
    assert StopReason.STOP_STRING in {one.stop_reason for one in found}
    assert [(one.token_ids, one.text) for one in found] == [
        (one.token_ids, one.text) for one in expected_of(engine, requests)
    ]


def test_the_prefix_cache_is_emptied_with_every_update(engine: VllmEngine, monkeypatch: pytest.MonkeyPatch):
    engine.sample([LONG])
    renew(engine, 4)
    (found,) = engine.sample([LONG])
    assert found.logprobs == pytest.approx(forward_logprobs(engine.model, LONG, found), abs=ROUNDING)
    monkeypatch.setattr(engine.backend, "reset_prefix_cache", lambda: True)  # the test can fail
    renew(engine, 5)
    (stale,) = engine.sample([LONG])
    assert stale.logprobs != pytest.approx(forward_logprobs(engine.model, LONG, stale), abs=1e-2)


def test_it_stops_when_asked_and_goes_on_with_new_weights(engine: VllmEngine):
    long = make_requests(6, temperature=1.0, max_new_tokens=400)
    looks = iter([False])
    broken = engine.sample(long, should_stop=lambda: next(looks, True))
    assert StopReason.INTERRUPTED in {one.stop_reason for one in broken}
    renew(engine, 6)  # its cache can be emptied only once the broken ones have ended
    requests = make_requests(4, temperature=0.0)
    assert tokens_of(engine.sample(requests)) == tokens_of(expected_of(engine, requests))


def test_weights_that_do_not_arrive_stop_the_run(engine: VllmEngine, monkeypatch: pytest.MonkeyPatch):
    load = engine.backend.load
    monkeypatch.setattr(engine.backend, "load", lambda weights: load(list(weights)[:-3]))
    renew(engine, 7)
    with pytest.raises(RunFailed, match="does not sample from the policy's weights"):
        engine.sample(make_requests(1))


@pytest.mark.parametrize(("processes", "sharding"), [(1, "off"), (2, "off"), (2, "on")])
def test_a_grpo_run_samples_from_the_present_weights(
    processes: int, sharding: str, base: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TRAINER_VLLM_SERVER", server)
    monkeypatch.setenv("TRAINER_VLLM_API_KEY_ENV", "TESTS_KEY")
    monkeypatch.setenv("TESTS_KEY", KEY)
    stage = {**STAGE, "compute": {"sharding": sharding}}
    out = write_rollout_run(tmp_path / "run", [stage], base, processes=processes)
    result = run_trainer("run", str(out), seconds=600)
    assert result.returncode == 0, result.stderr[-4000:]
    gaps = metric(out, "policy/logp_gap_max")
    assert sorted(gaps) == [1, 2, 3]
    assert max(gaps.values()) < 5e-5
    assert len(read_rollouts(out, 3)) == 8


def refusal(out: Path, base: Path, stage: dict[str, Any], server: str) -> str:
    result = run_trainer("run", str(write_rollout_run(out, [stage], base, vllm={"server": server})), seconds=600)
    assert result.returncode == 2, result.stderr[-4000:]
    (failed,) = events_of(out, "attempt_failed")
    return str(failed.error)


def test_what_the_server_was_not_started_for_is_refused(base: Path, server: str, tmp_path: Path):
    nucleus = {**STAGE, "sampling": {"max_new_tokens": 16, "top_p": 0.9}}
    error = refusal(tmp_path / "nucleus", base, nucleus, server)
    assert "recipe.stages[0].sampling" in error
    assert "--logprobs-mode raw_logprobs" in error
    other = write_base(tmp_path / "other", head_dim=32, context_length=1024)
    error = refusal(tmp_path / "long", other, {**STAGE, "sequence_length": 640}, server)
    assert "recipe.stages[0].sequence_length" in error
    assert "--max-model-len 640" in error


def test_a_file_that_the_server_does_not_see_is_no_update(engine: VllmEngine, monkeypatch: pytest.MonkeyPatch):
    requests = make_requests(2, temperature=0.0)
    expected = engine.sample(requests)
    with monkeypatch.context() as patch:
        patch.setattr("trainer.sampling.vllm_client.save_file", lambda tensors, path: None)
        engine.update_weights()
        with pytest.raises(RunFailed, match=r"does not see the policy's weights in .*set vllm\.weights_directory"):
            engine.sample(requests)
    assert engine.sample(requests) == expected


def test_a_server_that_took_weights_in_part_is_told_and_used_no_more(engine: VllmEngine, base: Path, tmp_path: Path):
    """The last test of this server: vLLM cannot leave an update that broke off."""
    weights = [(name, one[:1]) for name, one in engine.model.named_parameters()]
    with pytest.raises(RunFailed, match=r"did not take the policy's weights .*start it anew"):
        engine.backend.load(weights)
    error = refusal(tmp_path / "run", base, STAGE, engine.backend._settings.server)  # type: ignore[attr-defined]
    assert "took weights in part only and can take none any more; start it anew" in error
