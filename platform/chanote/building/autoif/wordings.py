"""How a constraint is put to the assistant: in the user's turn beside the question, or as the system's message."""

import random
import re

Language = str
"""`th` or `en`."""

USER: dict[Language, tuple[str, ...]] = {
    "th": (
        "{question}\n\n{constraint}",
        "{constraint}\n\n{question}",
        "{question} {constraint}",
        "{question}\n\nเงื่อนไขของคำตอบ: {constraint}",
        "ช่วยตอบคำถามนี้โดยทำตามเงื่อนไขด้วย\nคำถาม: {question}\nเงื่อนไข: {constraint}",
        "{question}\n\nเวลาตอบขอให้ทำตามนี้: {constraint}",
        "มีข้อกำหนดหนึ่งข้อสำหรับคำตอบ คือ {constraint}\n\nคำถามคือ {question}",
        "[ข้อกำหนด] {constraint}\n[คำถาม] {question}",
    ),
    "en": (
        "{question}\n\n{constraint}",
        "{constraint}\n\n{question}",
        "{question} {constraint}",
        "{question}\n\nCondition for the answer: {constraint}",
        "Please answer the question and keep to the condition.\nQuestion: {question}\nCondition: {constraint}",
        "{question}\n\nWhen you answer, do this: {constraint}",
        "There is one rule for your answer: {constraint}\n\nThe question is: {question}",
        "[Rule] {constraint}\n[Question] {question}",
    ),
}
SYSTEM: dict[Language, tuple[str, ...]] = {
    "th": (
        "{constraint}",
        "คุณเป็นผู้ช่วยที่ทำตามข้อกำหนดอย่างเคร่งครัด ข้อกำหนด: {constraint}",
        "ในทุกคำตอบให้ทำตามนี้: {constraint}",
        "กติกาของบทสนทนานี้: {constraint}",
        "ก่อนตอบให้ตรวจว่าคำตอบเป็นไปตามข้อนี้: {constraint}",
        "คุณคือผู้ช่วยที่เป็นประโยชน์\n\nรูปแบบของคำตอบ: {constraint}",
    ),
    "en": (
        "{constraint}",
        "You are an assistant that keeps strictly to its rules. Rule: {constraint}",
        "In every answer, do this: {constraint}",
        "Rules of this conversation: {constraint}",
        "Before you answer, make sure that the answer obeys this: {constraint}",
        "You are a helpful assistant.\n\nForm of the answer: {constraint}",
    ),
}
PLACE = re.compile(r"\{([a-z]+)\}")
ANSWER_IN_THAI = {"th": "ตอบเป็นภาษาไทย", "en": "Answer in Thai."}


def fill(wording: str, **values: str) -> str:
    """Put values into their places once: a brace in a value is a brace."""
    return PLACE.sub(lambda found: values[found[1]], wording)


def write_messages(
    question: str, constraint: str, *, language: Language, as_system: bool, draw: random.Random
) -> list[dict[str, str]]:
    """The turns before the answer, in one of the wordings of the constraint's language."""
    wording = draw.choice((SYSTEM if as_system else USER)[language])
    filled = fill(wording, question=question, constraint=constraint)
    if as_system:
        return [{"role": "system", "content": filled}, {"role": "user", "content": question}]
    return [{"role": "user", "content": filled}]
