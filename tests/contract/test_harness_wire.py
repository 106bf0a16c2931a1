"""What lm-evaluation-harness asks of /v1/completions and reads from the answer, by a client that does the same.

`make test-harness` runs the harness itself.
"""

from collections.abc import Iterator, Sequence
from operator import itemgetter

import pytest

from tests.model_serving import Endpoint, make_policy, serve_here
from trainer.evaluation.likelihood import Continuation, score_continuations

PROMPT = "The market of Nakhon opens on"
OPTIONS = (" day 1.", " day 2 of ตลาด.", " no day", " the day that the market of Phrae opens.")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with serve_here(make_policy()) as served:
        yield served


def encode(text: str) -> list[int]:
    return list(make_policy().tokenizer(text)["input_ids"])


def value_options(endpoint: Endpoint, prompts: Sequence[object], starts: Sequence[int]) -> list[tuple[float, bool]]:
    """(log-likelihood, it is what greedy decoding would write) of what follows the first `start` tokens of each."""
    answer = endpoint.complete(prompt=list(prompts), temperature=0, max_tokens=1, logprobs=1, seed=1234, echo=True)
    found = []
    for choice, start in zip(sorted(answer["choices"], key=itemgetter("index")), starts, strict=True):
        told = choice["logprobs"]
        inside = slice(start, -1)
        pairs = zip(told["token_logprobs"][inside], told["top_logprobs"][inside], strict=True)
        greedy = all(value == max(top.values()) for value, top in pairs)
        found.append((sum(told["token_logprobs"][inside]), greedy))
    return found


@pytest.mark.parametrize("as_text", [False, True], ids=["tokens", "text"])
def test_options_have_the_log_likelihood_of_our_own_tasks(endpoint: Endpoint, as_text: bool):
    whole = [encode(PROMPT + option) for option in OPTIONS]
    start = len(encode(PROMPT))
    found = value_options(endpoint, [PROMPT + one for one in OPTIONS] if as_text else whole, [start] * len(OPTIONS))
    own = score_continuations(make_policy().model, [Continuation(tuple(ids), start) for ids in whole])
    assert [value for value, _ in found] == pytest.approx([sum(values) for values in own], abs=1e-4)


def test_what_the_model_would_write_is_known_as_greedy(endpoint: Endpoint):
    prompt = encode(PROMPT)
    written = endpoint.complete(prompt=[prompt], temperature=0, max_tokens=6, return_token_ids=True)["choices"][0]
    ids = [*prompt, *written["token_ids"]]
    other = [*ids[:-2], ids[-2] ^ 1, ids[-1]]
    found = value_options(endpoint, [ids, other], [len(prompt)] * 2)
    assert [greedy for _, greedy in found] == [True, False]


def test_tokens_texts_and_offsets_spell_prompt_and_answer(endpoint: Endpoint):
    choice = endpoint.complete(prompt=PROMPT, max_tokens=3, temperature=0, logprobs=2, echo=True)["choices"][0]
    told = choice["logprobs"]
    assert choice["text"].startswith(PROMPT)
    assert told["token_logprobs"][0] is told["top_logprobs"][0] is None
    assert len(told["tokens"]) == len(told["token_logprobs"]) == len(told["top_logprobs"]) == len(encode(PROMPT)) + 3
    assert "".join(told["tokens"]).startswith(PROMPT)
    assert told["text_offset"] == [sum(map(len, told["tokens"][:n])) for n in range(len(told["tokens"]))]
    for token, value, top in list(zip(told["tokens"], told["token_logprobs"], told["top_logprobs"], strict=True))[1:]:
        assert top[token] >= value


def test_a_prompt_can_be_valued_without_an_answer_up_to_the_whole_context(endpoint: Endpoint):
    ids = (encode(PROMPT) * 40)[:256]
    answer = endpoint.complete(prompt=[ids], max_tokens=0, logprobs=1, echo=True)
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "length"
    assert len(choice["logprobs"]["token_logprobs"]) == 256
    assert answer["usage"] == {"prompt_tokens": 256, "completion_tokens": 0, "total_tokens": 256}
    (own,) = score_continuations(make_policy().model, [Continuation(tuple(ids), 1)])
    assert sum(choice["logprobs"]["token_logprobs"][1:]) == pytest.approx(sum(own), abs=1e-3)
    refused = endpoint.post("/v1/completions", prompt=[ids], max_tokens=1, logprobs=1, echo=True)
    assert refused.json()["error"]["code"] == "context_length_exceeded"


def test_echo_without_log_probabilities_only_repeats_the_prompt(endpoint: Endpoint):
    plain = endpoint.complete(prompt=PROMPT, max_tokens=4, temperature=0)["choices"][0]
    echoed = endpoint.complete(prompt=PROMPT, max_tokens=4, temperature=0, echo=True)["choices"][0]
    assert echoed["text"] == PROMPT + plain["text"]
    assert echoed["logprobs"] is None


def test_every_choice_of_every_prompt_is_valued(endpoint: Endpoint):
    prompts = [encode(PROMPT), encode(OPTIONS[1])]
    answer = endpoint.complete(prompt=prompts, n=2, max_tokens=1, temperature=0, logprobs=1, echo=True)
    lengths = [len(one["logprobs"]["tokens"]) for one in answer["choices"]]
    assert lengths == [len(prompts[0]) + 1] * 2 + [len(prompts[1]) + 1] * 2


def test_written_answers_stop_where_the_harness_asks(endpoint: Endpoint):
    asked = {"max_tokens": 24, "temperature": 0, "stop": ["\n", "<|endoftext|>"], "seed": 1234}
    tokens = endpoint.complete(prompt=[encode(PROMPT)], **asked)
    text = endpoint.complete(prompt=[PROMPT], **asked)
    assert tokens["choices"][0]["text"] == text["choices"][0]["text"]
    assert "\n" not in text["choices"][0]["text"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [({"max_tokens": 0}, "max_tokens is 0, which leaves nothing to answer"), ({"echo": True, "stream": True}, "echo")],
)
def test_what_makes_no_sense_is_refused(endpoint: Endpoint, asked: dict[str, object], sentence: str):
    refused = endpoint.post("/v1/completions", prompt=PROMPT, **asked)
    assert refused.status_code == 400
    assert sentence in refused.json()["error"]["message"]
