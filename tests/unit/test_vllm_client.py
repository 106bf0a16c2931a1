"""A vLLM server from the trainer's side: what it is asked, and which of its answers become rollouts."""

import copy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.arriving_requests import Trickle
from tests.judge_server import JudgeServer, Reply, serve
from tests.sampler_models import LLAMA_SHAPED, largest_error, make_model, make_requests, make_tokenizer
from tests.vllm_doubles import ServerDouble
from trainer.contract.vllm import VllmSettings
from trainer.failures import InvalidSpec, RunFailed
from trainer.sampling import Completion, SamplingRequest, StopReason, TorchEngine, vllm_client
from trainer.sampling.vllm_client import VllmServer, describe_server
from trainer.sampling.vllm_engine import VllmEngine


@pytest.fixture
def model() -> Any:
    return make_model(LLAMA_SHAPED["qwen 3"]())


@pytest.fixture
def double(model: Any, monkeypatch: pytest.MonkeyPatch) -> ServerDouble:
    monkeypatch.setattr(vllm_client, "FIRST_WAIT", 0.0)
    return ServerDouble(model)


@pytest.fixture
def server(double: ServerDouble) -> Iterator[JudgeServer]:
    with serve(double) as server:
        yield server


def address(server: JudgeServer) -> str:
    return server.url.removesuffix("/v1")


@pytest.fixture
def engine(model: Any, server: JudgeServer, tmp_path: Path) -> VllmEngine:
    backend = VllmServer(VllmSettings(server=address(server)), folder=tmp_path / "sampler")
    return VllmEngine(model, make_tokenizer(), backend, temperature=1.0, top_p=1.0)


def assert_as_the_torch_engine(found: list[Completion], model: Any, requests: list[SamplingRequest]) -> None:
    expected = TorchEngine(model, make_tokenizer()).sample(requests)
    assert [(one.token_ids, one.text, one.stop_reason) for one in found] == [
        (one.token_ids, one.text, one.stop_reason) for one in expected
    ]
    assert largest_error(model, requests, found) < 2e-5


def test_completions_come_back_in_the_order_of_the_requests(engine: VllmEngine, model: Any, tmp_path: Path):
    requests = [*make_requests(7), *make_requests(7, temperature=0.4, stop=("w5", "w77"))]
    assert_as_the_torch_engine(engine.sample(requests), model, requests)
    with torch.no_grad():
        model.model.norm.weight.mul_(-1)
    engine.update_weights()
    assert_as_the_torch_engine(engine.sample(requests), model, requests)
    assert not list((tmp_path / "sampler").iterdir())


def test_token_ids_go_out_and_come_in(engine: VllmEngine, server: JudgeServer):
    (request,) = make_requests(1)
    engine.sample([request])
    asked = server.asked[-1]
    assert asked["prompt"] == list(request.prompt_ids)
    assert asked["return_token_ids"] is True
    assert asked["seed"] == request.seed


def change(**changes: Any) -> Any:
    """Replaces parts of the only choice."""

    def spoil(answer: dict[str, Any]) -> dict[str, Any]:
        answer = copy.deepcopy(answer)
        answer["choices"][0].update(changes)
        return answer

    return spoil


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (change(prompt_token_ids=[1, 2]), "answered another prompt than the one it was asked"),
        (change(logprobs=None), "answered without token ids or log-probabilities"),
        (change(token_ids=None), "not one log-probability for each token"),
        (change(logprobs={"token_logprobs": [-1.0]}), "not one log-probability for each token"),
        (change(token_ids=[200], logprobs={"token_logprobs": [-1.0]}), "sampled 200, which is no token of its 200"),
        (change(token_ids=[5], logprobs={"token_logprobs": [None]}), "gave None as a log-probability"),
        (change(token_ids=[5], logprobs={"token_logprobs": [0.5]}), "gave 0.5 as a log-probability"),
        (change(token_ids=[5], logprobs={"token_logprobs": [-1.0]}), "after 1 of 12 tokens for a reason of its own"),
        (lambda answer: {"choices": []}, "answered without token ids"),
        (lambda answer: Reply({"error": "no"}, status=400), "status 400"),
    ],
)
def test_an_answer_to_no_question_of_ours_stops_the_run(
    spoil: Any, sentence: str, engine: VllmEngine, double: ServerDouble
):
    double.spoil = spoil
    with pytest.raises(RunFailed, match=sentence):
        engine.sample(make_requests(1))


def test_a_busy_server_is_asked_again(engine: VllmEngine, double: ServerDouble, model: Any):
    replies = iter([Reply({}, status=503), Reply({}, hang_up=True)])
    double.spoil = lambda answer: next(replies, answer)
    requests = make_requests(4)
    assert_as_the_torch_engine(engine.sample(requests), model, requests)


