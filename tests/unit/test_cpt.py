"""Making a policy from text, and training one on it."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from tests.trainer_runs import TINY, events_of, law_texts, metric, run_here, text_rows, write_rows, write_run
from trainer.algorithms.cpt import Cpt
from trainer.contract.stages.cpt import CptStage, ModelShape
from trainer.data.batch import flatten
from trainer.data.documents import tokenize_rows
from trainer.data.rows import open_rows
from trainer.failures import InvalidSpec
from trainer.policy import Policy, initialise_policy, load_policy
from trainer.tokenizer import document_end, train_tokenizer

CPU = torch.device("cpu")
TOKENIZER = train_tokenizer(law_texts(60), vocab_size=400, context_length=128)


def make_policy(**shape: object) -> Policy:
    return initialise_policy(ModelShape(**{**TINY, **shape}), TOKENIZER, seed=1, device=CPU)


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_any_text_survives_the_tokenizer(text: str):
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids, clean_up_tokenization_spaces=False) == text


def test_the_same_texts_give_the_same_tokenizer():
    again = train_tokenizer(law_texts(60), vocab_size=400, context_length=128)
    assert again.backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()


def test_padding_is_not_the_end_of_anything():
    special = [TOKENIZER.convert_tokens_to_ids(t) for t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")]
    assert special == [0, 1, 2, 3]
    assert TOKENIZER.pad_token_id == 3 != TOKENIZER.eos_token_id
    assert document_end(TOKENIZER) == "<|endoftext|>"


def test_thai_marks_stay_with_their_letters():
    tokenizer = train_tokenizer(["ที่นี่"] * 50 + ["น้ำ"] * 50, vocab_size=300, context_length=64)
    assert len(tokenizer("ที่นี่", add_special_tokens=False)["input_ids"]) == 1


def test_initial_weights_have_the_asked_spread():
    policy = make_policy(hidden_size=128, ffn_size=256, layers=8, linear_std=0.04, embedding_std=0.08, qk_gain=2.0)
    weights = dict(policy.model.named_parameters())
    assert weights["model.embed_tokens.weight"].std().item() == pytest.approx(0.08, rel=0.03)
    assert weights["model.layers.0.mlp.up_proj.weight"].std().item() == pytest.approx(0.04, rel=0.03)
    assert weights["model.layers.3.mlp.down_proj.weight"].std().item() == pytest.approx(0.01, rel=0.03)  # 0.04 / √16
    assert weights["model.layers.3.self_attn.q_norm.weight"].unique().tolist() == [2.0]
    assert weights["model.norm.weight"].unique().tolist() == [1.0]
    assert "lm_head.weight" not in weights  # tied


def test_what_is_saved_is_what_plain_transformers_loads(tmp_path: Path):
    policy = make_policy()
    policy.save(tmp_path)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(policy.model.parameters(), model.parameters(), strict=True))
    assert tokenizer.pad_token == "<|pad|>"
    assert model.generation_config.eos_token_id == [2, 0]
    for text in law_texts(20):
        assert tokenizer(text)["input_ids"] == TOKENIZER(text)["input_ids"]


def test_the_loss_of_one_document_is_that_of_transformers(tmp_path: Path):
    policy = make_policy()
    policy.save(tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    policy.train_on_documents()
    rows = open_rows("law@1", write_rows(tmp_path / "law.jsonl", text_rows(1), "text"))
    algorithm = Cpt(CptStage(data=[{"dataset": "law@1"}], steps=1))
    algorithm.prepare(policy)
    store = tokenize_rows(
        rows, lambda row: algorithm.render(row, policy), TOKENIZER, longest=128, progress=lambda done: None
    )
    ids, trained = store.document(0)
    assert ids[-1] == 0  # the end of the document is a target
    assert trained.all()
    batch = flatten([(ids, trained)], device=CPU)
    with torch.no_grad():
        ours = algorithm.loss(batch, policy, targets=batch.targets).total.item()
        tensor = torch.from_numpy(ids.astype("int64"))[None]
        theirs = plain(tensor, labels=tensor).loss.item()
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_long_rows_are_cut_and_counted(tmp_path: Path):
    rows = [{"text": "ab " * 100}, {"text": "ab"}]
    file = open_rows("law@1", write_rows(tmp_path / "law.jsonl", rows, "text"))
    policy = make_policy()
    algorithm = Cpt(CptStage(data=[{"dataset": "law@1"}], steps=1))
    algorithm.prepare(policy)
    store = tokenize_rows(
        file, lambda row: algorithm.render(row, policy), TOKENIZER, longest=16, progress=lambda done: None
    )
    assert (store.rows, store.cut, len(store)) == (2, 1, 2)
    assert store.lengths_D[0] == 16


SIZES = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def test_a_model_of_another_architecture_can_be_the_base(tmp_path: Path):
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    assert load_policy(tmp_path, device=CPU, field="base.path").count_parameters() > 0


def test_a_model_whose_logits_are_capped_is_refused(tmp_path: Path):
    Gemma2ForCausalLM(Gemma2Config(**SIZES, head_dim=8)).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    with pytest.raises(InvalidSpec, match=r"base\.path: this model cannot train on packed documents"):
        load_policy(tmp_path, device=CPU, field="base.path")


def test_a_model_whose_logits_are_scaled_is_refused(tmp_path: Path):
    model = CohereForCausalLM(CohereConfig(**SIZES, logit_scale=0.25))
    torch.nn.init.normal_(model.model.embed_tokens.weight)
    model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    with pytest.raises(InvalidSpec, match="logits differ"):
        load_policy(tmp_path, device=CPU, field="base.path")


def test_training_on_text_lowers_the_loss_on_text_never_trained(tmp_path: Path):
    datasets = {
        "law@1": write_rows(tmp_path / "law.jsonl", text_rows(60), "text"),
        "held@1": write_rows(tmp_path / "held.jsonl", text_rows(20, start=300), "text"),
    }
    stage = {
        "kind": "cpt",
        "data": [{"dataset": "law@1"}],
        "held_out": [{"dataset": "held@1"}],
        "steps": 40,
        "batch_size": 4,
        "sequence_length": 128,
        "initialise": TINY,
        "optimizer": {"learning_rate": 1e-2},
    }
    out = write_run(tmp_path / "run", [stage], datasets)
    assert run_here(out) == 0
    held = metric(out, "held_out/held@1/loss")
    assert sorted(held) == [0, 40]
    assert held[40] < 0.6 * held[0]
    assert metric(out, "held_out/held@1/perplexity")[40] == pytest.approx(math.exp(held[40]))
    assert events_of(out, "stage_started")[0].notes["rows"] == 60
    rows = events_of(out, "batch_seen")[0].rows
    assert rows[0][0].trained is False  # nothing predicts the first token
    assert all(token.trained for token in rows[0][1:])
    texts = {row["text"] + "<|endoftext|>" for row in text_rows(60)}
    assert all("".join(token.text for token in row) in texts for row in rows)
    assert json.loads((out / "checkpoints/step-000040/model/config.json").read_text())["model_type"] == "qwen3"
