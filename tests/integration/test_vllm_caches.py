"""The real vLLM: keys and values of old weights, log-probabilities before top_p. Runs in `make test-vllm`."""

from typing import Any

import pytest
from transformers import Qwen3Config

from tests.sampler_models import GROUPED, forward_logprobs, largest_error, make_model, make_requests, make_tokenizer
from tests.vllm_models import open_vllm, take_weights
from trainer.sampling import SamplingRequest

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]
LONG = SamplingRequest(prompt_ids=tuple(2 + n * 7 % 190 for n in range(400)), max_new_tokens=4, temperature=0.0)
"""Longer than a block of vLLM's prefix cache, 128 tokens on a CPU."""


def make_long_policy(seed: int) -> Any:
    config = Qwen3Config(**{**GROUPED, "max_position_embeddings": 512}, head_dim=32, tie_word_embeddings=True)
    return make_model(config, seed=seed)


def test_the_prefix_cache_is_emptied_with_every_update(monkeypatch: pytest.MonkeyPatch):
    model = make_long_policy(0)
    engine = open_vllm(model, make_tokenizer(), context=512)
    try:
        for seed in (1, 2):
            engine.sample([LONG])  # fills the cache
            take_weights(model, make_long_policy(seed))
            engine.update_weights()
            (found,) = engine.sample([LONG])
            assert found.logprobs == pytest.approx(forward_logprobs(model, LONG, found), abs=2e-5)
        # The test can fail: a cache that is not emptied answers from the old weights.
        monkeypatch.setattr(engine.backend, "reset_prefix_cache", lambda: True)
        take_weights(model, make_long_policy(3))
        engine.update_weights()
        (stale,) = engine.sample([LONG])
        assert stale.logprobs != pytest.approx(forward_logprobs(model, LONG, stale), abs=1e-2)
    finally:
        engine.close()


def test_logprobs_below_top_p_are_those_before_it():
    """As the torch engine gives them: over all tokens, not over those that were left."""
    model = make_long_policy(4)
    engine = open_vllm(model, make_tokenizer(), mode="raw_logprobs")
    try:
        requests = make_requests(8, top_p=0.5)
        found = engine.sample(requests)
        assert largest_error(model, requests, found) < 2e-5
        assert found != engine.sample(make_requests(8))  # and the unlikely ones are left out indeed
        greedy = make_requests(8, top_p=0.5, temperature=0.0)
        assert largest_error(model, greedy, engine.sample(greedy)) < 2e-5
    finally:
        engine.close()
