"""Step 1: constraints on the form of an answer, from our seeds and from the endpoint.

A seed is worded in Thai or in English, by turns, so that both are equally many. Each call shows a few seeds of one
language and asks for new ones in it. The order is that of the calls: nothing depends on the order of a set.
"""

import re
import unicodedata
from collections.abc import Iterator

from chanote.building.autoif.languages import name_language
from chanote.building.autoif.replies import list_lines
from chanote.building.autoif.seeds import SEEDS
from chanote.building.autoif.work import AutoIf
from chanote.building.endpoint import Question
from chanote.building.funnel import Dropped, Kept, Outcome, Step

STEP = Step("1-constraints", "Constraints from seeds", "constraints")
SHOWN = 8
"""Seeds in one prompt."""
SHORTEST, LONGEST = 8, 300
"""Characters of a constraint."""
TEMPERATURE = 0.7
PLACEHOLDER = re.compile(r"\{[^{}\"'“”]*\}|<[a-zA-Z_ ]+>|\[(?:N|X|number|word|จำนวน|คำ)\]")
QUOTED = re.compile(r"“[^”]*”|\"[^\"]*\"|‘[^’]*’|`[^`]*`|「[^」]*」")
SIGNS = re.compile(r"[\s.!]+")
ASKED = {
    "th": (
        "ต่อไปนี้เป็นตัวอย่างข้อกำหนดเกี่ยวกับรูปแบบของคำตอบ โปรแกรม Python สั้น ๆ ตรวจได้ว่าคำตอบทำตามหรือไม่:\n\n{seeds}\n\n"
        "เขียนข้อกำหนดใหม่เป็นภาษาไทย {count} ข้อ บรรทัดละหนึ่งข้อ ไม่ต้องมีคำนำหรือคำอธิบาย ทุกข้อต้องเป็นเรื่องรูปแบบเท่านั้น "
        "(ไม่ใช่น้ำเสียง ความถูกต้อง หรือการแปล) ใช้ได้กับคำถามใดก็ได้ ตรวจได้จากข้อความของคำตอบอย่างเดียว "
        "มีตัวเลขและคำที่แน่นอนแทนช่องว่างให้เติม และไม่ซ้ำกับตัวอย่าง"
    ),
    "en": (
        "These are examples of constraints on the form of an answer. A short Python program can tell whether an answer "
        "obeys each of them:\n\n{seeds}\n\nWrite {count} new constraints in English, one on each line, with no word "
        "before or after them. Each must be about form alone (not tone, truth or translation), must fit any question, "
        "must be decidable from the text of the answer, must name its numbers and words instead of leaving gaps to "
        "fill, and must differ from the examples. Some should fit answers in Thai in particular."
    ),
}
NO_REPLY = "the endpoint gave no reply"
HOLDS_GAP = "holds a gap to fill"
BAD_LENGTH = "too short or too long"
WRONG_LANGUAGE = "not in the language that was asked for"
SAID_BEFORE = "said before"


def find_constraints(autoif: AutoIf) -> Iterator[Outcome]:
    config = autoif.config
    wanted: list[str] = ["th", "en"] if config.languages == "both" else [config.languages]
    known: set[str] = set()
    number = 0
    for place, wordings in enumerate(SEEDS):
        language = wanted[place % len(wanted)]
        text = wordings[language == "en"]
        known.add(normalise(text))
        number += 1
        yield Kept({"id": f"c{number:05}", "text": text, "language": language, "origin": "seed"})
    for (call, language), reply in autoif.ask_each(autoif.teacher, _list_calls(autoif, wanted)):
        if reply.fault:
            yield Dropped({"call": call, "language": language}, NO_REPLY, reply.fault, part=True)
            continue
        # The last line of an answer that was cut off is half a sentence.
        lines = list_lines(reply.text)[: -1 if reply.cut else None]
        for text in lines:
            if reason := _find_fault(text, language, known):
                yield Dropped({"text": text, "language": language, "call": call}, reason)
                continue
            known.add(normalise(text))
            number += 1
            yield Kept({"id": f"c{number:05}", "text": text, "language": language, "origin": f"call {call}"})


def _list_calls(autoif: AutoIf, wanted: list[str]) -> Iterator[tuple[tuple[int, str], Question]]:
    for call in range(autoif.config.constraint_calls):
        language = wanted[call % len(wanted)]
        seeds = [wordings[language == "en"] for wordings in autoif.draw(f"seeds {call}").sample(SEEDS, SHOWN)]
        listed = "\n".join(f"- {seed}" for seed in seeds)
        text = ASKED[language].format(seeds=listed, count=autoif.config.constraints_per_call)
        yield (call, language), autoif.question(text, sample=call, temperature=TEMPERATURE, max_tokens=4096)


def _find_fault(text: str, language: str, known: set[str]) -> str:
    if not SHORTEST <= len(text) <= LONGEST:
        return BAD_LENGTH
    if PLACEHOLDER.search(text):
        return HOLDS_GAP
    if name_language(QUOTED.sub("", text)) != language:
        return WRONG_LANGUAGE
    return SAID_BEFORE if normalise(text) in known else ""


def normalise(text: str) -> str:
    """The same for two spellings of one sentence."""
    return SIGNS.sub(" ", unicodedata.normalize("NFC", text)).strip().casefold()
