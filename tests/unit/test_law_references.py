"""Questions made from cross references: what is asked, what is gold, and what is left out."""

import numpy as np
import pytest

from tests.law_rows import write_corpus
from toolsandbox.law.corpus import Section
from toolsandbox.law.index import open_index
from toolsandbox.law.recall import Question, measure_recall, section_id
from toolsandbox.law.references import make_reference_questions
from toolsandbox.law.search import LawSearch

LAW = "Bürgerliches Gesetzbuch (BGB)"
LONG = "Der Käufer einer mangelhaften Sache kann die Rechte ausüben, die ihm der Verkäufer eingeräumt hat"


def ask(text: str, *, others: tuple[str, ...] = ("1", "2", "2a", "3", "4")) -> list[tuple[str, set[object]]]:
    """Query and numbers of the questions that a section 9 with this text gives."""
    sections = [Section(LAW, number, "Ohne Verweis.") for number in others] + [Section(LAW, "9", text)]
    return [
        (question.text, {key for _, key in question.gold})
        for question in make_reference_questions(sections)
        if question.source == (LAW, section_id("9"))
    ]


def keys(*numbers: str) -> set[object]:
    return {section_id(number) for number in numbers}


@pytest.mark.parametrize(
    ("reference", "numbers"),
    [
        ("§ 1", ["1"]),
        ("§ 2a Absatz 1 Satz 2", ["2a"]),
        ("den §§ 1, 2 und 3", ["1", "2", "3"]),
        ("den §§ 1 bis 3", ["1", "3"]),
        ("§ 1 Absatz 3 Nummer 4 und § 2 Absatz 1 und 2", ["1", "2"]),
        ("§ 1 Abs. 3 Nr. 4 oder des § 4", ["1", "4"]),
    ],
)
def test_the_reference_is_taken_out_and_becomes_the_gold(reference: str, numbers: list[str]):
    [(query, gold)] = ask(f"{LONG} nach {reference} geltend machen.")
    assert gold == keys(*numbers)
    assert "§" not in query
    assert not any(letter.isdigit() for letter in query)
    assert query.startswith(LONG)


@pytest.mark.parametrize(
    "text",
    [
        f"{LONG}.",
        "§ 1 gilt entsprechend.",
        f"{LONG} nach § 9.",
        f"{LONG} nach § 77.",
        f"{LONG} nach § 1 des Handelsgesetzbuchs.",
        f"{LONG} nach § 1 der Zivilprozessordnung.",
    ],
)
def test_what_is_short_or_names_nothing_or_another_law_is_no_question(text: str):
    assert ask(text) == []


def test_one_question_per_section_and_none_across_a_sentence():
    text = f"{LONG}. § 3 gilt entsprechend. {LONG} nach § 1. {LONG} nach § 2."
    [(query, gold)] = ask(text)
    assert gold == keys("1")
    assert query == f"{LONG} nach ."


def test_the_source_of_a_question_takes_no_place(tmp_path):
    """Of two sections with the words of the query, the source is passed over: the gold is the first of one."""
    rows = [("Gesetz", "1", "alpha beta gamma"), ("Gesetz", "2", "alpha beta gamma delta"), ("Gesetz", "3", "omega")]
    search = LawSearch(open_index(write_corpus(tmp_path / "laws.jsonl", rows), language="de", folder=tmp_path))
    gold = frozenset({("Gesetz", section_id("2"))})
    asked = [Question("alpha beta gamma", gold, source=("Gesetz", section_id("1"))), Question("alpha beta gamma", gold)]
    measured = measure_recall(search, asked, depth=1, name="x")
    assert measured["laws.x"] == 0.5
    assert measured["laws.x_gold"] == np.int64(2)
