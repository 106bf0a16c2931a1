"""From the sampler to the loss: the very tokens, their marks and their log-probabilities, and nothing between."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sampler_models import LLAMA_SHAPED, OTHERS, make_model, make_requests, make_tokenizer

from tests.rollout_runs import GRPO, open_stage, write_base
from trainer.losses import IGNORED
from trainer.rollouts.batch import flatten_rollouts
from trainer.rollouts.prompts import Prompt
from trainer.rollouts.rollout import Rollout
from trainer.sampling.choose import Chooser
from trainer.sampling.engine import Completion, SamplingRequest, StopReason
from trainer.sampling.torch_engine import TorchEngine

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


def answer_with(monkeypatch: pytest.MonkeyPatch, ids: list[int], text: str, reason: StopReason) -> None:
    """Let the sampler give these tokens whatever it is asked, the odd rows one token less of the beginning."""

    def sample(self: Any, requests: Any, *, should_stop: Any = None) -> list[Completion]:
        rows = [ids[number % 2 :] for number in range(len(requests))]
        return [
            Completion(token_ids=tuple(row), logprobs=(-5.0,) * len(row), text=text, stop_reason=reason) for row in rows
        ]

    monkeypatch.setattr(TorchEngine, "sample", sample)


def completions_of(batch: Any) -> list[list[int]]:
    """The targets of each document of a batch."""
    parts = batch.labels_N.split(batch.document_lengths)
    return [[label for label in part.tolist() if label != IGNORED] for part in parts]


def test_tokens_that_no_tokenizer_would_write_are_trained_as_they_were_sampled(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    work = open_stage(tmp_path, GRPO, base)
    tokenizer = work.policy.tokenizer
    text = "The market"
    apart = [token for character in text for token in tokenizer(character, add_special_tokens=False)["input_ids"]]
    assert tokenizer.decode(apart) == text
    assert apart != tokenizer(text, add_special_tokens=False)["input_ids"]
    answer_with(monkeypatch, [*apart, tokenizer.convert_tokens_to_ids("<|im_end|>")], text, StopReason.END_TOKEN)
    [update] = work.collect()
    [batch] = update.micro_batches
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert completions_of(batch) == [[*apart[number % 2 :], end] for number in range(8)]
    prompts = [one for ids in batch.ids_N.split(batch.document_lengths) for one in [ids.tolist()]]
    assert all(row[-len(apart) :] == [*apart[1:], end] for row in prompts)


def test_an_end_token_that_also_pads_is_a_target_and_a_cut_off_answer_gets_none(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    work = open_stage(tmp_path, GRPO, base)
    end = work.policy.tokenizer.convert_tokens_to_ids("<|im_end|>")
    work.policy.tokenizer.pad_token = "<|im_end|>"
    work.policy.model.config.pad_token_id = end
    answer_with(monkeypatch, [20, 21, end], "", StopReason.END_TOKEN)
    [update] = work.collect()
    assert completions_of(update.micro_batches[0]) == [[20, 21, end], [21, end]] * 4
    answer_with(monkeypatch, [20, 21, 22], "", StopReason.LENGTH)
    [update] = work.collect()
    assert completions_of(update.micro_batches[0]) == [[20, 21, 22], [21, 22]] * 4


def rollout_of(ids: list[int], trained: list[bool], logprobs: list[float | None], **fields: Any) -> Rollout:
    prompt = Prompt(name="questions@1#0", row={}, ids=(5, 6, 7), text="")
    return Rollout(prompt, 0, 0, ids, trained, logprobs, "", StopReason.END_TOKEN, **fields)


@pytest.mark.parametrize(("trained", "logprobs"), [([True], [-1.0] * 3), ([True] * 3, [-1.0] * 2), ([True] * 4, [])])
def test_marks_and_log_probabilities_that_are_too_few_are_refused(trained: list[bool], logprobs: list[float | None]):
    with pytest.raises(ValueError, match=f"3 tokens, {len(trained)} marks and {len(logprobs)} log-prob"):
        rollout_of([1, 2, 3], trained, logprobs)


def test_a_trained_token_without_its_log_probability_is_refused():
    rollout = rollout_of([1, 2, 3], [True, False, True], [-1.0, None, None], advantage=1.0)
    with pytest.raises(ValueError, match="has no log-probability"):
        flatten_rollouts([rollout], [1.0], device=CPU)


def test_what_the_environment_said_is_read_though_it_does_not_train(base: Path, tmp_path: Path):
    work = open_stage(tmp_path, GRPO, base)
    trained = [True, True, False, False, True]
    logprobs = [-5.0 if flag else None for flag in trained]
    said = rollout_of([10, 11, 12, 13, 14], trained, logprobs, advantage=1.0)
    other = replace(said, token_ids=[10, 11, 30, 31, 14])
    first, second = (
        work.policy.logprobs(flatten_rollouts([one], [1 / 3], device=CPU)).detach() for one in (said, other)
    )
    assert len(first) == 3
    assert first[:2].tolist() == pytest.approx(second[:2].tolist(), abs=1e-6)
    assert abs(first[2] - second[2]) > 1e-4


@pytest.mark.parametrize("sampling", [{"temperature": 0.6}, {"top_p": 0.8}, {"temperature": 1.4, "top_p": 0.9}])
def test_sampler_and_trainer_agree_whatever_the_sampling(sampling: dict[str, float], base: Path, tmp_path: Path):
    """A ratio that differs from 1 before anything was learnt is a bias: of temperature, or of what top_p left out."""
    work = open_stage(tmp_path, {**GRPO, "sampling": {**GRPO["sampling"], **sampling}}, base)
    metrics = work.optimize(work.collect()[0])
    assert metrics["policy/ratio_max"] == pytest.approx(1.0, abs=1e-6)
    assert metrics["policy/logp_gap_max"] < 1e-4


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.0}, {"temperature": 0.9, "top_p": 0.5}])
def test_padding_of_the_head_is_never_sampled_but_keeps_its_share(settings: dict[str, float]):
    logits = torch.tensor([[1.0, 0.0, 2.0, 6.0, 9.0]]).expand(200, -1)
    request = SamplingRequest(prompt_ids=(0,), max_new_tokens=1, **{"temperature": 1.0, **settings})
    draws = (torch.arange(200, dtype=torch.float64) + 0.5) / 200
    tokens, logprobs = Chooser([request] * 200).choose(logits, draws, tokens=3)
    assert set(tokens.tolist()) <= {0, 1, 2}
    expected = (logits[0] / (settings.get("temperature", 1.0) or 1.0)).log_softmax(-1)
    assert logprobs.tolist() == pytest.approx(expected[tokens].tolist(), rel=1e-5)
    if not settings:
        shares = [math.exp(1), 1.0, math.exp(2)]
        for token, share in enumerate(shares):
            assert abs((tokens == token).sum().item() - 200 * share / sum(shares)) <= 1


@pytest.mark.parametrize("name", ["qwen 3", "gpt_neox"])
def test_a_model_with_a_padded_head_writes_tokens_only(name: str):
    model = make_model((LLAMA_SHAPED | OTHERS)[name]())
    model.resize_token_embeddings(264, mean_resizing=False)
    engine = TorchEngine(model, make_tokenizer())
    for completion in engine.sample(make_requests(12)):
        assert max(completion.token_ids) < 200
