"""The real vLLM while conversations come and go: inside of this process and on a server. Runs in `make test-vllm`."""

from collections.abc import Iterator
from typing import Any

import pytest
from transformers import Qwen3Config

from tests.arriving_requests import Conversations, Trickle
from tests.sampler_models import GROUPED, largest_error, make_model, make_requests, make_tokenizer
from tests.vllm_models import open_vllm
from tests.vllm_serving import serve
from trainer.contract.vllm import VllmSettings
from trainer.sampling import SamplingRequest, StopReason, vllm_client, vllm_colocated
from trainer.sampling.vllm_client import VllmServer
from trainer.sampling.vllm_engine import VllmEngine

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]
CONTEXT = 512
BLOCK = 128
"""Tokens of a block of vLLM's prefix cache on a CPU."""


def make_policy() -> Any:
    config = Qwen3Config(**{**GROUPED, "max_position_embeddings": CONTEXT}, head_dim=32, tie_word_embeddings=True)
    return make_model(config, seed=1)


@pytest.fixture(scope="module", params=["colocated", "server"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmEngine]:
    model, tokenizer = make_policy(), make_tokenizer()
    if request.param == "colocated":
        found: VllmEngine = open_vllm(model, tokenizer, context=CONTEXT)
        yield found
        found.close()
        return
    base, folder = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("server")
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    settings = ["--max-model-len", str(CONTEXT), "--enable-prompt-tokens-details"]
    with serve(base, folder / "log", *settings) as address:
        backend = VllmServer(VllmSettings(server=address), folder=folder / "sampler")
        yield VllmEngine(model, tokenizer, backend, temperature=1.0, top_p=1.0)


@pytest.fixture
def cached(engine: VllmEngine, monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Length of a prompt → tokens of it that vLLM took from its prefix cache, as vLLM says itself."""
    found: dict[int, int] = {}
    if isinstance(engine.backend, VllmServer):
        call = vllm_client.call

        def asked(endpoint: Any, path: str, body: Any = None, **more: Any) -> Any:
            answer = call(endpoint, path, body, **more)
            if path == "/completions":
                details = answer["usage"]["prompt_tokens_details"] or {}
                found[answer["usage"]["prompt_tokens"]] = details.get("cached_tokens") or 0
            return answer

        monkeypatch.setattr(vllm_client, "call", asked)
        return found
    step = vllm_colocated._step

    def stepped(vllm: Any) -> Any:
        outputs = step(vllm)
        found.update({len(one.prompt_token_ids): one.num_cached_tokens or 0 for one in outputs if one.prompt_token_ids})
        return outputs

    monkeypatch.setattr(vllm_colocated, "_step", stepped)
    return found


def test_requests_that_trickle_in_get_the_tokens_that_they_get_alone(engine: VllmEngine):
    requests = make_requests(12, max_new_tokens=20)
    trickle = Trickle([(4 * (place // 3), request) for place, request in enumerate(requests)])
    engine.serve(trickle, most=12, longest=CONTEXT)
    found = [trickle.answers[number] for number in range(12)]
    assert [one.token_ids for one in found] == [engine.sample([one])[0].token_ids for one in requests]
    assert largest_error(engine.model, requests, found) < 2e-5


def test_a_slow_tool_delays_its_own_conversation_only(engine: VllmEngine):
    """The tool of the first answers when all others are over; were they in rounds, nobody would go on."""
    first = make_requests(6, max_new_tokens=8)

    def tool(number: int) -> bool:
        return number > 0 or sum(one > 0 for one, _ in conversations.answers) == 15

    conversations = Conversations(first, turns=3, said=(5, 6, 7), tool=tool)
    engine.serve(conversations, most=6, longest=CONTEXT)
    order = [number for number, _ in conversations.answers]
    assert sorted(order) == sorted(list(range(6)) * 3)
    assert order[-2:] == [0, 0]
    asked = [dict(enumerate(one for at, one in conversations.asked if at == number)) for number in range(6)]
    answers = [dict(enumerate(one for at, one in conversations.answers if at == number)) for number in range(6)]
    for requests, completions in zip(asked, answers, strict=True):
        assert largest_error(engine.model, list(requests.values()), list(completions.values())) < 2e-5


def test_the_next_turn_finds_what_went_before_it_in_the_prefix_cache(engine: VllmEngine, cached: dict[int, int]):
    """Whole blocks of it: of the second turn's prompt, two."""
    prompt = tuple(2 + n * 11 % 190 for n in range(2 * BLOCK + 10))
    first = SamplingRequest(prompt_ids=prompt, max_new_tokens=12, temperature=0.0)
    conversations = Conversations([first], turns=2, said=(5, 6, 7), tool=lambda number: True)
    engine.serve(conversations, most=1, longest=CONTEXT)
    (_, one), (_, two) = conversations.asked
    assert cached[len(one.prompt_ids)] == 0
    assert cached[len(two.prompt_ids)] == 2 * BLOCK
    requests, answers = [one, two], [completion for _, completion in conversations.answers]
    assert largest_error(engine.model, requests, answers) < 2e-5


def test_it_stops_when_asked_and_goes_on_after_that(engine: VllmEngine):
    requests = make_requests(5, max_new_tokens=200, temperature=1.5)
    trickle = Trickle([(0, one) for one in requests[:4]] + [(10_000, requests[4])])
    looks = iter([False] * 4)
    engine.serve(trickle, most=5, longest=CONTEXT, should_stop=lambda: next(looks, True))
    assert sorted(trickle.answers) == [0, 1, 2, 3]
    assert StopReason.INTERRUPTED in {one.stop_reason for one in trickle.answers.values()}
    (after,) = engine.sample(requests[:1])
    assert largest_error(engine.model, requests[:1], [after]) < 2e-5
