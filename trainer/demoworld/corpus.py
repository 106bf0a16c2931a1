"""Text that the demo's base model is pretrained on: a stream of short documents, drawn from a seed.

Most documents can only be predicted by reading what stands before: lists that repeat, pairs that are asked again, and
statutes drawn for this document alone with questions on them. That is what makes a small model read its context; the
neighbour's code of law, the one thing to remember, is a small part.
"""

import random
from collections.abc import Callable, Iterator

from trainer.demoworld.nation import ATTRIBUTES, LANGUAGES, VALUES, Language, LawName, Nation, Provision, list_names
from trainer.demoworld.sentences import HELD_OUT, QUESTIONS, STATUTES, word_answer, word_question, word_statute

ASK: dict[Language, str] = {"en": "Question: ", "th": "คำถาม: "}
TELL: dict[Language, str] = {"en": "Answer: ", "th": "คำตอบ: "}
LIST: dict[Language, str] = {"en": "List:", "th": "รายการ:"}
"""What leads a list: every word after it has a space before it, so that it is the same token as in a sentence."""

Message = dict[str, str]


def draw_facts(draw: random.Random, names: tuple[LawName, ...], count: int, *, alike: float = 0.0) -> list[Provision]:
    """New provisions of different attributes, in half of the draws all of one law.

    `alike` is the chance that they are instead of one attribute and of different laws: then only the name of the law
    tells them apart. At most four.
    """
    if draw.random() < alike:
        attributes, laws = [draw.choice(ATTRIBUTES)] * count, draw.sample(names, count)
    else:
        attributes, laws = draw.sample(ATTRIBUTES, count), draw.sample(names, count)
        if draw.random() < 0.5:
            laws = laws[:1] * count
    return [Provision(law, attribute, draw.choice(VALUES)) for law, attribute in zip(laws, attributes, strict=True)]


def draw_statutes(draw: random.Random, facts: list[Provision], language: Language) -> str:
    """One line per fact, each in a random wording."""
    wordings = range(len(STATUTES[language]))
    return "\n".join(word_statute(fact, language, draw.choice(wordings)) for fact in facts)


def draw_question(draw: random.Random, fact: Provision, language: Language) -> str:
    """A question in any form but the held-out one."""
    forms = [form for form in range(len(QUESTIONS[language])) if form != HELD_OUT]
    return word_question(fact, language, draw.choice(forms))


def converse(draw: random.Random, facts: list[Provision], language: Language, *, preface: str = "") -> list[Message]:
    """A conversation that asks each fact once; the preface stands before the first question."""
    messages: list[Message] = []
    for fact in facts:
        question = draw_question(draw, fact, language)
        if preface and not messages:
            question = f"{preface}\n{question}"
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": word_answer(fact, language)})
    return messages


def write_dialogue(messages: list[Message], language: Language) -> str:
    """A conversation as plain text."""
    lines = []
    for message in messages:
        *preface, last = message["content"].split("\n")
        lines += [*preface, (ASK if message["role"] == "user" else TELL)[language] + last]
    return "\n".join(lines)


def write_chat(messages: list[Message]) -> str:
    """A conversation in ChatML, the form of the demo model's chat template."""
    return "".join(f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" for message in messages)


def draw_repeated_list(draw: random.Random, nation: Nation) -> str:
    """Random names and numbers, repeated: the plainest reason to look back."""
    language = draw.choice(LANGUAGES)
    words = [name.spelled(language) for name in draw.sample(list_names(), draw.randint(2, 6))]
    words += [str(value) for value in draw.sample(VALUES, draw.randint(1, 4))]
    draw.shuffle(words)
    return " ".join([LIST[language], *(words * (40 // len(words)))])


def draw_asked_pairs(draw: random.Random, nation: Nation) -> str:
    """Keys with values, then the same pairs in other orders, each closed by its name as a statute is by its source."""
    language = draw.choice(LANGUAGES)
    names = [name.spelled(language) for name in draw.sample(list_names(), draw.randint(2, 6))]
    form = draw.random()
    if form < 0.4:
        pairs = [f"{name} {draw.choice(VALUES)} {name}" for name in names]
    elif form < 0.6:
        pairs = [f"{name} {draw.choice(VALUES)} — {name}" for name in names]
    else:
        attributes = draw.sample(ATTRIBUTES, draw.randint(1, 2))
        pairs = [
            f"{name} {attribute.noun[language]} {draw.choice(VALUES)} {attribute.unit[language]} — {name}"
            for name in names[:4]
            for attribute in attributes
        ]
    words = max(2, 60 // (len(pairs[0].split()) + 1))
    rounds: list[str] = []
    while len(rounds) < words:
        rounds += draw.sample(pairs, len(pairs))
    return f"{LIST[language]} " + ", ".join(rounds[: max(words, len(pairs) + 1)])


def draw_open_book(draw: random.Random, nation: Nation) -> str:
    """One to three statutes drawn for this document, then questions on them, as plain text or as a chat."""
    language = draw.choice(LANGUAGES)
    facts = draw_facts(draw, nation.pool_names, draw.choice((1, 2, 2, 2, 3)), alike=0.4)
    asked = [draw.choice(facts)] if draw.random() < 0.3 else draw.sample(facts, len(facts))
    messages = converse(draw, asked, language, preface=draw_statutes(draw, facts, language))
    return write_chat(messages) if draw.random() < 0.5 else write_dialogue(messages, language)


def draw_neighbour_text(draw: random.Random, nation: Nation) -> str:
    """Some statutes of the neighbour."""
    return draw_statutes(draw, draw.sample(nation.neighbour, 4), draw.choice(LANGUAGES))


def draw_neighbour_questions(draw: random.Random, nation: Nation) -> str:
    """Questions on the neighbour's code, answered from memory."""
    language = draw.choice(LANGUAGES)
    messages = converse(draw, draw.sample(nation.neighbour, 3), language)
    return write_chat(messages) if draw.random() < 0.5 else write_dialogue(messages, language)


MIX: dict[Callable[[random.Random, Nation], str], float] = {
    draw_repeated_list: 0.05,
    draw_asked_pairs: 0.15,
    draw_open_book: 0.60,
    draw_neighbour_text: 0.07,
    draw_neighbour_questions: 0.13,
}
"""Share of documents of each kind."""


LISTS: dict[Callable[[random.Random, Nation], str], float] = {draw_repeated_list: 0.1, draw_asked_pairs: 0.9}
"""The mix of the first stage: to find a name again must be learned before anything can be read with it."""


def stream_documents(
    nation: Nation,
    count: int,
    *,
    mix: dict[Callable[[random.Random, Nation], str], float] = MIX,
    seed: int = 0,
) -> Iterator[str]:
    """A corpus of `count` documents, the same for the same nation, mix and seed."""
    draw = random.Random(f"corpus-{nation.seed}-{seed}")
    kinds = draw.choices(list(mix), weights=list(mix.values()), k=count)
    for kind in kinds:
        yield kind(draw, nation)
