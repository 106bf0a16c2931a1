"""Documents that begin alike: computed once, and exactly what each has alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen3Config, Qwen3ForCausalLM

from trainer.attention import PER_DOCUMENT
from trainer.data.batch import TokenBatch, flatten
from trainer.data.documents import TokenizedDocument
from trainer.data.prefixes import NO_STEM, find_runs, share_prefixes
from trainer.policy import Policy

CPU = torch.device("cpu")
SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


def make_policy(architecture: str) -> Policy:
    torch.manual_seed(0)
    if architecture == "qwen3":
        model: torch.nn.Module = Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8))
    elif architecture == "llama":
        model = LlamaForCausalLM(LlamaConfig(**SIZES))
    else:
        model = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=6))
    for weight in model.parameters():  # the default initialisation is so small that leaks would hide in it
        torch.nn.init.normal_(weight, std=0.3)
    model.double()
    model.set_attn_implementation(PER_DOCUMENT)
    return Policy(model.eval(), None)


def documents_after(prompts: list[int], completions: list[list[int]]) -> list[TokenizedDocument]:
    """For each prompt of so many tokens its completions of so many; only completions train."""
    draw = np.random.default_rng(1)
    documents = []
    for prompt_length, lengths in zip(prompts, completions, strict=True):
        prompt = draw.integers(40, size=prompt_length)
        for length in lengths:
            completion = draw.integers(40, size=length)
            trained = np.arange(prompt_length + length) >= prompt_length
            documents.append((np.concatenate([prompt, completion]).astype(np.int32), trained))
    return documents


def apart(documents: list[TokenizedDocument]) -> TokenBatch:
    return replace(flatten(documents, device=CPU), shared=None)


CASES = {
    "completions of one length": documents_after([20, 17], [[6, 6, 6], [6, 6]]),
    "of nearly one length": documents_after([20], [[9, 10, 8]]),
    "of very unequal lengths": documents_after([20], [[1, 30, 2]]),
    "among documents that share nothing": documents_after([5, 20, 3, 18], [[7], [4, 6], [2], [5, 5, 4]]),
}


@pytest.mark.parametrize("documents", CASES.values(), ids=CASES)
@pytest.mark.parametrize("architecture", ["qwen3", "llama", "mistral with a window of 6"])
def test_states_and_gradients_are_those_of_documents_computed_apart(architecture, documents):
    policy = make_policy(architecture)
    together = flatten(documents, device=CPU)
    assert together.shared is not None
    assert len(together.shared.ids_M) < len(together)
    results = []
    for batch in (apart(documents), together):
        policy.model.zero_grad(set_to_none=True)
        logp_K, entropy_K = policy.logprobs(batch, with_entropy=True)
        (logp_K * torch.linspace(-1, 2, len(logp_K), dtype=torch.float64)).sum().backward()
        results.append([policy.hidden(batch).detach(), logp_K.detach(), entropy_K])
        results[-1] += [weight.grad.clone() for weight in policy.model.parameters()]
    for one, other in zip(*results, strict=True):  # the models normalise in single precision whatever they are in
        assert (one - other).norm() <= 1e-6 * max(1.0, one.norm().item())


def test_a_completion_hears_nothing_of_its_sisters():
    policy = make_policy("qwen3")
    [(first, trained), *rest] = CASES["of nearly one length"]
    changed = first.copy()
    changed[-3:] = (changed[-3:] + 1) % 40
    with torch.no_grad():
        before = policy.hidden(flatten([(first, trained), *rest], device=CPU))
        after = policy.hidden(flatten([(changed, trained), *rest], device=CPU))
    assert (before - after)[len(first) :].abs().max() == 0
    assert (before - after)[len(first) - 3 : len(first)].abs().max() > 0


def test_the_row_is_what_the_attention_is_told():
    shared = share_prefixes(documents_after([3, 2], [[2, 1], [1]]), device=CPU, shortest=2)
    assert shared is not None
    assert shared.segment_lengths == [3, 2, 1, 3]
    assert shared.stems == [NO_STEM, 0, 0, NO_STEM]
    assert shared.positions_M.tolist() == [0, 1, 2, 3, 4, 3, 0, 1, 2]
    assert shared.place_N.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 5, 6, 7, 8]


def ids(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int32)


def test_runs_of_common_beginnings_by_hand():
    def runs(*texts: str) -> list[tuple[int, int]]:
        return find_runs([ids(text) for text in texts], shortest=3)

    assert runs("abcde1", "abcde2", "xyz", "xyzw") == [(2, 5), (1, 0), (1, 0)]  # xyz must keep a token of its own
    assert runs("abc1", "abc2", "abc3") == [(3, 3)]
    assert runs("ab1", "ab2") == [(1, 0), (1, 0)]  # too little
    # Two completions happen to begin alike: the prompt is still what all three share.
    assert runs("prompt:ax", "prompt:ay", "prompt:bz") == [(3, 7)]
    # A new prompt with the same system text stays apart: joining would save 4 × 3 instead of 10 × 2 tokens.
    assert runs("sys.prompt1", "sys.prompt2", "sys.prompt3", "sys.other") == [(3, 10), (1, 0)]
    assert runs("abcd", "abcd") == [(2, 3)]
    assert runs() == []


def test_documents_that_share_nothing_are_left_as_they_are():
    assert flatten(documents_after([5, 6], [[4], [3]]), device=CPU).shared is None
