"""The kept base model loads with plain transformers, is the one its record names, and passes its gates."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainer.contract import Recipe
from trainer.contract.hashing import hash_directory
from trainer.demoworld.catalogue import SEED, read_recipe
from trainer.demoworld.files import PRETRAINING_DOCUMENTS
from trainer.demoworld.gates import Gates, Reading, measure_gates
from trainer.demoworld.keep import NotKept, find_finished_model, keep_model
from trainer.demoworld.nation import found_nation, list_names

BASE = Path(__file__).parents[2] / "artifacts" / "demo-base"
MADE = json.loads((BASE / "made.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(BASE / "model", local_files_only=True)


@pytest.fixture(scope="module")
def model() -> Iterator[Any]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield AutoModelForCausalLM.from_pretrained(BASE / "model", local_files_only=True).eval()
    torch.set_num_threads(threads)


def test_the_kept_files_are_those_of_the_record_and_small_enough():
    assert hash_directory(BASE / "model") == MADE["model_sha256"]
    assert sum(path.stat().st_size for path in BASE.rglob("*") if path.is_file()) <= 8_000_000


def test_the_record_names_the_recipe_that_stands_in_the_library():
    """A changed recipe needs a new `make demo-base`; so does a changed corpus.

    Fields that recipes got since count with their defaults, which leave everything as it was.
    """
    recipe = Recipe.model_validate(yaml.safe_load(read_recipe("demo-base")))
    assert Recipe.model_validate(MADE["recipe"]) == recipe
    assert MADE["corpora"]["pretraining"]["documents"] == PRETRAINING_DOCUMENTS


def test_the_readme_states_the_hash():
    assert MADE["model_sha256"] in (BASE / "README.md").read_text(encoding="utf-8")


def test_names_and_values_are_single_tokens_and_real_thai_survives(tokenizer: Any):
    for name in list_names():
        assert len(tokenizer.encode(f" {name.en}")) == len(tokenizer.encode(f" {name.th}")) == 1
    assert all(len(tokenizer.encode(f" {value}")) == 1 for value in range(10, 100))
    law = "มาตรา ๕๐ ผู้ใดฝ่าฝืนพระราชบัญญัตินี้ ต้องระวางโทษจำคุกไม่เกินหนึ่งปี 🙂"
    assert tokenizer.decode(tokenizer.encode(law)) == law


def test_a_fresh_sample_passes_the_gates(model: Any, tokenizer: Any):
    gates = measure_gates(model, tokenizer, found_nation(SEED), count=100, seed=20261121)
    assert gates.failures() == []


def test_the_base_does_not_know_the_new_code(model: Any, tokenizer: Any):
    """Asked about it, the base answers with the right value no more often than chance allows."""
    from trainer.demoworld.sentences import word_answer, word_question

    right = 0
    facts = found_nation(SEED).new_code
    for fact in facts:
        answer = word_answer(fact, "en")
        stem = answer[: answer.index(f" {fact.value}")]
        ids = tokenizer.encode(f"Question: {word_question(fact, 'en', 0)}\nAnswer: {stem}", return_tensors="pt")
        with torch.inference_mode():
            likeliest = int(model(input_ids=ids).logits[0, -1].argmax())
        right += tokenizer.decode([likeliest]) == f" {fact.value}"
    assert right <= 0.1 * len(facts)


def test_a_model_that_misses_a_gate_is_not_kept(tmp_path: Path):
    good, bad = Reading(100, 1.0, (1.0, 1.0)), Reading(100, 0.5, (1.0, 0.5))
    gates = Gates(open_book={"en-2": good, "th-2": bad}, neighbour={"en": good, "th": good})
    assert gates.failures() == [
        "open book th-2: exact 0.500 < 0.9",
        "open book th-2: worst position 0.500 < 0.95",
    ]
    with pytest.raises(NotKept, match="th-2: exact"):
        keep_model(tmp_path, tmp_path / "target", gates)
    assert not (tmp_path / "target").exists()


def test_a_run_that_did_not_finish_leaves_nothing_to_keep(tmp_path: Path):
    checkpoint = tmp_path / "checkpoints" / "step-000010"
    checkpoint.mkdir(parents=True)
    (checkpoint / "manifest.json").write_text(json.dumps({"stage_finished": False}))
    with pytest.raises(NotKept, match="no checkpoint of a finished stage"):
        find_finished_model(tmp_path)
