"""A row as a person edits it: its texts one by one, or the whole of it as JSON."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chanote.curation.operations import FIELD, Content
from chanote.curation.services import refuse
from chanote.datasets.row_views import find_language

READ_FIRST = ("messages", "question", "choices", "answer", "text", "chosen", "rejected")


@dataclass(frozen=True)
class Field:
    name: str
    """Of the form: the path to the text, such as `messages.1.content`."""
    label: str
    text: str
    language: str
    lines: int


def list_fields(content: Content) -> list[Field]:
    """The texts of a row with the paths that lead to them."""
    fields: list[Field] = []
    # What is read comes first, what is looked up after it.
    first = [name for name in READ_FIRST if name in content]
    content = {name: content[name] for name in (*first, *(name for name in content if name not in first))}
    for path, text in _walk(content, ()):
        if path[0] == FIELD:
            continue
        label = " ".join(f"{int(part) + 1}" if part.isdecimal() else part for part in path)
        if path[0] == "messages" and len(path) == 3:
            label = str(content["messages"][int(path[1])].get("role", label)).capitalize()
        lines = min(max(1 if len(text) < 60 else 2, len(text) // 90 + text.count("\n") + 1), 18)
        fields.append(Field(".".join(path), label, text, find_language(text), lines))
    return fields


def _walk(value: Any, path: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        if path and path[-1] != "role":
            yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            if "." not in name:
                yield from _walk(inner, (*path, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _walk(inner, (*path, str(place)))


def read_fields(content: Content, sent: Mapping[str, str]) -> Content:
    """The row with the texts that were sent in place of its own."""
    changed = copy.deepcopy(content)
    for field in list_fields(content):
        key = f"text.{field.name}"
        if key not in sent:
            continue
        # A browser sends every line break as two characters.
        text = sent[key].replace("\r\n", "\n")
        if text == field.text.replace("\r\n", "\n"):
            continue
        *path, last = field.name.split(".")
        holder: Any = changed
        for part in path:
            holder = holder[int(part)] if isinstance(holder, list) else holder[part]
        holder[int(last) if isinstance(holder, list) else last] = text
    return changed


def list_sent(sent: Mapping[str, str]) -> list[Field]:
    """The texts of a form as they were sent, to be shown again beside what is wrong with them."""
    return [
        Field(name.removeprefix("text."), name.split(".")[-1], text, find_language(text), 6)
        for name, text in sent.items()
        if name.startswith("text.")
    ]


def read_json_rows(text: str) -> list[Any]:
    """Rows that were written as JSON, one after the other. Raises CurationRefused with the line."""
    rows = []
    decoder = json.JSONDecoder()
    text = text.strip()
    place = 0
    while place < len(text):
        try:
            row, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            line = text.count("\n", 0, getattr(error, "pos", place)) + 1
            raise refuse("content", f"Line {line} is no JSON: {getattr(error, 'msg', 'too deep')}.") from error
        rows.append(row)
        while place < len(text) and text[place] in " \n\r\t,":
            place += 1
    if not rows:
        raise refuse("content", "Nothing is written; a row is a JSON object.")
    return rows


def spell_json(contents: list[Content]) -> str:
    return "\n\n".join(json.dumps(one, ensure_ascii=False, indent=1) for one in contents)


def propose_split(content: Content) -> list[Content]:
    """A text at its empty lines, a conversation after each answer; else the row twice, to be cut by hand."""
    text = content.get("text")
    if isinstance(text, str) and len(parts := [part.strip() for part in text.split("\n\n") if part.strip()]) > 1:
        return [{**content, "text": part} for part in parts]
    turns = content.get("messages")
    if isinstance(turns, list) and "chosen" not in content:
        opening = [turn for turn in turns[:1] if turn.get("role") == "system"]
        groups: list[list[Any]] = [[]]
        for turn in turns[len(opening) :]:
            if groups[-1] and groups[-1][-1].get("role") == "assistant" and turn.get("role") == "user":
                groups.append([])
            groups[-1].append(turn)
        if len(groups) > 1:
            return [{**content, "messages": [*opening, *group]} for group in groups]
    return [content, content]


def propose_merge(contents: list[Content]) -> Content:
    """Texts one below the other, conversations one after the other; of anything else the first row."""
    first = contents[0]
    if all(isinstance(one.get("text"), str) for one in contents):
        return {**first, "text": "\n\n".join(one["text"] for one in contents)}
    if all(isinstance(one.get("messages"), list) for one in contents) and "chosen" not in first:
        turns = list(first["messages"])
        for one in contents[1:]:
            turns += [turn for turn in one["messages"] if turn.get("role") != "system"]
        return {**first, "messages": turns}
    return first
