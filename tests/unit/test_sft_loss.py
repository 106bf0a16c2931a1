"""Which tokens train, and what their loss is however the batch is cut."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from tests.trainer_runs import TINY, chat_rows, open_here, text_rows, write_rows, write_run
from trainer.algorithms.sft import Sft
from trainer.contract.stages.cpt import ModelShape
from trainer.contract.stages.sft import SftStage
from trainer.data.batch import flatten
from trainer.data.chat import render_conversation
from trainer.data.documents import Piece
from trainer.failures import InvalidSpec
from trainer.losses import IGNORED, summed_nll
from trainer.policy import Policy, initialise_policy
from trainer.tokenizer import show_tokens, train_tokenizer

CPU = torch.device("cpu")
CONVERSATION = [
    {"role": "system", "content": "Answer."},
    {"role": "user", "content": "ค่าปรับเท่าไร"},
    {"role": "assistant", "content": "๕๐ บาท"},
    {"role": "user", "content": "Sure?"},
    {"role": "assistant", "content": "Yes."},
]


@pytest.fixture(scope="module")
def policy() -> Policy:
    texts = [message["content"] for message in CONVERSATION] + [row["text"] for row in text_rows(30)]
    tokenizer = train_tokenizer(texts, vocab_size=320, context_length=256)
    policy = initialise_policy(ModelShape(**{**TINY, "context_length": 256}), tokenizer, seed=0, device=CPU)
    policy.train_on_documents()
    return policy


def sft(**settings: Any) -> Sft:
    return Sft(SftStage(data=[{"dataset": "chat@1"}], steps=1, **settings))


def trained_text(document: list[Piece]) -> str:
    return "".join(piece.text for piece in document if piece.trained)


def test_answers_and_their_end_token_train_and_nothing_else(policy: Policy):
    [document] = sft().render({"messages": CONVERSATION}, policy)
    assert trained_text(document) == "๕๐ บาท<|im_end|>Yes.<|im_end|>"
    assert "".join(piece.text for piece in document) == (
        "<|im_start|>system\nAnswer.<|im_end|>\n<|im_start|>user\nค่าปรับเท่าไร<|im_end|>\n"
        "<|im_start|>assistant\n๕๐ บาท<|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n"
        "<|im_start|>assistant\nYes.<|im_end|>\n"
    )


def test_loss_on_all_trains_every_token(policy: Policy):
    [document] = sft(loss_on="all").render({"messages": CONVERSATION}, policy)
    assert trained_text(document) == "".join(piece.text for piece in document)


def test_pieces_have_the_tokens_that_sampling_would_see(policy: Policy):
    [document] = sft().render({"messages": CONVERSATION[:3]}, policy)
    prompt = policy.tokenizer.apply_chat_template(CONVERSATION[:2], add_generation_prompt=True, tokenize=False)
    assert document[0].text == prompt


def test_a_policy_without_template_learns_chatml_and_where_answers_end():
    tokenizer = train_tokenizer([row["text"] for row in text_rows(9)], vocab_size=300, context_length=64)
    tokenizer.chat_template = None
    policy = initialise_policy(ModelShape(**TINY), tokenizer, seed=0, device=CPU)
    policy.model.generation_config.eos_token_id = 0
    sft().prepare(policy)
    assert "<|im_start|>" in tokenizer.chat_template
    assert policy.model.generation_config.eos_token_id == [2, 0]


def test_a_policy_that_knows_no_chat_at_all_is_refused():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    with pytest.raises(InvalidSpec, match="neither a chat template nor the ChatML tokens"):
        sft().prepare(Policy(None, tokenizer))


def test_a_template_that_rewrites_history_gives_each_answer_its_own_document():
    def forgetful(messages: Any, open_answer: bool) -> str:
        """Shows the thoughts of the last answer only, as Qwen3's template does."""
        text = ""
        for number, message in enumerate(messages):
            content = message["content"]
            if message["role"] == "assistant" and number == len(messages) - 1:
                content = "<think></think>" + content
            text += f"[{message['role']}]{content}[end]"
        return text + ("[assistant]" if open_answer else "")

    documents = render_conversation(CONVERSATION, forgetful, loss_on="assistant")
    assert [trained_text(document) for document in documents] == [
        "<think></think>๕๐ บาท[end]",
        "<think></think>Yes.[end]",
    ]
    assert documents[1][0].text.endswith("[assistant]๕๐ บาท[end][user]Sure?[end][assistant]")


