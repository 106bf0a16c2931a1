"""Things that stand somewhere in an answer: placeholders, a postscript, a title, marks of format."""

import json
import re

from trainer.evaluation.instructions.base import Wish, checker

ITALIC = re.compile(r"\*([^\n*]*)\*")
BOLD = re.compile(r"\*\*([^\n*]*)\*\*")
POSTSCRIPTS = {"P.S.": re.compile(r"p\.\s?s\."), "P.P.S": re.compile(r"p\.\s?p\.\s?s")}
FENCES = ("```json", "```Json", "```JSON", "```")
ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


@checker("detectable_content:number_placeholders", num_placeholders=int)
def count_placeholders(answer: str, wish: Wish) -> bool:
    """[in square brackets], on one line."""
    count = 0
    for line in answer.split("\n"):
        begin = line.find("[")
        while begin >= 0 and (end := line.find("]", begin)) >= 0:
            count += 1
            begin = line.find("[", end)
    return count >= wish.number("num_placeholders")


@checker("detectable_content:postscript", postscript_marker=str)
def add_postscript(answer: str, wish: Wish) -> bool:
    """The marker stands somewhere; P. S. with a space passes. A Thai answer may write ป.ล. instead."""
    low, marker = answer.lower(), wish.text("postscript_marker")
    if wish.thai and re.search(r"ป\.\s?ล\.|ปล\.", low):
        return True
    known = POSTSCRIPTS.get(marker)
    return bool(known.search(low)) if known else marker.lower() in low


@checker("detectable_format:number_bullet_lists", num_bullets=int)
def count_bullets(answer: str, wish: Wish) -> bool:
    """Lines that begin with - or with one asterisk; exactly as many as asked."""
    lines = [line.lstrip() for line in answer.split("\n")]
    count = sum(line.startswith("-") or (line[:1] == "*" and len(line) > 1 and line[1] != "*") for line in lines)
    return count == wish.number("num_bullets")


@checker("detectable_format:constrained_response")
def choose_answer(answer: str, wish: Wish) -> bool:
    """One of three sentences, or of the row's own `options`, stands in the answer."""
    given = wish.values.get("options")
    options = [str(one) for one in given] if isinstance(given, list) and given else ANSWERS
    return any(option in answer for option in options)


@checker("detectable_format:number_highlighted_sections", num_highlights=int)
def count_highlights(answer: str, wish: Wish) -> bool:
    """*so* or **so**, with something between the asterisks, on one line."""
    found = [*ITALIC.findall(answer), *BOLD.findall(answer)]
    return sum(bool(text.strip()) for text in found) >= wish.number("num_highlights")


@checker("detectable_format:multiple_sections", section_spliter=str, num_sections=int)
def count_sections(answer: str, wish: Wish) -> bool:
    """The word that marks a section, with a number after it; at least as many as asked."""
    mark = re.compile(re.escape(wish.text("section_spliter").strip()) + r"\s?\d")
    return sum(1 for _ in mark.finditer(answer)) >= wish.number("num_sections")


@checker("detectable_format:json_format")
def write_json(answer: str, wish: Wish) -> bool:
    """The whole answer is JSON; a fence around it passes."""
    text = answer.strip()
    for fence in FENCES:
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


@checker("detectable_format:title")
def give_title(answer: str, wish: Wish) -> bool:
    """<<Between double angular brackets>>, on one line, with something in it."""
    for line in answer.split("\n"):
        begin, end = line.find("<<"), line.rfind(">>")
        if 0 <= begin < end and line[begin:end].strip("<> \t"):
            return True
    return False


@checker("punctuation:no_comma")
def avoid_commas(answer: str, wish: Wish) -> bool:
    return "," not in answer
