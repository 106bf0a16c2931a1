"""Text as questions with their answers: by exact templates, or written by a model and held to the text."""

import json
import re
from collections.abc import Mapping
from typing import Any

from chanote.building.endpoint import Question, Reply
from chanote.building.knowledge.items import fold

TEMPLATES = {
    "th": "มาตรา {section} แห่ง{law}บัญญัติไว้ว่าอย่างไร",
    "en": "What does section {section} of the {law} provide?",
    "de": "Was bestimmt § {section} {law}?",
}
LANGUAGES = {"th": "Thai", "en": "English", "de": "German"}
SHORTEST_EVIDENCE = 12
"""Letters of a quotation below which it proves nothing."""
ASKING = """\
You make study questions from a passage of text. Write {count} questions in {language} that the passage answers, each \
understandable without the passage: name the law, the place or the thing that it is about. Give each a complete answer \
in {language}, and as evidence a stretch of the passage that proves the answer, copied letter by letter.

Reply with a JSON list and nothing else:
[{{"question": "...", "answer": "...", "evidence": "..."}}]

Passage{about}:
<passage>
{text}
</passage>"""


class BadReply(Exception):
    """A reply that holds no questions; a short sentence."""


def fill_template(row: Mapping[str, Any], language: str) -> dict[str, str] | None:
    """The question whose answer is the row's own text; None for text that is no section of a law."""
    law, section = row.get("law_name"), row.get("section_num")
    if not law or not section:
        return None
    return {"question": TEMPLATES[language].format(law=law, section=section), "answer": str(row["text"])}


def ask_for_questions(row: Mapping[str, Any], *, count: int, language: str) -> Question:
    parts = [str(row[name]) for name in ("law_name", "section_num", "title") if row.get(name)]
    about = f" ({', '.join(parts)})" if parts else ""
    content = ASKING.format(count=count, language=LANGUAGES[language], about=about, text=row["text"])
    return Question(messages=({"role": "user", "content": content},), temperature=0.3, max_tokens=400 * count + 200)


def read_questions(reply: Reply) -> list[dict[str, str]]:
    """The questions of a reply, whatever stands around the list. Raises BadReply."""
    start, end = reply.text.find("["), reply.text.rfind("]")
    if start < 0 or end < start:
        raise BadReply("The reply was cut off." if reply.cut else "The reply holds no list of questions.")
    try:
        listed = json.loads(reply.text[start : end + 1])
    except (ValueError, RecursionError):
        raise BadReply("The reply was cut off." if reply.cut else "The list in the reply is no JSON.") from None
    return [
        {name: one[name].strip() for name in ("question", "answer", "evidence")}
        for one in listed
        if isinstance(one, dict) and all(isinstance(one.get(name), str) for name in ("question", "answer", "evidence"))
    ]


def find_fault(written: Mapping[str, str], text: str, *, language: str) -> str:
    """Why a written question cannot stay; empty when it can."""
    if not written["question"] or not written["answer"]:
        return "a question or an answer is empty"
    evidence = fold(written["evidence"])
    if len(evidence) < SHORTEST_EVIDENCE:
        return "the evidence is too short to prove anything"
    if evidence not in fold(text):
        return "the evidence does not stand in the text"
    if language == "th" and not re.search("[\u0e01-\u0e4e]", written["question"]):
        return "the question is not in the language that was asked for"
    return ""


def put_together(question: str, answer: str) -> str:
    """Question and answer as one text to read."""
    return f"{question}\n{answer}"
