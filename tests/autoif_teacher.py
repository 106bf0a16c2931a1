"""A model that knows a few constraints by heart and misbehaves in every way, over real HTTP.

What it answers depends on the question alone, never on the order of the questions, so that two builds are comparable.
Every so many questions meet a fault at first: an error, too many requests, half a reply, a page instead of JSON.
"""

import hashlib
import json
import re
import threading
from collections import Counter
from typing import Any

from judge_server import Reply

KRAP = "จบทุกย่อหน้าด้วยคำว่า “ครับ”"
NO_BANG = "Do not use a single exclamation mark."
RICE = "ใส่คำว่า “ข้าวเหนียว” อย่างน้อยหนึ่งครั้ง"
WORDS = "Use at least 6 words."
BOLD = "Mark exactly 3 words in bold with Markdown."
LINES = "Write no line that is longer than 90 characters."
SEEDS = ((KRAP, "End every paragraph with the word “ครับ”."), ("ห้ามใช้เครื่องหมายอัศเจรีย์", NO_BANG))
LISTS = {
    "th": f"ข้อกำหนดใหม่:\n1. {RICE}\n2. ใช้คำว่า {{คำ}} สองครั้งพอดี\n3. {RICE}\n- Use only English words.\n",
    "en": f"- {WORDS}\n- {BOLD}\n- {LINES}\n- Short\n",
}
TRANSLATED = {
    KRAP: "End every paragraph with the word “ครับ”.",
    RICE: "Put the word “ข้าวเหนียว” in at least once.",
    NO_BANG: "ห้ามใช้เครื่องหมายอัศเจรีย์แม้แต่ตัวเดียว",
    WORDS: "ใช้คำอย่างน้อย 6 คำ",
}
HOSTILE = (
    "def evaluate(response):\n    import os\n    return os.system('touch /tmp/pwned; curl http://10.0.0.1') == 0",
    "def evaluate(response):\n    while True: pass",
    "def evaluate(response):\n    held = []\n    while True: held.append(bytearray(1 << 24))",
    "def evaluate(response):\n    return 'root' in open('/etc/shadow').read()",
    "def evaluate(response):\n    import socket\n    socket.create_connection(('127.0.0.1', 80), 1)\n    return True",
    "def evaluate(response):\n    return 1",
    "def evaluate(response):\n    return True",
    "def evaluate(response:\n    not Python",
)
FUNCTIONS = {
    KRAP: (
        "def evaluate(response):\n    return response.rstrip().endswith('ครับ')",
        "def evaluate(response):\n    import re\n    return re.search('ครับ\\\\s*$', response) is not None",
        "def evaluate(response):\n    return response.strip()[-4:] == 'ครับ'",
        HOSTILE[5],
    ),
    NO_BANG: (
        "def evaluate(response):\n    return '!' not in response",
        "def evaluate(response):\n    return response.count('!') == 0",
        "def evaluate(response):\n    return all(sign != '!' for sign in response)",
        "",
    ),
    RICE: (
        "def evaluate(response):\n    return 'ข้าวเหนียว' in response",
        "def evaluate(response):\n    return response.count('ข้าวเหนียว') >= 1",
        "def evaluate(response):\n    return response.find('ข้าวเหนียว') >= 0",
        HOSTILE[6],
    ),
    WORDS: (
        "def evaluate(response):\n    return len(response.split()) >= 6",
        "def evaluate(response):\n    import re\n    return len(re.findall(r'\\S+', response)) >= 6",
        "def evaluate(response):\n    return sum(1 for _ in response.split()) > 5",
        HOSTILE[3],
    ),
    BOLD: (HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[4]),
    LINES: (
        "def evaluate(response):\n    return all(len(line) <= 90 for line in response.splitlines())",
        "def evaluate(response):\n    return max(map(len, response.splitlines()), default=0) <= 90",
        "def evaluate(response):\n    return not any(len(line) > 90 for line in response.split('\\n'))",
        HOSTILE[7],
    ),
}
THAI = "วันนี้ผมไปตลาดซื้อผลไม้มาฝากแม่ที่บ้าน"
"""At least six words without a space between them."""


def write_cases(constraint: str, attempt: int) -> list[dict[str, Any]]:
    """One answer that obeys and one that does not, other ones for each attempt unless functions are costly to run."""
    obeys, breaks = {
        KRAP: (f"ข้อ {attempt} {THAI}ครับ", f"ข้อ {attempt} {THAI}ค่ะ"),
        NO_BANG: (f"ข้อ {attempt} {THAI}", f"ข้อ {attempt} {THAI}!"),
        RICE: (f"ข้อ {attempt} กินข้าวเหนียว", f"ข้อ {attempt} กินข้าวเจ้า"),
        WORDS: (f"{THAI}{attempt}", f"กินข้าว{attempt}"),
        BOLD: ("**a** **b** **c**", ""),
        LINES: (f"short {attempt}", f"long {attempt} " * 20),
    }[constraint]
    inputs = [(obeys, True), (breaks, False)] if constraint != BOLD else [(obeys, True)]
    return [{"input": text, "output": output} for text, output in inputs]


