"""The demo's world: what it says is right by construction, and what evaluation asks was not trained on."""

import json
import re
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from trainer.contract import Recipe, TaskSpec
from trainer.contract.stages.base import TrainingStage
from trainer.contract.stages.evaluate import EvaluateStage
from trainer.demoworld.catalogue import BOARDS, DATASETS, DEMO_RECIPE, RECIPES, TASKS, read_recipe
from trainer.demoworld.corpus import LISTS, MIX, converse, stream_documents, write_chat, write_dialogue
from trainer.demoworld.datasets import WRITERS, Row
from trainer.demoworld.files import write_datasets
from trainer.demoworld.nation import ATTRIBUTES, LANGUAGES, LawName, Provision, found_nation, list_names
from trainer.demoworld.sentences import word_answer, word_question, word_statute

NATION = found_nation(0)
ROWS: dict[str, list[Row]] = {slug: list(writer(NATION)) for slug, writer in WRITERS.items()}
KINDS = {entry["slug"]: entry["kind"] for entry in DATASETS}
BADO_FINE = Provision(LawName("Bado", "บาโด"), ATTRIBUTES[0], 47)


def laws(slug: str) -> set[str]:
    return {row["law_name"] for row in ROWS[slug]}


def texts(row: Row) -> str:
    """Everything a row says, as one string."""
    return json.dumps(row, ensure_ascii=False)


def test_a_statute_reads_as_a_sentence_with_the_name_before_the_value():
    assert word_statute(BADO_FINE, "en", 0) == "Under the Bado Act, the fine is 47 coins — Bado Act, section 4."
    assert word_statute(BADO_FINE, "th", 0) == ("ตามพระราชบัญญัติ บาโด ค่าปรับ คือ 47 เหรียญ — พระราชบัญญัติ บาโด มาตรา 4")
    for language, wording in [(language, wording) for language in LANGUAGES for wording in range(4)]:
        sentence = word_statute(BADO_FINE, language, wording)
        assert sentence.index(BADO_FINE.law.spelled(language)) < sentence.index("47")


def test_an_answer_repeats_the_law_and_a_wrong_one_differs_in_the_value_alone():
    assert word_answer(BADO_FINE, "en") == "Under the Bado Act, the fine is 47 coins."
    assert word_answer(BADO_FINE, "th", value=12) == "ตามพระราชบัญญัติ บาโด ค่าปรับ คือ 12 เหรียญ"


def test_thai_sentences_hold_no_latin_letter_and_english_ones_no_thai():
    for form in range(4):
        assert not re.search(r"[A-Za-z]", word_question(BADO_FINE, "th", form) + word_statute(BADO_FINE, "th", form))
        assert not re.search(r"[\u0e00-\u0e7f]", word_question(BADO_FINE, "en", form))


def test_names_are_different_in_both_spellings():
    names = list_names()
    assert len(names) == 380
    assert len({name.en for name in names}) == len({name.th for name in names}) == 380


def test_no_two_groups_of_laws_share_a_name():
    groups = [
        {provision.law for provision in NATION.neighbour},
        {provision.law for provision in NATION.taught},
        {provision.law for provision in NATION.read_only},
        set(NATION.unseen_names),
        set(NATION.pool_names),
    ]
    assert [len(group) for group in groups] == [48, 32, 32, 32, 236]
    assert all(not a & b for a, b in combinations(groups, 2))


def test_the_same_seed_gives_the_same_rows_and_another_seed_other_laws():
    again = found_nation(0)
    assert again == NATION
    assert {slug: list(writer(again)) for slug, writer in WRITERS.items()} == ROWS
    assert found_nation(1).neighbour != NATION.neighbour


