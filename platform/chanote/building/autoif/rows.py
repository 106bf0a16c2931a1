"""Step 9: rows for supervised training, half with the constraint in the user's turn, half as the system's message.

A share of them comes a second time with the constraint in the other language: Thai to English and English to Thai. What
stands in quotes, and every number, must be the same in the translation; it is asked for again where it is not, and the
second row is left out where it never is.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from chanote.building.autoif import quality
from chanote.building.autoif.constraints import QUOTED
from chanote.building.autoif.languages import name_language
from chanote.building.autoif.quality import DIGITS
from chanote.building.autoif.replies import drop_thoughts
from chanote.building.autoif.wordings import ANSWER_IN_THAI, write_messages
from chanote.building.autoif.work import AutoIf
from chanote.building.endpoint import Question
from chanote.building.funnel import Dropped, Item, Kept, Outcome, Step

STEP = Step("9-rows", "Rows in both languages", "rows")
ATTEMPTS = 3
LONGEST = 1000
OTHER = {"th": "en", "en": "th"}
ASKED = {
    "en": "Translate this instruction from Thai into English. Keep everything that stands in quotation marks exactly "
    "as it is, with its marks, and keep every number in digits. Write the translation and nothing else.\n\n{text}",
    "th": "แปลคำสั่งต่อไปนี้จากภาษาอังกฤษเป็นภาษาไทย ข้อความในเครื่องหมายคำพูดให้คงไว้ตามเดิมทุกตัวอักษรพร้อมเครื่องหมาย "
    "และคงตัวเลขทุกตัวไว้เป็นตัวเลข เขียนเฉพาะคำแปล\n\n{text}",
}
NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)*")
NO_TRANSLATION = "the constraint could not be translated with its quotes and numbers"


def write_rows(autoif: AutoIf) -> Iterator[Outcome]:
    items = autoif.items(quality.STEP)
    draw = autoif.draw("rows")
    draw.shuffle(items)
    crossing = set(draw.sample(range(len(items)), round(autoif.config.cross_lingual * len(items))))
    translations = _translate(autoif, [items[place]["constraint"] for place in sorted(crossing)])
    written = 0
    for place, item in enumerate(items):
        constraint = item["constraint"]
        versions = [(constraint["text"], constraint["language"], False)]
        if place in crossing:
            translated, fault = translations[constraint["id"]]
            if translated:
                versions.append((translated, OTHER[constraint["language"]], True))
            else:
                told = {"id": item["id"], "constraint": constraint["text"]}
                yield Dropped(told, NO_TRANSLATION, fault, part=True)
        for text, language, crossed in versions:
            # By turns, so that as many are of one form as of the other.
            row = _write_row(autoif, item, text, language, as_system=written % 2 == 1, place=written)
            written += 1
            yield Kept({"row": {**row, "crossed": crossed}, "source": item["source"]})


def _write_row(
    autoif: AutoIf, item: Item, constraint: str, language: str, *, as_system: bool, place: int
) -> dict[str, Any]:
    draw = autoif.draw(f"wording {place}")
    said = constraint
    if autoif.config.answer_language == "th" and item["language"] != "th":
        said = f"{constraint} {ANSWER_IN_THAI[language]}"
    messages = write_messages(item["question"], said, language=language, as_system=as_system, draw=draw)
    return {
        "messages": [*messages, {"role": "assistant", "content": item["answer"]}],
        "constraint": constraint,
        "constraint_language": language,
        "question_language": item["language"],
        "question_row": item["row"],
        "pair": item["id"],
        "functions_passed": item["functions_passed"],
        "functions": item["functions"],
        "quality": item["quality"],
    }


def _translate(autoif: AutoIf, constraints: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Each constraint once: its translation, or an empty text and what was wrong with the last attempt."""
    each = {constraint["id"]: constraint for constraint in constraints}
    found: dict[str, tuple[str, str]] = {}
    asked = ((constraint, _ask(autoif, constraint, 0)) for constraint in each.values())
    for constraint, reply in autoif.ask_each(autoif.teacher, asked):
        for sample in range(ATTEMPTS):
            if sample:
                again = _ask(autoif, constraint, sample)
                reply = autoif.teacher.ask(again, leave_if_asked=autoif.leave_if_asked)
            text = drop_thoughts(reply.text)
            fault = reply.fault or find_loss(constraint["text"], text, OTHER[constraint["language"]])
            found[constraint["id"]] = ("" if fault else text, fault)
            if not fault:
                break
    return found


def _ask(autoif: AutoIf, constraint: dict[str, Any], sample: int) -> Question:
    text = ASKED[OTHER[constraint["language"]]].replace("{text}", constraint["text"])
    return autoif.question(text, sample=sample, temperature=0.7 if sample else 0.0, max_tokens=1024)


def find_loss(original: str, translated: str, language: str) -> str:
    """What a translation into `language` lost, as a sentence; empty where nothing is wrong."""
    if not 0 < len(translated) <= LONGEST:
        return "it is empty or too long"
    for quoted in QUOTED.findall(original):
        if quoted[1:-1] not in translated:
            return f"{quoted} is missing"
    kept, wanted = (Counter(NUMBER.findall(text.translate(DIGITS))) for text in (translated, original))
    if missing := wanted - kept:
        return f"the number {next(iter(missing))} is missing"
    if name_language(QUOTED.sub("", translated)) != language:
        return "it is in another language than was asked for"
    return ""
