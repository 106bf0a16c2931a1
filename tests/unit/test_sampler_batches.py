"""A row's tokens are its own: neither its neighbours nor its group nor the size of the batch changes them."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampler_models import LLAMA_SHAPED, OTHERS, largest_error, make_model, make_requests, make_tokenizer

from trainer.failures import RunFailed
from trainer.sampling import SamplingRequest, StopReason, TorchEngine
from trainer.sampling.choose import Chooser
from trainer.sampling.llama_decoder import LlamaDecoder
from trainer.sampling.randomness import scramble_seeds, uniform, uniforms


@pytest.fixture(scope="module", params=["qwen 3", "gpt_neox"])
def model(request):
    return make_model((LLAMA_SHAPED | OTHERS)[request.param]())


def make_mixed_requests(count):
    """Greedy, tempered and nucleus rows, of different lengths."""
    kinds = [{}, {"temperature": 0.0}, {"temperature": 0.8, "top_p": 0.7}]
    return [
        SamplingRequest(prompt_ids=r.prompt_ids, max_new_tokens=4 + 5 * n % 17, seed=n, **({"temperature": 1.0} | kind))
        for n, r in enumerate(make_requests(count))
        for kind in [kinds[n % 3]]
    ]


def assert_same(completions, others):
    assert [c.token_ids for c in completions] == [o.token_ids for o in others]
    assert [c.stop_reason for c in completions] == [o.stop_reason for o in others]
    for completion, other in zip(completions, others, strict=True):
        assert completion.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def test_every_row_alone_gives_the_same_tokens_as_in_a_batch(model):
    engine = TorchEngine(model, make_tokenizer())
    requests = make_mixed_requests(12)
    assert_same(engine.sample(requests), [engine.sample([request])[0] for request in requests])


@pytest.mark.parametrize("batch_rows", [1, 2, 5, 9])
def test_rows_that_take_the_places_of_finished_ones_change_nothing(model, batch_rows):
    requests = make_mixed_requests(20)
    whole = TorchEngine(model, make_tokenizer()).sample(requests)
    assert_same(TorchEngine(model, make_tokenizer(), batch_rows=batch_rows).sample(requests), whole)


def test_a_small_allowance_of_memory_means_fewer_rows_at_once(monkeypatch):
    model = make_model(LLAMA_SHAPED["qwen 3"]())
    requests = make_requests(6)
    places = []
    start = LlamaDecoder.__init__

    def note(self, weights, **sizes):
        places.append((sizes["places"], sizes["places"] * sizes["columns"] * LlamaDecoder.bytes_per_token(weights)))
        start(self, weights, **sizes)

    whole = TorchEngine(model, make_tokenizer()).sample(requests)
    monkeypatch.setattr(LlamaDecoder, "__init__", note)
    engine = TorchEngine(model, make_tokenizer(), cache_bytes=100_000)
    places.clear()
    assert_same(engine.sample(requests), whole)
    # 3 layers · keys and values · 2 heads · 16 units · 4 bytes = 768 bytes a token; 30 + 12 tokens at most in a row.
    longest = max(len(request.prompt_ids) for request in requests) + 12
    assert places == [(100_000 // (768 * longest), 100_000 // (768 * longest) * 768 * longest)]
    assert places[0][0] in range(2, 6)


def test_rows_that_end_early_leave_the_others_as_they_were(model):
    requests = make_requests(9)
    engine = TorchEngine(model, make_tokenizer())
    whole = engine.sample(requests)
    lengths = [12, 1, 5, 3, 12, 2, 7, 12, 4]
    cut = engine.sample(
        [
            SamplingRequest(prompt_ids=r.prompt_ids, max_new_tokens=n, temperature=1.0, seed=r.seed)
            for r, n in zip(requests, lengths, strict=True)
        ]
    )
    assert [c.token_ids for c in cut] == [w.token_ids[:n] for w, n in zip(whole, lengths, strict=True)]


def make_groups():
    """Three prompts, five completions of each, in turns."""
    prompts = [request.prompt_ids for request in make_requests(3)]
    return [
        SamplingRequest(prompt_ids=prompts[n % 3], max_new_tokens=6 + n % 4, temperature=1.0, seed=100 + n)
        for n in range(15)
    ]


@pytest.mark.parametrize("batch_rows", [128, 4])
def test_a_group_gives_what_its_members_give_alone(model, batch_rows):
    requests = make_groups()
    engine = TorchEngine(model, make_tokenizer(), batch_rows=batch_rows)
    together = engine.sample(requests)
    assert_same(together, [engine.sample([request])[0] for request in requests])
    assert largest_error(model, requests, together) <= 1e-5
    assert len({completion.token_ids for completion in together}) == 15


def test_a_group_computes_its_prompt_once(monkeypatch):
    computed = []
    admit = LlamaDecoder.admit

    def note(self, prompts, copies):
        computed.append((len(prompts), list(copies)))
        return admit(self, prompts, copies)

    engine = TorchEngine(make_model(LLAMA_SHAPED["qwen 3"]()), make_tokenizer())
    monkeypatch.setattr(LlamaDecoder, "admit", note)
    engine.sample(make_groups())
    assert computed == [(3, [5, 5, 5])]


def test_a_seed_gives_other_tokens_than_its_neighbour_and_the_same_ones_again(model):
    engine = TorchEngine(model, make_tokenizer())
    prompt = make_requests(1)[0].prompt_ids
    requests = [SamplingRequest(prompt_ids=prompt, max_new_tokens=8, temperature=1.0, seed=n) for n in (1, 2, 1)]
    first, second, again = engine.sample(requests)
    assert first.token_ids == again.token_ids != second.token_ids


def test_asking_to_stop_leaves_waiting_requests_without_tokens(model):
    calls = iter([False, False, True])
    engine = TorchEngine(model, make_tokenizer(), batch_rows=1)
    engine.end_tokens = frozenset()
    got = engine.sample(make_requests(3), should_stop=lambda: next(calls))
    assert [c.stop_reason for c in got] == [StopReason.INTERRUPTED] * 3
    assert sorted(len(c.token_ids) for c in got) == [0, 0, 3]
    assert all(len(c.logprobs) == len(c.token_ids) for c in got)


@pytest.mark.parametrize("name", ["qwen 3", "gpt_neox"])
@pytest.mark.parametrize("when", ["before it is opened", "later"])
@pytest.mark.parametrize("choice", [{"temperature": 1.0}, {"temperature": 0.0}, {"temperature": 0.8, "top_p": 0.7}])
def test_a_policy_without_probabilities_is_refused_in_one_sentence(name, when, choice):
    spoilt = make_model((LLAMA_SHAPED | OTHERS)[name]())
    weight = next(spoilt.parameters())
    engine = TorchEngine(spoilt, make_tokenizer()) if when == "later" else None
    with torch.no_grad():
        weight.fill_(math.nan)
    engine = engine or TorchEngine(spoilt, make_tokenizer())
    with pytest.raises(RunFailed, match="its weights are damaged; start from another checkpoint"):
        engine.sample([SamplingRequest(prompt_ids=(3, 4), max_new_tokens=4, seed=1, **choice)])


def test_no_requests_give_no_completions(model):
    assert TorchEngine(model, make_tokenizer()).sample([]) == []


def test_draws_of_many_rows_are_those_of_each():
    seeds, steps = [0, 1, -5, 2**63, 2**64 - 1, 12345], [0, 3, 1, 2**20, 7, 7]
    assert uniforms(scramble_seeds(seeds), np.array(steps, dtype=np.uint64)).tolist() == [
        uniform(seed, step) for seed, step in zip(seeds, steps, strict=True)
    ]


def draw_tokens(probabilities, draws, **settings):
    logits = torch.tensor([probabilities], dtype=torch.float64).log().float().expand(len(draws), -1)
    request = SamplingRequest(prompt_ids=(0,), max_new_tokens=1, **({"temperature": 1.0} | settings))
    tokens, _ = Chooser([request] * len(draws)).choose(logits, torch.tensor(draws, dtype=torch.float64))
    return tokens.tolist()


@pytest.mark.parametrize("top_p", [1.0, 0.9999])
def test_a_token_of_probability_zero_is_never_drawn(top_p):
    last = 1 - 2.0**-53
    assert set(draw_tokens([0.0, 0.5, 0.0, 0.5, 0.0], [0.0, 0.25, 0.5, 0.75, last], top_p=top_p)) <= {1, 3}


def test_draws_over_a_large_vocabulary_follow_the_distribution():
    # Half of the probability lies on 151,935 tokens alike, half on the last one: a sum in single precision drifts.
    size = 151_936
    draws = [(n + 0.5) / 200 for n in range(200)]
    tokens = draw_tokens([0.5 / (size - 1)] * (size - 1) + [0.5], draws)
    assert sum(token == size - 1 for token in tokens) == 100
    expected = [draw * 2 * (size - 1) for draw in draws[:100]]
    assert max(abs(token - place) for token, place in zip(tokens, expected, strict=False)) < 40


def test_temperature_sharpens_as_its_formula_says():
    draws = [(n + 0.5) / 1000 for n in range(1000)]
    count = Counter(draw_tokens([0.6, 0.3, 0.1], draws, temperature=0.5))
    total = 0.36 + 0.09 + 0.01
    for token, share in enumerate([0.36 / total, 0.09 / total, 0.01 / total]):
        assert abs(count[token] - 1000 * share) <= 1 + math.ceil(1e-3 * share)


@settings(max_examples=60, deadline=None)
@given(draws=st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=6), data=st.data())
def test_how_a_row_draws_never_depends_on_the_rows_beside_it(draws, data):
    kinds = st.sampled_from([(0.0, 1.0), (1.0, 1.0), (0.5, 1.0), (1.0, 0.6), (2.0, 0.9)])
    chosen = [data.draw(kinds) for _ in draws]
    requests = [SamplingRequest(prompt_ids=(0,), max_new_tokens=1, temperature=t, top_p=p) for t, p in chosen]
    logits = torch.randn(len(draws), 50, generator=torch.Generator().manual_seed(0))
    draw_R = torch.tensor(draws, dtype=torch.float64)
    tokens, logp = Chooser(requests).choose(logits, draw_R)
    for row, request in enumerate(requests):
        token, value = Chooser([request]).choose(logits[row : row + 1], draw_R[row : row + 1])
        assert tokens[row] == token[0]
        assert logp[row].item() == pytest.approx(value.item(), abs=1e-6)