def test_a_server_that_is_gone_stops_the_run(engine: VllmEngine, double: ServerDouble, server: JudgeServer):
    double.spoil = lambda answer: Reply({}, status=503)
    before = len(server.asked)
    with pytest.raises(RunFailed, match="status 503"):
        engine.sample(make_requests(1))
    assert len(server.asked) - before == vllm_client.ATTEMPTS


def test_it_stops_when_asked(engine: VllmEngine, double: ServerDouble):
    double.spoil = lambda answer: Reply(answer, after_s=60)
    found = engine.sample(make_requests(3), should_stop=lambda: True)
    assert [(one.stop_reason, one.token_ids) for one in found] == [(StopReason.INTERRUPTED, ())] * 3


def test_a_stop_string_that_only_the_server_reads_ends_the_completion(engine: VllmEngine, double: ServerDouble):
    double.spoil = change(token_ids=[5], logprobs={"token_logprobs": [-1.0]}, finish_reason="stop")
    (found,) = engine.sample(make_requests(1, stop=(" w5",)))
    assert (found.stop_reason, found.token_ids, found.text) == (StopReason.STOP_STRING, (5,), "w5")


def test_a_file_that_the_server_does_not_see_stops_the_run(
    engine: VllmEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(vllm_client, "save_file", lambda tensors, path: None)
    engine.update_weights()
    with pytest.raises(RunFailed, match=r"does not see the policy's weights in .*set vllm\.weights_directory"):
        engine.sample([])


def test_a_directory_that_cannot_be_written_is_named(model: Any, server: JudgeServer, tmp_path: Path):
    (tmp_path / "file").write_text("")
    settings = VllmSettings(server=address(server), weights_directory=str(tmp_path / "file" / "below"))
    backend = VllmServer(settings, folder=tmp_path)
    with pytest.raises(RunFailed, match=r"Not a directory.*set vllm\.weights_directory, and resume"):
        VllmEngine(model, make_tokenizer(), backend, temperature=1.0, top_p=1.0)


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (Reply({"detail": "Not Found"}, status=404), r"is no vLLM server that takes weights \(status 404\)"),
        (Reply({"results": [None]}), "answers describe_policy with nothing that a worker of ours says"),
        (Reply({"results": [{"version": "1"}]}), "does not say what it serves"),
        (Reply({"error": "no"}, status=401), "refuses calls without a key; name api_key_env"),
    ],
)
def test_something_else_at_the_address_is_told_with_the_way_out(reply: Reply, sentence: str):
    with serve(lambda number, body: reply) as server, pytest.raises(InvalidSpec, match=sentence) as told:
        describe_server(VllmSettings(server=address(server)))
    assert str(told.value).startswith("vllm.server: ")
    assert "python -m trainer.sampling.vllm_server" in str(told.value)


def test_a_server_that_took_weights_in_part_is_not_used(model: Any):
    with serve(ServerDouble(model, broken=True)) as server, pytest.raises(InvalidSpec, match="start it anew"):
        describe_server(VllmSettings(server=address(server)))


def test_a_request_that_comes_while_another_is_answered_is_asked_at_once(engine: VllmEngine, double: ServerDouble):
    """The first answer is held back until the second request has come in; in rounds, neither would ever be answered."""
    early, late = make_requests(2)
    came = threading.Event()

    def hold(answer: dict[str, Any]) -> dict[str, Any]:
        if answer["choices"][0]["prompt_token_ids"] == list(early.prompt_ids):
            assert came.wait(60)
        else:
            came.set()
        return answer

    double.spoil = hold
    trickle = Trickle([(0, early), (2, late)])
    engine.serve(trickle, most=2, longest=96)
    assert sorted(trickle.answers) == [0, 1]


def test_requests_that_trickle_in_get_the_tokens_that_they_get_alone(
    engine: VllmEngine, model: Any, monkeypatch: pytest.MonkeyPatch
):
    """Also those that wait since as many are being asked as may be."""
    monkeypatch.setattr(vllm_client, "CONCURRENCY", 2)
    requests = make_requests(12)
    trickle = Trickle([(3 * (place // 4), request) for place, request in enumerate(requests)])
    engine.serve(trickle, most=12, longest=96)
    assert_as_the_torch_engine([trickle.answers[number] for number in range(12)], model, requests)


def test_asking_to_stop_answers_every_request_that_was_taken(engine: VllmEngine, double: ServerDouble):
    double.spoil = lambda answer: Reply(answer, after_s=60)
    trickle = Trickle([(0, one) for one in make_requests(3)] + [(10_000, make_requests(1)[0])])
    looks = iter([False] * 3)
    engine.serve(trickle, most=4, longest=96, should_stop=lambda: next(looks, True))
    assert {number: one.stop_reason for number, one in trickle.answers.items()} == dict.fromkeys(
        range(3), StopReason.INTERRUPTED
    )
