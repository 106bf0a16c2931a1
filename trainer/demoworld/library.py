"""A library of laws that no model has read: what a policy with tools searches, and what it is asked.

All its laws bear names that the nation's codes leave free, and their values follow from a seed of their own, so that an
answer can only come from what a tool said. English only: one language is enough to learn to search.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trainer.demoworld.nation import ATTRIBUTES, VALUES, LawName, Nation, Provision
from trainer.demoworld.sentences import HELD_OUT, QUESTIONS, STATUTES, word_answer, word_question, word_statute

Row = dict[str, Any]

SHOWN, ASKED = 2, 140
"""Laws of the traces, and laws of the practice questions. Two show each kind of provision once."""
FORMS = tuple(form for form in range(len(QUESTIONS["en"])) if form != HELD_OUT)


@dataclass(frozen=True)
class Library:
    """Provisions by what a policy may meet them for. No law is in two groups."""

    seed: int
    shown: tuple[Provision, ...]
    """Somebody searched for these before the policy's eyes."""
    asked: tuple[Provision, ...]
    """Questions that the policy practises on."""
    held: tuple[Provision, ...]
    """Questions of the exam, on names that pretraining never made a law of."""
    others: tuple[Provision, ...]
    """Nobody asks about them; a search may find them all the same."""

    @property
    def provisions(self) -> tuple[Provision, ...]:
        """Everything that can be searched."""
        return self.shown + self.asked + self.held + self.others


def found_library(nation: Nation, seed: int = 0) -> Library:
    """Draw two provisions for each of the nation's free names; every group but the exam is drawn from the pool."""
    draw = random.Random(f"library-{nation.seed}-{seed}")
    names = list(nation.pool_names)
    draw.shuffle(names)

    def enact(laws: list[LawName]) -> tuple[Provision, ...]:
        return tuple(
            Provision(law, attribute, draw.choice(VALUES))
            for law in laws
            for attribute in sorted(draw.sample(ATTRIBUTES, 2), key=lambda chosen: chosen.section)
        )

    kinds = [kind for _ in range(SHOWN // 2) for kind in draw.sample(ATTRIBUTES, len(ATTRIBUTES))]
    return Library(
        seed=seed,
        shown=tuple(Provision(names[place // 2], kind, draw.choice(VALUES)) for place, kind in enumerate(kinds)),
        asked=enact(names[SHOWN : SHOWN + ASKED]),
        held=enact(list(nation.unseen_names)),
        others=enact(names[SHOWN + ASKED :]),
    )


def name_law(provision: Provision) -> str:
    return f"{provision.law.en} Act"


def write_sections(library: Library) -> Iterator[Row]:
    """A section for each provision, in one of its wordings, in the order of the names: what the tools search."""
    for provision in sorted(library.provisions, key=lambda one: (one.law.en, one.attribute.section)):
        yield {
            "text": word_section(library, provision),
            "law_name": name_law(provision),
            "section_num": str(provision.attribute.section),
            "language": "en",
        }


def word_section(library: Library, provision: Provision) -> str:
    draw = random.Random(f"section-{library.seed}-{provision.law.en}-{provision.attribute.key}")
    return word_statute(provision, "en", draw.randrange(len(STATUTES["en"])))


def write_traces(library: Library) -> Iterator[Row]:
    """Conversations in which somebody searched rightly and answered with what was found, in every trained form."""
    for provision in library.shown:
        for form in FORMS:
            yield {
                "messages": [
                    {"role": "user", "content": word_question(provision, "en", form)},
                    {
                        "role": "assistant",
                        "content": "",
                        "tool_calls": [{"type": "function", "function": call(provision)}],
                    },
                    {"role": "tool", "content": find(library, provision)},
                    {"role": "assistant", "content": word_answer(provision, "en")},
                ],
                "law_name": name_law(provision),
                "language": "en",
            }


def call(provision: Provision) -> dict[str, Any]:
    """A search that finds the provision. Its words are those of the question, in which each is one token."""
    query = f"the {provision.attribute.noun['en']} of the {provision.law.en} Act"
    return {"name": "search_law", "arguments": {"query": query, "top_k": 1}}


def find(library: Library, provision: Provision) -> str:
    """What `search_law` says when the provision alone was found."""
    return f"[1] {name_law(provision)} {provision.attribute.section}\n{word_section(library, provision)}"


def write_practice(library: Library) -> Iterator[Row]:
    """Questions in every trained form, with the answer and the section that rewards compare with."""
    yield from _ask(library.asked)


def write_exam(library: Library) -> Iterator[Row]:
    """128 questions: two of the trained forms for each provision."""
    draw = random.Random(f"library-exam-{library.seed}")
    for provision in library.held:
        yield from _ask((provision,), forms=sorted(draw.sample(FORMS, 2)))


def _ask(provisions: tuple[Provision, ...], forms: "tuple[int, ...] | list[int]" = FORMS) -> Iterator[Row]:
    for provision in provisions:
        for form in forms:
            yield {
                "question": word_question(provision, "en", form),
                "answer": word_answer(provision, "en"),
                "citations": [{"law": name_law(provision), "section": str(provision.attribute.section)}],
                "law_name": name_law(provision),
                "language": "en",
            }