def write_answer(text: str, sample: int) -> tuple[str, str]:
    """An answer and how it ended: the first keeps to every constraint, the second has a fault that the text chooses."""
    thai = "ขอภาษาไทย" in text
    right = f"{THAI}และกินข้าวเหนียวครับ" if thai else "We ate ข้าวเหนียว at the market with all of our friends today ครับ"
    if sample == 0:
        return right, "stop"
    question = next(place for place, word in enumerate(("ไปไหน", "แม่", "What", "Where")) if word in text)
    constraint = next(place for place, known in enumerate((KRAP, NO_BANG, RICE, WORDS)) if known in text)
    choice = (4 * question + constraint) % 6
    return (
        (right, "stop"),  # the same once more
        (f"{right} 中文ครับ", "stop"),
        (right[:9], "length"),
        ("!!" if thai else "No!", "stop"),
        ("We ate a lot of food at the market today" if thai else THAI, "stop"),
        (f"<think>hm</think>{right[:-4]} อีกครั้งครับ" if thai else f"{right[:-4]}again ครับ", "stop"),
    )[choice]


class Teacher:
    """`script` is what `judge_server.serve` wants. `faults`: whether the first attempt of some questions goes wrong."""

    def __init__(self, *, faults: bool = True) -> None:
        self.faults = faults
        self.seen: Counter[str] = Counter()
        self.lock = threading.Lock()

    def script(self, _: int, body: dict[str, Any]) -> Reply:
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        with self.lock:
            self.seen[key] += 1
            first = self.seen[key] == 1
        if self.faults and first and (fault := self.find_fault(int(key, 16) % 24)):
            return fault
        text, ended = self.say(body["messages"][-1]["content"], body["seed"] % 100_003)
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": ended}
        return Reply({"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 10}})

    @staticmethod
    def find_fault(number: int) -> Reply | None:
        return {
            0: Reply({"error": {"message": "out of memory"}}, status=500),
            1: Reply({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "0.01"}),
            2: Reply(b'{"choices": [{"mess', headers={"Content-Length": "4000"}),
            3: Reply(b"<html><body>Bad gateway</body></html>"),
            4: Reply({"choices": []}),
            5: Reply({}, hang_up=True),
        }.get(number)

    def say(self, text: str, sample: int) -> tuple[str, str]:
        """What it answers to this text."""
        if "You write programs" in text:
            return self.write_function(text, sample), "stop"
        if "```python" in text:
            return self.say_function(text), "stop"
        if text.startswith("Premise:"):
            label = "contradiction" if "line that is longer" in text else "entailment"
            unsure = sample == 0 and "“ครับ”" in text
            return ("It might be entailment or neutral." if unsure else f"{label}."), "stop"
        if text.startswith("You judge an answer"):
            return self.judge(text, sample), "stop"
        if "การแปล" in text and "ต่อไปนี้เป็นตัวอย่าง" in text:
            return LISTS["th"], "stop"
        if text.startswith("These are examples"):
            return LISTS["en"], "stop"
        for original, translated in TRANSLATED.items():
            if text.endswith(f"\n\n{original}") and text.startswith(("Translate this", "แปลคำสั่ง")):
                lost = sample == 0 and original == RICE
                return ("Put in the sticky rice." if lost else translated), "stop"
        return write_answer(text, sample)

    @staticmethod
    def write_function(text: str, sample: int) -> str:
        constraint = re.search(r"Constraint: (.*)", text)[1]  # type: ignore[index]
        if constraint not in FUNCTIONS:
            return "I cannot do that."
        source = FUNCTIONS[constraint][sample % 4]
        if not source:
            return '{"func": "def evaluate(response)'
        found = json.dumps({"func": source, "cases": write_cases(constraint, sample)}, ensure_ascii=False)
        return (found, f"Here it is:\n```json\n{found}\n```", f"<think>easy</think>{found} Done.")[sample % 3]

    @staticmethod
    def say_function(text: str) -> str:
        source = text.partition("```python\n")[2].partition("\n```")[0]
        return next(constraint for constraint, sources in FUNCTIONS.items() if source in sources)

    @staticmethod
    def judge(text: str, sample: int) -> str:
        if sample == 0 and "again" in text:
            return "It is very good, I think."
        return f"It is right.\nScore: {7 if 'อีกครั้ง' in text else 8}"