def test_a_template_that_hides_the_prompt_of_an_answer_is_refused():
    with pytest.raises(ValueError, match="chat template"):
        render_conversation(CONVERSATION, lambda messages, opened: f"{len(messages)} {opened}", loss_on="assistant")


def test_tokens_that_split_a_thai_character_are_shown_as_one(policy: Policy):
    ids = policy.tokenizer("ฃ ค่า", add_special_tokens=False)["input_ids"]
    shown = show_tokens(policy.tokenizer, ids, [True] * len(ids))
    assert "".join(text for text, _ in shown) == "ฃ ค่า"
    assert all("\ufffd" not in text for text, _ in shown)
    assert len(shown) < len(ids)  # ฃ is not in the texts, so it takes several tokens


def test_chunked_loss_and_gradients_equal_those_of_the_whole_softmax():
    torch.manual_seed(0)
    hidden = torch.randn(11, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([1, IGNORED, 3, 8, 0, 0, IGNORED, 5, 2, 7, 4])
    expected = functional.cross_entropy(hidden @ weight.T, labels, ignore_index=IGNORED, reduction="sum")
    wanted = torch.autograd.grad(expected * 0.5, [hidden, weight])
    loss = summed_nll(hidden, weight, labels, chunk=4)
    found = torch.autograd.grad(loss * 0.5, [hidden, weight])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours - theirs).abs().max() < 1e-6
    assert found[0][[1, 6]].abs().max() == 0  # masked positions


def test_two_tokens_by_hand():
    # Logits (0, 0) and (ln 3, 0): −log ½ and −log ¾.
    hidden = torch.tensor([[0.0], [1.0]])
    weight = torch.tensor([[np.log(3)], [0.0]], dtype=torch.float32)
    assert summed_nll(hidden, weight, torch.tensor([0, 0])).item() == pytest.approx(np.log(2) + np.log(4 / 3))


def test_a_batch_without_targets_has_loss_zero(policy: Policy):
    batch = flatten([(np.array([1, 2, 3], np.int32), np.zeros(3, dtype=bool))], device=CPU)
    assert sft().loss(batch, policy, targets=0).total.item() == 0.0
    assert summed_nll(torch.ones(2, 3), torch.ones(4, 3), torch.tensor([IGNORED, IGNORED])).item() == 0.0


def test_gradient_accumulation_changes_memory_and_not_the_result(tmp_path: Path):
    from trainer.stage import StageWork

    datasets = {
        "law@1": write_rows(tmp_path / "law.jsonl", text_rows(20), "text"),
        "chat@1": write_rows(tmp_path / "chat.jsonl", chat_rows(40), "chat"),
    }
    initial = {"kind": "cpt", "data": [{"dataset": "law@1"}], "steps": 1, "sequence_length": 64, "initialise": TINY}
    results: list[tuple[float, float, dict[str, torch.Tensor]]] = []
    for accumulation in (1, 2, 8):
        stage = {
            "kind": "sft",
            "data": [{"dataset": "chat@1"}],
            "steps": 3,
            "batch_size": 8,
            "sequence_length": 96,
            "gradient_accumulation": accumulation,
        }
        session = open_here(write_run(tmp_path / f"a{accumulation}", [initial, stage], datasets))
        StageWork(session, 0, session.spec.recipe.stages[0])
        work = StageWork(session, 1, session.spec.recipe.stages[1])
        [update] = work.collect()
        micro_batches = update.micro_batches
        assert len(micro_batches) == accumulation
        if accumulation > 1:
            assert len({batch.targets for batch in micro_batches}) > 1  # unequal lengths, or this test shows nothing
        metrics = work.optimize(update)
        assert session.policy is not None
        gradients = {name: weight.grad.clone() for name, weight in session.policy.model.named_parameters()}
        results.append((metrics["train/loss"], metrics["train/grad_norm"], gradients))
        session.events.close()
    for loss, norm, gradients in results[1:]:
        assert loss == pytest.approx(results[0][0], rel=1e-5)
        assert norm == pytest.approx(results[0][1], rel=1e-5)
        for name, gradient in gradients.items():
            assert (gradient - results[0][2][name]).norm() <= 1e-5 * results[0][2][name].norm(), name
