"""Rows as people read them: passages with their language, cut where they are long, hits of a search marked."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

CUT = 1200
"""Characters of a passage that are shown at once; the rest unfolds."""
SCRIPTS = (
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
    ("lo", re.compile(r"[\u0e80-\u0eff]")),
    ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("zh", re.compile(r"[\u4e00-\u9fff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
)
TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*\Z")
SPEAKERS = {
    "system": ("System", "server"),
    "user": ("User", "user"),
    "assistant": ("Assistant", "models"),
    "tool": ("Tool", "tools"),
}
Pieces = list[tuple[str, bool]]
"""Text in parts, each with whether it is a hit."""


@dataclass(frozen=True)
class Passage:
    label: str
    icon: str
    pieces: Pieces
    rest: Pieces
    language: str
    length: int
    note: str = ""


@dataclass(frozen=True)
class Option:
    letter: str
    passage: Passage
    right: bool


@dataclass
class RowView:
    number: int
    heading: str = ""
    heading_language: str = ""
    passages: list[Passage] = field(default_factory=list)
    options: list[Option] = field(default_factory=list)
    facts: list[tuple[str, str, str]] = field(default_factory=list)
    """Name, value and language of further fields."""
    marks: list[str] = field(default_factory=list)
    """Flags and labels."""


def view_row(kind: str, number: int, row: dict[str, Any], query: str = "") -> RowView:
    view = RowView(number)
    shown = VIEWS[kind](view, row, query)
    for name, value in row.items():
        if name == "curation" and isinstance(value, dict):
            view.marks = spell_row_marks(value)
        elif name not in shown:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            text = text if len(text) <= 300 else f"{text[:299]}…"
            view.facts.append((name, text, find_language(text)))
    return view


def spell_row_marks(marks: dict[str, Any]) -> list[str]:
    flags, labels = marks.get("flags"), marks.get("labels")
    words = [str(flag) for flag in flags] if isinstance(flags, list) else []
    return words + ([f"{name}: {value}" for name, value in labels.items()] if isinstance(labels, dict) else [])


def _view_chat(view: RowView, row: dict[str, Any], query: str) -> set[str]:
    for message in row["messages"]:
        label, icon = SPEAKERS[message["role"]]
        calls = message.get("tool_calls")
        text = message.get("content") or ""
        if calls:
            text = f"{text}\n{json.dumps(calls, ensure_ascii=False, indent=1)}".strip()
        view.passages.append(
            make_passage(label, icon, text, query, row.get("language"), note="calls tools" if calls else "")
        )
    return {"messages", "language"}


def _view_text(view: RowView, row: dict[str, Any], query: str) -> set[str]:
    section = row.get("section_num")
    view.heading = " · ".join(part for part in (row.get("law_name"), section and f"section {section}") if part)
    view.heading_language = find_language(row.get("law_name") or "", row.get("language"))
    view.passages.append(make_passage("Text", "recipes", row["text"], query, row.get("language")))
    return {"text", "law_name", "section_num", "language"}


def _view_prompt(view: RowView, row: dict[str, Any], query: str) -> set[str]:
    view.passages.append(make_passage("Question", "user", row["question"], query, row.get("language")))
    if row.get("answer") is not None:
        view.passages.append(make_passage("Answer", "check", row["answer"], query, row.get("language")))
    if row.get("citations"):
        cited = "\n".join(f"{one['law']} · {one['section']}" for one in row["citations"])
        view.passages.append(make_passage("Citations", "law", cited, query, row.get("language")))
    return {"question", "answer", "citations", "language"}


def _view_choices(view: RowView, row: dict[str, Any], query: str) -> set[str]:
    view.passages.append(make_passage("Question", "user", row["question"], query, row.get("language")))
    for place, text in enumerate(row["choices"]):
        passage = make_passage("", "", text, query, row.get("language"))
        letter = chr(ord("A") + place) if place < 26 else str(place)
        view.options.append(Option(letter, passage, place == row["answer"]))
    return {"question", "choices", "answer", "language"}


def _view_preference(view: RowView, row: dict[str, Any], query: str) -> set[str]:
    shown = _view_chat(view, row, query)
    for name, icon in (("chosen", "check"), ("rejected", "cross")):
        view.passages.append(make_passage(name.capitalize(), icon, row[name], query, row.get("language")))
    return {*shown, "chosen", "rejected"}


VIEWS = {
    "chat": _view_chat,
    "text": _view_text,
    "prompts": _view_prompt,
    "choices": _view_choices,
    "preferences": _view_preference,
}


def make_passage(label: str, icon: str, text: str, query: str, language: Any = "", note: str = "") -> Passage:
    pieces = mark_hits(text, query)
    shown, rest = cut_pieces(pieces, CUT)
    return Passage(label, icon, shown, rest, find_language(text, language), len(text), note)


def find_language(text: str, given: Any = "") -> str:
    """BCP 47 tag by the script of the first letters, since rows mix languages; else the tag the row gives."""
    start = text[:400]
    letters = sum(character.isalpha() for character in start) or 1
    for tag, script in SCRIPTS:
        if len(script.findall(start)) > letters * 0.25:
            return tag
    return given if isinstance(given, str) and TAG.match(given) else ""


def mark_hits(text: str, query: str) -> Pieces:
    if not query:
        return [(text, False)]
    parts = re.split(f"({re.escape(query)})", text, flags=re.IGNORECASE)
    return [(part, place % 2 == 1) for place, part in enumerate(parts) if part]


def cut_pieces(pieces: Pieces, length: int) -> tuple[Pieces, Pieces]:
    """The first `length` characters and the rest; a little more is shown rather than hide a few words."""
    total = sum(len(text) for text, _ in pieces)
    if total <= length * 1.2:
        return pieces, []
    shown: Pieces = []
    rest: Pieces = []
    left = length
    for text, hit in pieces:
        if left >= len(text):
            shown.append((text, hit))
        elif left > 0:
            shown.append((text[:left], hit))
            rest.append((text[left:], hit))
        else:
            rest.append((text, hit))
        left -= len(text)
    return shown, rest
