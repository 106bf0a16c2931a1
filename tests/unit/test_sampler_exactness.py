"""The torch engine's log-probabilities are those of the model's own forward pass, on the fast path and beside it."""

import logging

import pytest
import torch
from sampler_models import GROUPED, LLAMA_SHAPED, OTHERS, largest_error, make_model, make_requests, make_tokenizer
from torch import nn
from transformers import LlamaConfig, MistralConfig

from trainer.attention import PER_DOCUMENT
from trainer.sampling import SamplingRequest, TorchEngine, llama_decoder, llama_weights
from trainer.sampling.llama_weights import LlamaWeights
from trainer.sampling.self_test import find_difference

TOLERANCE = 1e-5


@pytest.mark.parametrize("name", LLAMA_SHAPED)
def test_the_fast_path_gives_the_logprobs_of_a_forward_pass(name):
    model = make_model(LLAMA_SHAPED[name]())
    engine = TorchEngine(model, make_tokenizer())
    assert engine.fallback_reason is None
    for settings in ({}, {"temperature": 0.7}, {"temperature": 0.0}):
        requests = make_requests(6, **settings)
        completions = engine.sample(requests)
        assert largest_error(model, requests, completions) <= TOLERANCE
        assert sum(len(completion.token_ids) for completion in completions) > 30


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_of_another_shape_is_sampled_through_its_own_module(name, caplog):
    model = make_model(OTHERS[name]())
    with caplog.at_level(logging.INFO, "trainer.sampling"):
        engine = TorchEngine(model, make_tokenizer())
    assert f"its architecture is {name}" in caplog.text
    requests = make_requests(6)
    assert largest_error(model, requests, engine.sample(requests)) <= TOLERANCE


def test_the_fast_path_is_the_same_computation_not_the_module(monkeypatch):
    model = make_model(LLAMA_SHAPED["qwen 3"]())
    engine = TorchEngine(model, make_tokenizer())

    def fail(*args, **kwargs):
        raise AssertionError("the module was called")

    monkeypatch.setattr(model, "forward", fail)
    assert len(engine.sample(make_requests(3))) == 3


def test_a_model_that_computes_something_else_fails_the_self_test_and_falls_back():
    model = make_model(LLAMA_SHAPED["llama"]())
    model.model.layers[1].mlp.register_forward_hook(lambda module, inputs, output: output * 1.01)
    engine = TorchEngine(model, make_tokenizer())
    assert engine.fallback_reason.startswith("its logits differ from the model's own by 0.0")
    requests = make_requests(4)
    assert largest_error(model, requests, engine.sample(requests)) <= TOLERANCE


def test_a_subclass_of_a_linear_layer_is_not_trusted_to_be_its_weight():
    class Adapted(nn.Linear):
        pass

    model = make_model(LLAMA_SHAPED["llama"]())
    layer = model.model.layers[2].self_attn
    layer.v_proj.__class__ = Adapted
    assert TorchEngine(model, make_tokenizer()).fallback_reason == "its v_proj is a Adapted"


def test_frequencies_that_change_with_the_length_of_the_text_are_left_to_the_module():
    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    model = make_model(LlamaConfig(**GROUPED, rope_parameters=rope))
    engine = TorchEngine(model, make_tokenizer())
    assert engine.fallback_reason == "its rotary embedding is of the kind dynamic"
    requests = make_requests(3)
    assert largest_error(model, requests, engine.sample(requests)) <= TOLERANCE


def test_texts_longer_than_a_sliding_window_are_left_to_the_module(monkeypatch):
    model = make_model(MistralConfig(**GROUPED, sliding_window=16))
    engine = TorchEngine(model, make_tokenizer())
    assert engine.fallback_reason is None
    long = make_requests(6)
    assert max(len(request.prompt_ids) for request in long) > 16
    assert largest_error(model, long, engine.sample(long)) <= TOLERANCE
    short = [SamplingRequest(prompt_ids=r.prompt_ids[:4], max_new_tokens=12, temperature=1.0) for r in long]
    assert largest_error(model, short, engine.sample(short)) <= TOLERANCE
    monkeypatch.setattr(model, "forward", None)
    assert len(engine.sample(short)) == 6


@pytest.mark.parametrize("name", ["qwen 3", "gemma"])
def test_a_policy_set_up_for_packed_training_is_sampled_and_left_as_it_was(name):
    model = make_model((LLAMA_SHAPED | OTHERS)[name]())
    requests = make_requests(4)
    expected = TorchEngine(model, make_tokenizer()).sample(requests)
    model.set_attn_implementation(PER_DOCUMENT)
    model.train()
    assert TorchEngine(model, make_tokenizer()).sample(requests) == expected
    assert model.training
    assert model.config._attn_implementation == PER_DOCUMENT


def spoil_rotation(monkeypatch, weights):
    monkeypatch.setattr(llama_weights.LlamaWeights, "rotations", lambda w, n: torch.ones(n, w.head_size // 2) + 0j)


def spoil_scale(monkeypatch, weights):
    weights.scale *= 1.2


def spoil_head_norm(monkeypatch, weights):
    for layer in weights.layers:
        layer.qk_norm_QKD = torch.ones_like(layer.qk_norm_QKD)


def spoil_norm(monkeypatch, weights):
    weights.eps = 1e-2


def spoil_mask(monkeypatch, weights):
    attend = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        llama_decoder.functional,
        "scaled_dot_product_attention",
        lambda *inputs, attn_mask=None, **settings: attend(*inputs, **settings),
    )


def spoil_one_weight(monkeypatch, weights):
    down = weights.layers[1].down
    weight_OH = down._modules[0].weight.data
    weight_OH[5, 3] += 0.05
    down.refresh()
    weight_OH[5, 3] -= 0.05


@pytest.mark.parametrize(
    "spoil", [spoil_rotation, spoil_scale, spoil_head_norm, spoil_norm, spoil_mask, spoil_one_weight]
)
def test_the_self_test_notices_every_part_that_is_wrong(monkeypatch, spoil):
    model = make_model(LLAMA_SHAPED["qwen 3"]())
    weights = LlamaWeights(model, dtype=torch.float32)
    assert find_difference(model, weights, context=128) is None
    spoil(monkeypatch, weights)
    assert find_difference(model, weights, context=128) is not None


def test_half_precision_stays_near_the_forward_pass():
    model = make_model(LLAMA_SHAPED["qwen 3"]())
    engine = TorchEngine(model, make_tokenizer(), dtype=torch.bfloat16)
    assert engine.fallback_reason is None
    requests = make_requests(6)
    assert 1e-4 < largest_error(model, requests, engine.sample(requests)) < 0.3
