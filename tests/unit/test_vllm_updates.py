"""When the policy's weights are sent to vLLM, in which order, and what shows that they arrived."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.fsdp import FSDPModule

from tests.arriving_requests import Trickle
from tests.rollout_runs import GRPO, open_stage, write_base
from tests.sampler_models import LLAMA_SHAPED, forward_logprobs, make_model, make_requests, make_tokenizer
from tests.vllm_doubles import VllmDouble
from trainer.adapters import adapted_maps, merged_weight
from trainer.failures import RunFailed
from trainer.sampling import SamplingRequest, StopReason, TorchEngine, vllm_engine
from trainer.sampling.policy_weights import Row, measure_gap, name_architecture, read_weights
from trainer.sampling.vllm_engine import VllmEngine, logprobs_mode, sampling_fields

UPDATE = ["wake weights", "load", "wake kv_cache", "reset", "generate"]
"""Weights before keys and values, so that both never need memory for old ones; the check comes last."""


@pytest.fixture
def model() -> Any:
    return make_model(LLAMA_SHAPED["qwen 3"]())


def open_engine(model: Any, backend: VllmDouble, **settings: Any) -> VllmEngine:
    return VllmEngine(model, make_tokenizer(), backend, temperature=1.0, top_p=1.0, **settings)


def step(model: Any) -> None:
    """What an optimiser does."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.1)


def test_weights_are_sent_once_for_every_update_that_is_sampled_from(model: Any):
    backend = VllmDouble(model)
    engine = open_engine(model, backend)
    assert backend.calls == UPDATE
    backend.calls.clear()
    engine.sample(make_requests(2))
    assert backend.calls == ["wake weights", "wake kv_cache", "generate"]
    step(model)
    engine.update_weights()
    step(model)
    engine.update_weights()
    backend.calls.clear()
    found = engine.sample(make_requests(2))
    assert backend.calls == [*UPDATE, "generate"]
    assert found == TorchEngine(model, make_tokenizer()).sample(make_requests(2))
    assert engine.updates == 2


def test_serving_samples_from_the_present_weights(model: Any):
    backend = VllmDouble(model)
    engine = open_engine(model, backend)
    step(model)
    engine.update_weights()
    backend.calls.clear()
    requests = make_requests(4)
    trickle = Trickle([(3 * place, request) for place, request in enumerate(requests)])
    engine.serve(trickle, most=4, longest=96)
    assert backend.calls == [*UPDATE, "generate"]
    alone = TorchEngine(model, make_tokenizer()).sample
    assert [trickle.answers[number] for number in range(4)] == [alone([request])[0] for request in requests]


def test_a_rank_without_episodes_takes_part_in_the_update(model: Any):
    """Whether vLLM took the weights is told by the first rank to all: one that did not listen would be waited for."""
    backend = VllmDouble(model)
    engine = open_engine(model, backend)
    engine.update_weights()
    engine.serve(Trickle([]), most=1, longest=96)
    assert engine.updates == 2


@pytest.mark.parametrize("keeps", [True, False])
def test_sleep_that_loses_the_weights_has_them_sent_again(keeps: bool, model: Any):
    backend = VllmDouble(model, keeps_weights=keeps)
    engine = open_engine(model, backend)
    engine.rest()
    backend.calls.clear()
    engine.sample(make_requests(1))
    assert backend.calls == (["wake weights", "wake kv_cache", "generate"] if keeps else [*UPDATE, "generate"])


def test_a_prefix_cache_in_use_is_asked_again(model: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vllm_engine, "RESET_WAIT", 0)
    backend = VllmDouble(model, resets=[False, False, True])
    open_engine(model, backend)
    assert backend.calls.count("reset") == 3


def test_a_prefix_cache_that_is_never_emptied_stops_the_run(model: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vllm_engine, "RESET_WAIT", 0)
    with pytest.raises(RunFailed, match="did not empty its prefix cache after its weights were updated"):
        open_engine(model, VllmDouble(model, resets=[False] * 100))


