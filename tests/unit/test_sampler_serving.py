"""Requests that come while others are being sampled: they get the tokens that they would get alone."""

from collections.abc import Callable

import pytest
from sampler_models import LLAMA_SHAPED, OTHERS, make_model, make_requests, make_tokenizer

from tests.arriving_requests import Trickle
from trainer.sampling import SamplingRequest, StopReason, TorchEngine


def tempered(count: int) -> list[SamplingRequest]:
    return [
        SamplingRequest(prompt_ids=one.prompt_ids, max_new_tokens=3 + 7 * place % 11, temperature=1.0, seed=place)
        for place, one in enumerate(make_requests(count))
    ]


@pytest.fixture(scope="module", params=["qwen 3", "gpt_neox"])
def engine(request: pytest.FixtureRequest) -> TorchEngine:
    return TorchEngine(make_model((LLAMA_SHAPED | OTHERS)[request.param]()), make_tokenizer())


@pytest.mark.parametrize("most", [2, 16])
def test_late_requests_get_the_tokens_that_they_get_alone(engine: TorchEngine, most: int):
    requests = tempered(12)
    trickle = Trickle([(5 * (place // 3), request) for place, request in enumerate(requests)])
    engine.serve(trickle, most=most, longest=128)
    for number, request in enumerate(requests):
        (alone,) = engine.sample([request])
        assert trickle.answers[number].token_ids == alone.token_ids
        assert trickle.answers[number].logprobs == pytest.approx(alone.logprobs, abs=1e-5)


def test_a_pause_without_any_request_is_waited_for_not_spun_through(engine: TorchEngine):
    first, second = tempered(2)
    trickle = Trickle([(0, first), (10_000, second)])
    engine.serve(trickle, most=4, longest=128)
    assert sorted(trickle.answers) == [0, 1]
    assert trickle.waits == 3  # the first, the second, and that there are no more


def stop_after(calls: int) -> Callable[[], bool]:
    left = iter(range(calls))
    return lambda: next(left, None) is None


def test_asking_to_stop_answers_everything_that_was_taken(engine: TorchEngine):
    trickle = Trickle([(0, one) for one in tempered(6)] + [(10_000, tempered(1)[0])])
    engine.serve(trickle, most=3, longest=128, should_stop=stop_after(3))
    assert sorted(trickle.answers) == list(range(6))
    assert StopReason.INTERRUPTED in {one.stop_reason for one in trickle.answers.values()}


def test_a_request_longer_than_announced_is_refused(engine: TorchEngine):
    with pytest.raises(ValueError, match="30 were announced"):
        engine.serve(Trickle([(0, SamplingRequest(prompt_ids=(3,) * 20, max_new_tokens=11))]), most=1, longest=30)
