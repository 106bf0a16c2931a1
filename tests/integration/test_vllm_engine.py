"""The real vLLM inside of this process against the torch engine and a plain forward pass. Runs in `make test-vllm`."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tests.sampler_models import largest_error, make_model, make_requests, make_tokenizer
from tests.vllm_models import CONTEXT, SHAPES, open_vllm, take_weights
from trainer.failures import RunFailed
from trainer.sampling import Completion, SamplingRequest, StopReason, TorchEngine

# vLLM's own imports warn.
pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]
ROUNDING = 2e-5
"""Nats. fp32 on both sides: their sums run in another order."""


@pytest.fixture(scope="module", params=list(SHAPES))
def policy(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    """The policy's module, and vLLM for it. Every test leaves both with weights that belong together."""
    model = make_model(SHAPES[request.param]())
    engine = open_vllm(model, make_tokenizer())
    yield model, engine
    engine.close()


def renew(policy: tuple[Any, Any], seed: int) -> tuple[Any, Any]:
    """Other weights, as after an optimiser step."""
    model, engine = policy
    take_weights(model, make_model(model.config, seed=seed))
    engine.update_weights()
    return model, engine


def tokens_of(completions: list[Completion]) -> list[tuple[int, ...]]:
    return [completion.token_ids for completion in completions]


def test_greedy_tokens_are_those_of_the_torch_engine(policy: tuple[Any, Any]):
    model, engine = renew(policy, 1)
    requests = make_requests(12, temperature=0.0)
    expected = TorchEngine(model, make_tokenizer()).sample(requests)
    found = engine.sample(requests)
    assert tokens_of(found) == tokens_of(expected)
    assert [one.stop_reason for one in found] == [one.stop_reason for one in expected]
    assert [one.text for one in found] == [one.text for one in expected]
    assert largest_error(model, requests, found) < ROUNDING


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_logprobs_are_those_of_a_forward_pass_at_the_temperature(policy: tuple[Any, Any], temperature: float):
    model, engine = policy
    requests = make_requests(12, temperature=temperature)
    assert largest_error(model, requests, engine.sample(requests)) < ROUNDING


def test_every_update_samples_from_the_new_weights(policy: tuple[Any, Any]):
    requests = make_requests(6, temperature=0.0)
    seen = []
    for seed in (2, 3, 4):
        model, engine = renew(policy, seed)
        updates = engine.updates
        found = engine.sample(requests)
        assert engine.updates == updates + 1
        assert tokens_of(found) == tokens_of(TorchEngine(model, make_tokenizer()).sample(requests))
        assert largest_error(model, requests, found) < ROUNDING
        assert engine.gap.mean < ROUNDING
        seen.append(tokens_of(found))
    assert seen[0] != seen[1] != seen[2]


def test_weights_that_nobody_samples_from_are_not_sent(policy: tuple[Any, Any]):
    _, engine = renew(policy, 5)
    engine.sample(make_requests(1))
    updates = engine.updates
    engine.sample(make_requests(1))
    assert engine.updates == updates


def test_a_seed_gives_the_same_tokens_whatever_is_sampled_beside_it(policy: tuple[Any, Any]):
    _, engine = policy
    requests = make_requests(10)
    together = tokens_of(engine.sample(requests))
    assert [tokens_of(engine.sample([request]))[0] for request in requests] == together
    assert tokens_of(engine.sample(requests[::-1]))[::-1] == together
    others = [SamplingRequest(prompt_ids=r.prompt_ids, max_new_tokens=12, temperature=1.0, seed=99) for r in requests]
    assert tokens_of(engine.sample(others)) != together


def test_draws_follow_the_probabilities(policy: tuple[Any, Any]):
    """4,000 draws of one token against the forward pass: a chi-squared of 30 cells stays below 60 but once in 1,000."""
    model, engine = policy
    prompt = (7, 8, 9)
    with torch.no_grad():
        probability_V = model(torch.tensor([prompt])).logits[0, -1].double().softmax(-1)
    likeliest = probability_V.topk(29).indices.tolist()
    requests = [
        SamplingRequest(prompt_ids=prompt, max_new_tokens=1, temperature=1.0, seed=seed) for seed in range(4000)
    ]
    drawn = [tokens[0] for tokens in tokens_of(engine.sample(requests))]
    expected = [4000 * probability_V[token].item() for token in likeliest]
    found = [drawn.count(token) for token in likeliest]
    expected.append(4000 - sum(expected))
    found.append(4000 - sum(found))
    assert sum((one - other) ** 2 / other for one, other in zip(found, expected, strict=True)) < 60