@pytest.mark.parametrize("lost", ["model.embed_tokens.weight", "model.layers.2.mlp.up_proj.weight"])
def test_a_weight_that_does_not_arrive_stops_the_run(lost: str, model: Any):
    backend = VllmDouble(model)
    engine = open_engine(model, backend)
    step(model)
    engine.update_weights()
    backend.lost.add(lost)
    with pytest.raises(RunFailed, match=r"after update 2 its log-probabilities of 24 tokens differ"):
        engine.sample(make_requests(1))
    backend.lost.clear()
    assert engine.sample(make_requests(1)) == TorchEngine(model, make_tokenizer()).sample(make_requests(1))


def test_log_probabilities_that_are_no_numbers_are_no_proof(model: Any):
    class Numberless(VllmDouble):
        def read(self, row: Any) -> None:
            row.logprobs[-1] = math.nan

    with pytest.raises(RunFailed, match="nan nats on average"):
        open_engine(model, Numberless(model))


def test_the_gap_is_the_mean_difference_of_the_sampled_tokens(model: Any):
    request = SamplingRequest(prompt_ids=(5, 6, 7), max_new_tokens=3, temperature=0.5, seed=4)
    (completion,) = TorchEngine(model, make_tokenizer()).sample([request])
    expected = forward_logprobs(model, request, completion)
    said = [expected[0] + 0.1, expected[1] - 0.4, expected[2]]
    row = Row(request, frozenset(), (), 3, StopReason.LENGTH, list(completion.token_ids), said)
    gap = measure_gap(model, [row])
    assert gap.tokens == 3
    assert gap.mean == pytest.approx(0.5 / 3, abs=1e-5)
    assert gap.largest == pytest.approx(0.4, abs=1e-5)


def test_adapters_are_sent_added_into_the_weights(tmp_path: Path):
    stage = {**GRPO, "lora": {"rank": 2, "alpha": 4, "targets": ["q_proj"]}}
    work = open_stage(tmp_path / "run", stage, write_base(tmp_path / "base"))
    with torch.no_grad():
        for _, module in adapted_maps(work.policy.model):
            module.lora_B["default"].weight.fill_(0.3)
    plain = open_stage(tmp_path / "plain", GRPO, tmp_path / "base")
    sent = dict(read_weights(work.policy.model))
    names = {name for name, _ in plain.policy.model.named_parameters()}
    assert set(sent) == names
    for name, module in adapted_maps(work.policy.model):
        assert sent[f"{name}.weight"].equal(merged_weight(module))
        assert not sent[f"{name}.weight"].equal(dict(plain.policy.model.named_parameters())[f"{name}.weight"])


def test_the_architecture_of_a_policy_cut_over_ranks_is_the_one_it_was_cut_from(model: Any):
    assert name_architecture(model) == "Qwen3ForCausalLM"
    model.__class__ = type("FSDPQwen3ForCausalLM", (FSDPModule, type(model)), {})  # as fully_shard does
    assert name_architecture(model) == "Qwen3ForCausalLM"


@pytest.mark.parametrize(
    ("temperature", "top_p", "mode"),
    [
        (1.0, 1.0, "processed_logprobs"),
        (0.7, 1.0, "processed_logprobs"),
        (1.0, 0.9, "raw_logprobs"),
        (0.0, 0.9, "processed_logprobs"),
        (0.7, 0.9, None),
    ],
)
def test_log_probabilities_are_after_the_temperature_and_before_top_p(temperature: float, top_p: float, mode: Any):
    assert logprobs_mode(temperature=temperature, top_p=top_p) == mode


def test_a_request_says_everything_that_a_models_own_settings_could_fill_in(model: Any):
    request = SamplingRequest(prompt_ids=(1,), max_new_tokens=9, temperature=0.7, seed=(1 << 63) + 5, stop=("x",))
    row = Row(request, frozenset({3, 1}), ("x",), 7, StopReason.CONTEXT)
    fields = sampling_fields(row)
    assert fields == {
        "temperature": 0.7,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": 5,  # vLLM's are signed
        "max_tokens": 7,
        "logprobs": 0,
        "ignore_eos": True,
        "stop_token_ids": [1, 3],
    }