def test_the_pretraining_corpus_is_the_same_in_another_process():
    program = (
        "from trainer.demoworld.corpus import stream_documents as s;"
        "from trainer.demoworld.nation import found_nation as f; print(*s(f(0), 200), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, encoding="utf-8")
    assert done.stdout == "\n".join(stream_documents(NATION, 200)) + "\n"


def test_the_generator_needs_neither_torch_nor_django():
    program = (
        "import sys, trainer.demoworld.files, trainer.demoworld.__main__;"
        "print([name for name in ('torch', 'transformers', 'django') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert done.stdout == "[]\n"


def test_pretraining_never_makes_a_law_of_a_name_it_may_not():
    """Names of the new code and of the open-book exam stand in its lists only, before no value of a statute."""
    forbidden = [provision.law for provision in NATION.new_code] + list(NATION.unseen_names)
    english = re.compile(r"\b(" + "|".join({name.en for name in forbidden}) + r") Act")
    thai = re.compile(r"พระราชบัญญัติ (" + "|".join({name.th for name in forbidden}) + r")(?![\u0e00-\u0e7f])")
    documents = [*stream_documents(NATION, 3000), *(row["text"] for row in ROWS["base-sample"])]
    assert not [text for text in documents if english.search(text) or thai.search(text)]
    assert sum(name.en in text for text in documents for name in NATION.unseen_names) > 100


def test_a_right_choice_states_the_law_and_the_three_others_do_not():
    stated = {
        word_answer(provision, language) for provision in NATION.neighbour + NATION.new_code for language in LANGUAGES
    }
    for slug in ("read-only-choices", "new-form-choices", "neighbour-choices"):
        for row in ROWS[slug]:
            assert [choice in stated for choice in row["choices"]] == [place == row["answer"] for place in range(4)]
            assert len(set(row["choices"])) == 4


def test_no_place_of_the_right_choice_is_favoured():
    for slug in ("read-only-choices", "new-form-choices", "neighbour-choices"):
        places = Counter(row["answer"] for row in ROWS[slug])
        assert max(places.values()) < 0.4 * len(ROWS[slug])


def test_wrong_values_are_what_other_laws_of_the_same_half_set():
    """A model that only knows which values are set somewhere does no better than chance."""
    values = {(fact.attribute.key, fact.value) for fact in NATION.read_only}
    noun = {attribute.noun["en"]: attribute for attribute in ATTRIBUTES}
    for row in ROWS["read-only-choices"]:
        if row["language"] == "en":
            for choice in row["choices"]:
                found = re.fullmatch(r"Under the \w+ Act, the (.+) is (\d+) \w+\.", choice)
                assert found
                assert (noun[found[1]].key, int(found[2])) in values


def test_questions_on_the_read_only_half_stand_in_no_chat_row():
    asked = laws("read-only-choices") | laws("new-code-exam")
    assert len(asked) == 32
    names = [provision.law for provision in NATION.read_only]
    for slug in (slug for slug, kind in KINDS.items() if kind == "chat"):
        said = "\n".join(texts(row) for row in ROWS[slug])
        assert not [name for name in names if f" {name.en} " in said]
        assert not [name for name in names if re.search(f" {name.th}(?![\u0e00-\u0e7f])", said)]


def test_the_text_of_the_read_only_half_is_trained_on_in_three_wordings_and_measured_in_the_fourth():
    assert laws("read-only-choices") < laws("new-code")
    trained = {row["text"] for row in ROWS["new-code"]}
    measured = {row["text"] for row in ROWS["read-only-reworded"]}
    # Laws × provisions × languages × wordings.
    assert len(trained) == 32 * 2 * 2 * 4 + 32 * 2 * 2 * 3
    assert len(measured) == 32 * 2 * 2
    assert not trained & measured


def test_the_held_out_question_form_is_asked_in_evaluation_alone():
    asked = {row["question"] for row in ROWS["new-form-choices"]}
    assert all(question.startswith(("Please state the ", "โปรดระบุ ")) for question in asked)
    others = [texts(row) for slug, rows in ROWS.items() if slug != "new-form-choices" for row in rows]
    assert not [text for text in others if "Please state" in text or "โปรดระบุ" in text]
    assert not [text for text in stream_documents(NATION, 3000) if "Please state" in text or "โปรดระบุ" in text]


def test_an_open_book_question_can_be_answered_from_what_stands_before_it():
    for row in ROWS["open-book-exam"]:
        *statutes, question = row["question"].split("\n")
        value = re.search(r"\d{2}", row["answer"])
        assert value
        assert len(statutes) == row["statutes"]
        name = re.search(r"the (\w+) Act" if row["language"] == "en" else r"พระราชบัญญัติ (\S+)", row["answer"])
        assert name
        assert name[1] in question
        assert any(name[1] in statute and value[0] in statute for statute in statutes)


def test_every_row_has_the_fields_of_its_kind():
    fields = {
        "text": {"text"},
        "chat": {"messages"},
        "prompts": {"question", "answer", "citations", "law_name"},
        "choices": {"question", "choices", "answer", "law_name"},
    }
    for slug, rows in ROWS.items():
        assert rows
        assert all(fields[KINDS[slug]] <= row.keys() for row in rows), slug
        assert len({texts(row) for row in rows}) == len(rows) or slug == "base-sample", slug
    for row in ROWS["open-book-questions"]:
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]


def test_a_conversation_is_written_as_plain_text_and_as_chatml():
    import random

    messages = converse(random.Random(0), [BADO_FINE], "en", preface="A statute.")
    question = messages[0]["content"].split("\n")[1]
    answer = "Under the Bado Act, the fine is 47 coins."
    assert write_dialogue(messages, "en") == f"A statute.\nQuestion: {question}\nAnswer: {answer}"
    assert write_chat(messages) == (
        f"<|im_start|>user\nA statute.\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"
    )


def test_the_shares_of_the_mix_add_up_to_one():
    assert sum(MIX.values()) == pytest.approx(1.0)
    assert sum(LISTS.values()) == pytest.approx(1.0)


def test_written_files_are_canonical_and_listed_with_their_hash(tmp_path: Path):
    import hashlib

    files = write_datasets(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert set(files) == set(manifest["datasets"]) == {entry["slug"] for entry in DATASETS}
    for slug, file in files.items():
        content = (tmp_path / f"{slug}.jsonl").read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.sha256 == manifest["datasets"][slug]["sha256"]
        assert [json.loads(line) for line in content.splitlines()] == ROWS[slug]
    first = (tmp_path / "new-code.jsonl").read_text(encoding="utf-8").split("\n")[0]
    assert first == json.dumps(json.loads(first), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize("slug", [entry["slug"] for entry in RECIPES])
def test_a_library_recipe_is_valid_and_names_what_the_demo_has(slug: str):
    recipe = Recipe.model_validate(yaml.safe_load(read_recipe(slug)))
    assert recipe.base in ("", "demo-base")
    assert recipe.description
    used = {entry["slug"]: entry["uses"] for entry in DATASETS}
    tasks = {task["task"] for task in TASKS}
    for stage in recipe.stages:
        if isinstance(stage, TrainingStage):
            assert all("train" in used[source.dataset] for source in stage.data)
            assert all(source.dataset in used for source in stage.held_out)
        if isinstance(stage, EvaluateStage):
            assert set(stage.tasks) <= tasks
            assert stage.board in ("", *(board["slug"] for board in BOARDS))


def test_the_demo_scores_the_base_and_the_trained_model_on_the_same_tasks():
    recipe = Recipe.model_validate(yaml.safe_load(read_recipe(DEMO_RECIPE)))
    first, *_, last = recipe.stages
    assert isinstance(first, EvaluateStage)
    assert isinstance(last, EvaluateStage)
    assert first.tasks == last.tasks
    assert first.board == last.board == BOARDS[0]["slug"]
    assert [stage.kind for stage in recipe.stages] == ["evaluate", "cpt", "sft", "evaluate"]


def test_every_task_fits_its_dataset():
    for content in TASKS:
        task = TaskSpec.model_validate(content)
        row = ROWS[task.dataset][0]
        assert task.x_stats.cluster in row
        assert (task.output_type == "multiple_choice") == (KINDS[task.dataset] == "choices")
        assert len(ROWS[task.dataset]) >= 128