def test_completions_end_where_the_torch_engine_ends_them(policy: tuple[Any, Any]):
    """At an end token, at a stop string, at their length, at the context."""
    model, engine = policy
    torch_engine = TorchEngine(model, make_tokenizer())
    free = torch_engine.sample(make_requests(8, temperature=0.0))
    stops = tuple({f"w{completion.token_ids[2]}" for completion in free[:4]})
    ended = make_requests(8, temperature=0.0, stop=stops)
    found, expected = engine.sample(ended), torch_engine.sample(ended)
    assert found[0].stop_reason is StopReason.STOP_STRING
    assert [(one.token_ids, one.text, one.stop_reason) for one in found] == [
        (one.token_ids, one.text, one.stop_reason) for one in expected
    ]
    long = SamplingRequest(prompt_ids=tuple(range(2, 82)), max_new_tokens=60, temperature=0.0)
    (full,) = engine.sample([long])
    assert full.stop_reason is StopReason.CONTEXT or full.token_ids[-1] == 1
    assert len(full.token_ids) <= CONTEXT - 80
    endless = [
        SamplingRequest(prompt_ids=(seed + 2,), max_new_tokens=90, temperature=2.0, seed=seed) for seed in range(40)
    ]
    reasons = {one.stop_reason: one for one in engine.sample(endless)}
    assert reasons[StopReason.END_TOKEN].token_ids[-1] == 1  # the end token belongs to what was sampled
    assert 1 not in reasons[StopReason.END_TOKEN].token_ids[:-1]


def test_it_stops_when_asked_and_goes_on_after_that(policy: tuple[Any, Any]):
    model, engine = policy
    requests = make_requests(6, temperature=0.0, max_new_tokens=40)
    looks = iter([False] * 5)
    broken = engine.sample(requests, should_stop=lambda: next(looks, True))
    assert {one.stop_reason for one in broken} <= {StopReason.INTERRUPTED, StopReason.END_TOKEN}
    assert all(len(one.token_ids) == len(one.logprobs) <= 6 for one in broken)
    _, engine = renew(policy, 6)
    assert tokens_of(engine.sample(requests)) == tokens_of(TorchEngine(model, make_tokenizer()).sample(requests))


def test_sleeping_and_waking_changes_nothing(policy: tuple[Any, Any]):
    """The order of calls that vLLM accepts; its CPU build gives no memory back."""
    model, engine = renew(policy, 7)
    requests = make_requests(4, temperature=0.0)
    before = engine.sample(requests)
    engine.rest()
    engine.rest()
    assert engine.sample(requests) == before
    renew(policy, 8)
    engine.rest()
    assert tokens_of(engine.sample(requests)) == tokens_of(TorchEngine(model, make_tokenizer()).sample(requests))


def test_the_run_draws_its_random_numbers_as_if_vllm_were_not_there(policy: tuple[Any, Any]):
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    expected = torch.rand(3).tolist(), random.random(), np.random.random()
    requests = make_requests(4)
    _, engine = renew(policy, 9)
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    engine.sample(requests)
    engine.rest()
    assert (torch.rand(3).tolist(), random.random(), np.random.random()) == expected


def test_weights_that_do_not_arrive_stop_the_run(policy: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch):
    model, engine = policy
    backend = engine.backend
    monkeypatch.setattr(backend, "load", lambda weights: type(backend).load(backend, list(weights)[:-3]))
    renew(policy, 10)
    with pytest.raises(RunFailed, match="does not sample from the policy's weights"):
        engine.sample(make_requests(1))
    monkeypatch.undo()
    requests = make_requests(3)
    assert largest_error(model, requests, engine.sample(requests)) < ROUNDING


def test_a_tied_head_that_keeps_its_old_weights_is_noticed(policy: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch):
    """The fault of vLLM's CPU build that a changed output does not show."""
    from trainer.sampling.vllm_worker import PolicyWeights

    model, engine = policy
    if not model.config.tie_word_embeddings:
        pytest.skip("its head has weights of its own")
    monkeypatch.setattr(PolicyWeights, "_repack_head", lambda self: None)
    worker = type(engine.backend._llm.llm_engine.engine_core.engine_core.model_executor.driver_worker.worker)
    monkeypatch.setattr(worker, "_repack_head", lambda self: None)
    renew(policy, 11)
    with pytest.raises(RunFailed, match="does not sample from the policy's weights"):
        engine.sample(make_requests(1))
    monkeypatch.undo()
    requests = make_requests(3)
    assert largest_error(model, requests, engine.sample(requests)) < ROUNDING


def test_requests_that_vllm_cannot_answer_exactly_are_refused(policy: tuple[Any, Any]):
    _, engine = policy
    with pytest.raises(ValueError, match="vLLM was started for 96: nothing can be sampled"):
        engine.sample([SamplingRequest(prompt_ids=tuple(range(96)), max_new_tokens=1)])
    with pytest.raises(ValueError, match=r"not those of temperature 1 with top_p 0\.9"):
        engine.sample(make_requests(1, top_p=0.9))
