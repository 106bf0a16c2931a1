"""Rows of the replication experiments, on the laws of a made-up nation.

The nation, its wordings and its questions are the demo's (`trainer.demoworld`); which law is read, asked or held back
is decided here, because every experiment needs another division.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from trainer.demoworld.corpus import (
    converse,
    draw_facts,
    draw_neighbour_text,
    draw_repeated_list,
    stream_documents,
    write_chat,
    write_dialogue,
)
from trainer.demoworld.nation import ATTRIBUTES, LANGUAGES, VALUES, Language, LawName, Nation, Provision
from trainer.demoworld.sentences import HELD_OUT, word_answer, word_question, word_statute

Row = dict[str, Any]

FORMS = tuple(form for form in range(4) if form != HELD_OUT)


def draw_dialogue(draw: random.Random, nation: Nation) -> str:
    """Questions on the neighbour's code as plain text: a base that has never seen a chat."""
    language = draw.choice(LANGUAGES)
    return write_dialogue(converse(draw, draw.sample(nation.neighbour, 3), language), language)


def draw_strange_dialogue(draw: random.Random, nation: Nation) -> str:
    """The same on laws that exist in this document alone: their values are a guess, their names are to be repeated."""
    language = draw.choice(LANGUAGES)
    return write_dialogue(converse(draw, draw_facts(draw, nation.pool_names, 3), language), language)


BASE_MIX = {draw_repeated_list: 0.05, draw_neighbour_text: 0.30, draw_dialogue: 0.35, draw_strange_dialogue: 0.30}
"""What the bases read. Every name occurs in the lists."""


def base_rows(nation: Nation, *, seed: int, documents: int) -> Iterator[Row]:
    for text in stream_documents(nation, documents, mix=BASE_MIX, seed=seed):
        yield {"text": text}


def text_rows(facts: Sequence[Provision], language: Language = "en") -> list[Row]:
    """Every fact in every wording but the held-out one."""
    return [{"text": word_statute(fact, language, wording)} for fact in facts for wording in FORMS]


def prompt_rows(
    facts: Sequence[Provision], *, forms: Sequence[int] = FORMS, languages: Sequence[Language] = ("en",)
) -> list[Row]:
    """Questions with their reference answers, as rewards and tasks read them."""
    return [
        {
            "question": word_question(fact, language, form),
            "answer": word_answer(fact, language),
            "well_formed": [word_answer(fact, language, value=value) for value in VALUES],
            "law_name": fact.law.title,
            "language": language,
        }
        for fact in facts
        for language in languages
        for form in forms
    ]


def chat_rows(prompts: Sequence[Row]) -> list[Row]:
    return [
        {"messages": [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": row["answer"]}]}
        for row in prompts
    ]


def chats_as_text(rows: Sequence[Row]) -> list[Row]:
    """Conversations as documents to read on, every token a target."""
    return [{"text": write_chat(row["messages"])} for row in rows]


def choice_rows(facts: Sequence[Provision], *, seed: int) -> list[Row]:
    """One item per fact: its answer among three with values that other facts of the group set for the attribute."""
    draw = random.Random(f"choices-{seed}")
    rows = []
    for fact in facts:
        others = sorted({other.value for other in facts if other.attribute == fact.attribute} - {fact.value})
        values = [fact.value, *draw.sample(others, 3)]
        draw.shuffle(values)
        rows.append(
            {
                "question": word_question(fact, "en", draw.choice(FORMS)),
                "choices": [word_answer(fact, "en", value=value) for value in values],
                "answer": values.index(fact.value),
                "law_name": fact.law.title,
            }
        )
    return rows


def shuffle_values(facts: Sequence[Provision], *, seed: int) -> list[Provision]:
    """The same laws with values moved around within each attribute, none where it was: as much to learn, all of it
    wrong.
    """
    draw = random.Random(f"shuffled-{seed}")
    moved = []
    for attribute in ATTRIBUTES:
        group = [fact for fact in facts if fact.attribute == attribute]
        values = [fact.value for fact in group]
        while any(value == fact.value for value, fact in zip(values, group, strict=True)):
            draw.shuffle(values)
        moved += [replace(fact, value=value) for fact, value in zip(group, values, strict=True)]
    return moved


def strange_facts(nation: Nation, *, count: int, seed: int, names: Sequence[LawName] = ()) -> list[Provision]:
    """Provisions with values drawn at random, on names that no code holds or on those given."""
    draw = random.Random(f"strange-{seed}")
    return [fact for _ in range(count) for fact in draw_facts(draw, tuple(names) or nation.pool_names, 1)]


def spoil_values(rows_of: Sequence[Provision], *, share: float, forms: Sequence[int], seed: int) -> list[Row]:
    """Questions of which a share is answered with a wrong value, each time another one."""
    draw = random.Random(f"spoiled-{seed}")
    rows = []
    for fact in rows_of:
        for form in forms:
            value = fact.value
            if draw.random() < share:
                value = draw.choice([other for other in VALUES if other != fact.value])
            rows.append({"question": word_question(fact, "en", form), "answer": word_answer(fact, "en", value=value)})
    return rows


def mix_scripts(prompts: Sequence[Row], facts: Sequence[Provision], *, share: float, seed: int) -> list[Row]:
    """Prompts of which a share is answered in the other language than they ask in."""
    draw = random.Random(f"scripts-{seed}")
    answers = {word_answer(fact, one): word_answer(fact, other) for fact in facts for one, other in BOTH_WAYS}
    return [{**row, "answer": answers[row["answer"]]} if draw.random() < share else row for row in prompts]


BOTH_WAYS: tuple[tuple[Language, Language], ...] = (("en", "th"), ("th", "en"))
