"""What the endpoint samples: the engine's own tokens, by seed alone, with the probabilities of a forward pass."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sampler_models import forward_logprobs

from tests.model_serving import Endpoint, make_policy, serve_here
from trainer.sampling import SamplingRequest, TorchEngine
from trainer.serving.sampling import ServingEngine

PROMPT = "The market of Nakhon opens"


@pytest.fixture(scope="module")
def policy() -> Any:
    return make_policy()


@pytest.fixture(scope="module")
def endpoint(policy: Any) -> Iterator[Endpoint]:
    with serve_here(policy) as served:
        yield served


def sample(policy: Any, **settings: Any) -> Any:
    ids = tuple(policy.tokenizer(PROMPT)["input_ids"])
    request = SamplingRequest(prompt_ids=ids, **{"max_new_tokens": 24, **settings})
    return request, TorchEngine(policy.model, policy.tokenizer).sample([request])[0]


def test_greedy_tokens_are_those_of_the_engine(endpoint: Endpoint, policy: Any):
    _, own = sample(policy)
    answer = endpoint.complete(prompt=PROMPT, temperature=0, max_tokens=24, return_token_ids=True, logprobs=0)
    (choice,) = answer["choices"]
    assert choice["token_ids"] == list(own.token_ids)
    assert choice["text"] == own.text
    assert choice["logprobs"]["token_logprobs"] == pytest.approx(own.logprobs, abs=1e-5)
    assert answer["usage"]["completion_tokens"] == len(own.token_ids)
    assert choice["prompt_token_ids"] == policy.tokenizer(PROMPT)["input_ids"]


def test_drawn_tokens_are_those_of_the_engine_with_the_same_seed(endpoint: Endpoint, policy: Any):
    _, own = sample(policy, temperature=0.8, top_p=0.9, seed=11)
    answer = endpoint.complete(prompt=PROMPT, temperature=0.8, top_p=0.9, seed=11, max_tokens=24, return_token_ids=True)
    assert answer["choices"][0]["token_ids"] == list(own.token_ids)


@pytest.mark.parametrize("temperature", [0, 0.7, 1])
def test_log_probabilities_are_those_of_a_forward_pass(endpoint: Endpoint, policy: Any, temperature: float):
    request, own = sample(policy, temperature=temperature, seed=3)
    answer = endpoint.complete(prompt=PROMPT, temperature=temperature, seed=3, max_tokens=24, logprobs=4)
    shown = answer["choices"][0]["logprobs"]
    assert shown["token_logprobs"] == pytest.approx(forward_logprobs(policy.model, request, own), abs=1e-4)
    for logprob, likeliest in zip(shown["token_logprobs"], shown["top_logprobs"], strict=True):
        values = sorted(likeliest.values(), reverse=True)
        assert values[0] >= logprob - 1e-5
        if temperature == 0:
            assert logprob == pytest.approx(values[0], abs=1e-5)


def test_the_likeliest_tokens_are_those_of_a_forward_pass(endpoint: Endpoint, policy: Any):
    import torch

    answer = endpoint.chat(
        {"role": "user", "content": "มาตรา 12"}, temperature=0.5, seed=1, max_tokens=1, logprobs=True, top_logprobs=5
    )
    (entry,) = answer["choices"][0]["logprobs"]["content"]
    text = "<|im_start|>user\nมาตรา 12<|im_end|>\n<|im_start|>assistant\n"
    ids = torch.tensor([policy.tokenizer(text)["input_ids"]])
    logp = (policy.model(ids).logits[0, -1] / 0.5).log_softmax(-1)
    values, tokens = logp.topk(5)
    assert [one["logprob"] for one in entry["top_logprobs"]] == pytest.approx(values.tolist(), abs=1e-4)
    texts = [policy.tokenizer.decode([token]) for token in tokens.tolist()]
    assert [one["token"] for one in entry["top_logprobs"]] == texts
    for one in (entry, *entry["top_logprobs"]):
        if "\ufffd" not in one["token"]:
            assert bytes(one["bytes"]).decode() == one["token"]


def test_the_bytes_of_tokens_add_up_to_the_text_even_where_a_token_is_half_a_character(endpoint: Endpoint):
    answer = endpoint.chat(
        {"role": "user", "content": "ก"}, temperature=1, seed=5, max_tokens=120, logprobs=True, stop=["<|im_end|>"]
    )
    (choice,) = answer["choices"]
    entries = choice["logprobs"]["content"]
    assert any("\ufffd" in one["token"] for one in entries)
    kept = [one for one in entries if not one["token"].startswith("<|")]
    written = b"".join(bytes(one["bytes"]) for one in kept)
    assert written.decode("utf-8", "replace") == choice["message"]["content"]


def test_a_seed_gives_the_same_tokens_whatever_is_sampled_beside(endpoint: Endpoint):
    wanted = {"prompt": PROMPT, "temperature": 1, "max_tokens": 40, "return_token_ids": True}
    alone = [endpoint.complete(**wanted, seed=seed)["choices"][0]["token_ids"] for seed in range(4)]
    with ThreadPoolExecutor(12) as pool:
        crowd = [pool.submit(endpoint.complete, prompt=f"{PROMPT} {n}", max_tokens=30 + n, seed=n) for n in range(8)]
        among = list(pool.map(lambda seed: endpoint.complete(**wanted, seed=seed), range(4)))
        assert all(one.result()["usage"]["completion_tokens"] for one in crowd)
    assert [one["choices"][0]["token_ids"] for one in among] == alone
    assert len({tuple(tokens) for tokens in alone}) == 4


def test_several_choices_differ_and_come_again_with_their_seed(endpoint: Endpoint):
    asked = {"prompt": [PROMPT, "Phrae"], "n": 3, "seed": 9, "temperature": 1, "max_tokens": 12}
    first, again = endpoint.complete(**asked), endpoint.complete(**asked)
    texts = [choice["text"] for choice in first["choices"]]
    assert [choice["index"] for choice in first["choices"]] == list(range(6))
    assert [choice["text"] for choice in again["choices"]] == texts
    assert len(set(texts)) == 6


def test_without_a_seed_two_requests_draw_differently(endpoint: Endpoint):
    texts = {endpoint.complete(prompt=PROMPT, max_tokens=30)["choices"][0]["text"] for _ in range(3)}
    assert len(texts) == 3


def test_a_completion_ends_before_the_stop_string(endpoint: Endpoint):
    whole = endpoint.complete(prompt=PROMPT, temperature=1, seed=4, max_tokens=60)["choices"][0]["text"]
    stop = whole[20:23]
    (choice,) = endpoint.complete(prompt=PROMPT, temperature=1, seed=4, max_tokens=60, stop=stop)["choices"]
    assert choice["text"] == whole[: whole.index(stop)]
    assert choice["finish_reason"] == "stop"


def test_as_many_completions_are_in_work_as_fit_into_memory(policy: Any):
    engine = ServingEngine(policy.model, policy.tokenizer)
    token_bytes = 2 * 1 * 2 * 16 * 4  # layers, key heads, keys and values, units, bytes of a number
    for fitting, wanted, counted in ((3, 8, 3), (9, 8, 8), (0, 8, 1)):
        engine.cache_bytes = fitting * 100 * token_bytes
        assert engine.count_places(wanted, columns=100) == counted
