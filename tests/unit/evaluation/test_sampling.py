"""Sampling: the same request gives the same completion, alone or in company, and the draw follows the distribution."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.sampling import SamplingRequest, StopReason, TorchEngine
from trainer.sampling.choose import Chooser
from trainer.sampling.randomness import seed_for, splitmix64, uniform
from trainer.sampling.rows import RowReader

END = "<|end|>"
PROMPTS = ["a", "The fine is", "ค่าปรับตามพระราชบัญญัติ", "x" * 40, "1 2 3"]


def request(policy, prompt, **changes):
    return SamplingRequest(prompt_ids=policy.ids(prompt), **{"max_new_tokens": 24, **changes})


def test_splitmix64_gives_the_published_first_value_for_seed_zero():
    assert splitmix64(0) == 0xE220A8397B1DCDAF
    assert splitmix64(0x9E3779B97F4A7C15) == 0x6E789E6AA1B965F4


def test_uniform_draws_are_spread_over_steps_and_over_neighbouring_seeds():
    draws = [uniform(seed, step) for seed in range(50) for step in range(50)]
    assert 0 <= min(draws) < 0.01 < 0.99 < max(draws) < 1
    assert abs(sum(draws) / len(draws) - 0.5) < 4 * math.sqrt(1 / 12 / len(draws))
    assert len(set(draws)) == len(draws)
    assert seed_for(0, "item-1") != seed_for(0, "item-2") != seed_for(1, "item-2")


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0}, {"temperature": 0.7, "top_p": 0.8}])
def test_a_row_alone_gives_the_same_tokens_as_in_a_batch(random_policy, options):
    requests = [request(random_policy, p, seed=n, **options) for n, p in enumerate(PROMPTS)]
    engine = TorchEngine(random_policy.model, random_policy.tokenizer)
    together = engine.sample(requests)
    assert len({c.token_ids for c in together}) == len(PROMPTS)
    for lone, company in zip([engine.sample([r])[0] for r in requests], together, strict=True):
        assert company.token_ids == lone.token_ids
        assert company.logprobs == pytest.approx(lone.logprobs, abs=1e-4)
    assert [c.token_ids for c in engine.sample(requests[::-1])[::-1]] == [c.token_ids for c in together]


def test_rows_that_end_early_leave_the_others_untouched(random_policy):
    lengths = [3, 24, 1, 12, 7]
    engine = TorchEngine(random_policy.model, random_policy.tokenizer)
    whole = engine.sample([request(random_policy, p, temperature=1.0, seed=5) for p in PROMPTS])
    cut = engine.sample(
        [
            request(random_policy, p, temperature=1.0, seed=5, max_new_tokens=n)
            for p, n in zip(PROMPTS, lengths, strict=True)
        ]
    )
    assert [c.token_ids for c in cut] == [w.token_ids[:n] for w, n in zip(whole, lengths, strict=True)]


def test_greedy_tokens_and_logprobs_are_those_of_a_plain_forward_pass(random_policy):
    chosen = [request(random_policy, p, max_new_tokens=10) for p in PROMPTS]
    completions = TorchEngine(random_policy.model, random_policy.tokenizer).sample(chosen)
    for asked, got in zip(chosen, completions, strict=True):
        ids = list(asked.prompt_ids)
        for token, logprob in zip(got.token_ids, got.logprobs, strict=True):
            with torch.no_grad():
                logp = random_policy.model(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)
            assert token == int(logp.argmax())
            assert logprob == pytest.approx(float(logp[token]), abs=1e-4)
            ids.append(token)


def test_sampled_logprobs_are_taken_at_the_temperature_and_before_top_p(random_policy):
    asked = request(random_policy, "The fine is", temperature=0.5, top_p=0.5, seed=3, max_new_tokens=4)
    got = TorchEngine(random_policy.model, random_policy.tokenizer).sample([asked])[0]
    ids = torch.tensor([[*asked.prompt_ids, *got.token_ids]])
    with torch.no_grad():
        logp = (random_policy.model(ids).logits[0].double() / 0.5).log_softmax(-1)
    start = len(asked.prompt_ids) - 1
    expected = [float(logp[start + n, token]) for n, token in enumerate(got.token_ids)]
    assert got.logprobs == pytest.approx(expected, abs=1e-4)


def test_draws_follow_the_distribution(bigram):
    policy = bigram({"q": {"a": 0.6, "b": 0.3, "c": 0.1}})
    asked = [request(policy, "q", temperature=1.0, seed=n, max_new_tokens=1) for n in range(2000)]
    count = Counter(c.text for c in TorchEngine(policy.model, policy.tokenizer, batch_rows=500).sample(asked))
    for text, share in {"a": 0.6, "b": 0.3, "c": 0.1}.items():
        assert abs(count[text] / 2000 - share) < 4 * math.sqrt(share * (1 - share) / 2000)


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    logits = torch.tensor([[0.2, 0.5, 0.3]]).log().expand(5, 3)

    def draw(top_p, points):
        requests = [SamplingRequest(prompt_ids=(0,), max_new_tokens=1, temperature=1.0, top_p=top_p)] * len(points)
        tokens, logp = Chooser(requests).choose(logits[: len(points)], torch.tensor(points, dtype=torch.float64))
        return tokens.tolist(), logp.exp().tolist()

    # All of the vocabulary is drawn from in its own order: .2, then .5, then .3.
    assert draw(1.0, [0.0, 0.19, 0.21, 0.69, 0.71])[0] == [0, 0, 1, 1, 2]
    # .5 alone does not reach .6; .5 and .3 do. Draws are stretched over the .8 that stay: .625 of it is token 1.
    assert draw(0.6, [0.0, 0.62, 0.63, 0.999])[0] == [1, 1, 2, 2]
    assert draw(0.4, [0.0, 0.5, 0.999])[0] == [1, 1, 1]
    assert draw(0.6, [0.9])[1] == pytest.approx([0.3])


def test_an_end_token_ends_the_answer_and_stays_out_of_its_text(bigram):
    policy = bigram({"q": {"a": 1.0}, "a": {"b": 1.0}, "b": {END: 1.0}})
    got = TorchEngine(policy.model, policy.tokenizer).sample([request(policy, "q")])[0]
    assert (got.text, got.stop_reason) == ("ab", StopReason.END_TOKEN)
    assert got.token_ids == (*policy.ids("ab"), policy.tokenizer.eos_token_id)


def test_a_stop_string_over_several_tokens_is_cut_from_the_text(bigram):
    policy = bigram({"q": {"a": 1.0}, "a": {"b": 1.0}, "b": {"c": 1.0}, "c": {"a": 1.0}})
    got = TorchEngine(policy.model, policy.tokenizer).sample([request(policy, "q", stop=("zz", "ca"))])[0]
    assert (got.text, got.stop_reason) == ("ab", StopReason.STOP_STRING)
    assert got.token_ids == policy.ids("abca")


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_stop_string_is_found_at_the_token_that_completes_it(random_policy, data):
    """Only the last tokens are decoded at each step; decoding all of them must say the same."""
    tokenizer = random_policy.tokenizer
    end = tokenizer.eos_token_id
    pieces = ["a", "b", "ก", "🙂", " ", END]
    text = data.draw(st.lists(st.sampled_from(pieces), min_size=1, max_size=60))
    stops = tuple(data.draw(st.lists(st.sampled_from(["ab", "กก", "b a", "🙂🙂", "aaaa"]), min_size=1, max_size=2)))
    ids = [token for part in text for token in tokenizer.encode(part)]
    asked = SamplingRequest(prompt_ids=(0,), max_new_tokens=len(ids) + 1, stop=stops)
    reader = RowReader(tokenizer, end_tokens=frozenset(), context=None)
    row = reader.open(asked)
    for number, token in enumerate(ids, start=1):
        reader.add(row, token, -1.0)
        shown = tokenizer.decode([t for t in ids[:number] if t != end])
        assert (row.reason is StopReason.STOP_STRING) == any(stop in shown for stop in stops)
        if row.reason:
            break


def test_a_special_token_may_be_given_as_a_stop_string(bigram):
    policy = bigram({"q": {"a": 1.0}, "a": {END: 1.0}})
    engine = TorchEngine(policy.model, policy.tokenizer)
    engine.end_tokens = frozenset()
    got = engine.sample([request(policy, "q", stop=(END,))])[0]
    assert (got.text, got.stop_reason) == ("a", StopReason.END_TOKEN)


def test_the_reason_for_stopping_tells_a_full_context_from_the_token_limit(bigram):
    policy = bigram({"a": {"a": 1.0}})
    engine = TorchEngine(policy.model, policy.tokenizer)
    limit, context = engine.sample([request(policy, "a", max_new_tokens=3), request(policy, "a" * 60)])
    assert (limit.text, limit.stop_reason) == ("aaa", StopReason.LENGTH)
    assert (context.text, context.stop_reason) == ("aaaa", StopReason.CONTEXT)


def test_a_prompt_that_fills_the_context_is_refused_with_its_length(bigram):
    policy = bigram({"a": {"a": 1.0}})
    with pytest.raises(ValueError, match=r"prompt 1 has 64 tokens and the model's context is 64"):
        TorchEngine(policy.model, policy.tokenizer).sample([request(policy, "a"), request(policy, "a" * 64)])


def test_asking_to_stop_interrupts_what_is_not_finished(bigram):
    policy = bigram({"a": {"a": 1.0}, "b": {END: 1.0}})
    calls = iter([False, False, True])
    got = TorchEngine(policy.model, policy.tokenizer).sample(
        [request(policy, "b"), request(policy, "a")], should_stop=lambda: next(calls)
    )
    assert [c.stop_reason for c in got] == [StopReason.END_TOKEN, StopReason.INTERRUPTED]
    assert len(got[1].token_ids) == 3


def test_sampling_leaves_a_policy_in_training_as_it_was(bigram):
    policy = bigram({"a": {END: 1.0}})
    policy.model.train()
    TorchEngine(policy.model, policy.tokenizer).sample([request(policy, "a")])
    assert policy.model.training
