"""Step 4: the endpoint says in a sentence what each kept function checks, without seeing the constraint.

One question for each function. Asking for a list of sentences, as the published code does, loses a constraint whenever
the list has another length.
"""

from collections.abc import Iterator

from chanote.building.autoif import crosschecks
from chanote.building.autoif.constraints import NO_REPLY
from chanote.building.autoif.replies import drop_thoughts
from chanote.building.autoif.work import AutoIf
from chanote.building.endpoint import Question
from chanote.building.funnel import Dropped, Item, Kept, Outcome, Step

STEP = Step("4-back-translation", "Functions said in words", "constraints")
LONGEST = 1000
"""Characters of a sentence."""
ASKED = {
    "th": "ฟังก์ชัน Python ต่อไปนี้ตรวจว่าคำตอบทำตามข้อกำหนดข้อหนึ่งหรือไม่\n\n```python\n{source}\n```\n\n"
    "เขียนข้อกำหนดนั้นเป็นคำสั่งภาษาไทยประโยคเดียวสำหรับผู้เขียนคำตอบ ไม่ต้องมีคำอธิบาย",
    "en": "This Python function checks whether an answer obeys a constraint.\n\n```python\n{source}\n```\n\n"
    "Write that constraint as one sentence in English that instructs the writer of the answer. Write nothing else.",
}
UNSAID = "the endpoint said of too few functions what they check"
NO_SENTENCE = "the endpoint gave no usable sentence"


def translate_back(autoif: AutoIf) -> Iterator[Outcome]:
    said: list[dict[str, object]] = []
    for (item, place), reply in autoif.ask_each(autoif.teacher, _list_questions(autoif)):
        if place == 0:
            said = []
        function = item["functions"][place]
        sentence = drop_thoughts(reply.text)
        if reply.fault or reply.cut or not 0 < len(sentence) <= LONGEST:
            told = {"id": item["id"], "text": item["text"], "function": function["source"]}
            yield Dropped(told, NO_REPLY if reply.fault else NO_SENTENCE, reply.fault, part=True)
        else:
            said.append({**function, "sentence": sentence})
        if place == len(item["functions"]) - 1:
            kept = {**item, "functions": said}
            enough = len(said) >= autoif.config.min_functions
            yield Kept(kept) if enough else Dropped({"id": item["id"], "text": item["text"]}, UNSAID)


def _list_questions(autoif: AutoIf) -> Iterator[tuple[tuple[Item, int], Question]]:
    for item in autoif.funnel.read_kept(crosschecks.STEP):
        for place, function in enumerate(item["functions"]):
            text = ASKED[item["language"]].format(source=function["source"])
            yield (item, place), autoif.question(text, temperature=0.0, max_tokens=1024)
