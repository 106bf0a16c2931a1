"""A stored rollout as the messages of a conversation.

The prompt is read as the policy saw it where its template is ChatML, which tells turns apart; else as the dataset's row
has it. What the policy wrote stays as it wrote it, calls of tools included.
"""

import re
from typing import Any

from chanote.datasets.models import DatasetVersion
from chanote.datasets.storage import StoreError, open_rows
from chanote.review.sifting import CONTROL
from chanote.web.numbers import read_key
from trainer.contract.rollouts import StoredRollout

Message = dict[str, Any]
TURN = re.compile(r"<\|im_start\|>(system|user|assistant|tool)\n(.*?)(?:<\|im_end\|>\s*|\Z)", re.DOTALL)
ANSWERS = re.compile(r"<tool_response>\n?(.*?)\n?</tool_response>", re.DOTALL)


class Unspoken(ValueError):
    """No conversation can be made of the rollout; one sentence that follows its name."""


def read_conversation(rollout: StoredRollout, version: DatasetVersion | None) -> list[Message]:
    """The prompt and what followed. Raises Unspoken."""
    return [*read_prompt(rollout, version), *read_turns(rollout)]


def read_prompt(rollout: StoredRollout, version: DatasetVersion | None) -> list[Message]:
    """The messages before the first turn of the policy; `version` holds its row. Raises Unspoken."""
    messages = parse_chatml("".join(rollout.prompt)) or _read_row(rollout.row, version)
    if not messages:
        raise Unspoken("has a prompt that is no conversation, and its dataset's row cannot be read")
    return messages


def parse_chatml(text: str) -> list[Message]:
    """Turns of a ChatML text that opens the assistant's turn at its end; nothing for any other text."""
    turns = list(TURN.finditer(text))
    whole = "".join(turn[0] for turn in turns) == text
    if not whole or not turns or turns[-1][1] != "assistant" or turns[-1][2].strip():
        return []
    return [{"role": turn[1], "content": turn[2]} for turn in turns[:-1]]


def _read_row(name: str, version: DatasetVersion | None) -> list[Message]:
    """Messages of a row named `name@version#12`, rows counted from 0."""
    number = read_key(name.rpartition("#")[2])
    if version is None or number is None:
        return []
    try:
        row = next(iter(open_rows(version, number, number + 1)), None)
    except (StoreError, OSError):
        return []
    if row is None:
        return []
    if isinstance(row.get("question"), str):
        return [{"role": "user", "content": row["question"]}]
    messages = list(row.get("messages") or [])
    while messages and messages[-1].get("role") == "assistant":
        messages.pop()
    return messages


def read_turns(rollout: StoredRollout) -> list[Message]:
    """What the policy wrote, and between its turns what its tools answered. Raises Unspoken where it said nothing."""
    spans = rollout.turns or [(0, len(rollout.tokens))]
    if not rollout.turns:
        written = [CONTROL.sub("", rollout.text).strip()]
    else:
        written = [CONTROL.sub("", "".join(rollout.tokens[start:end])).strip() for start, end in spans]
    messages: list[Message] = []
    for place, text in enumerate(written):
        if not text:
            raise Unspoken("has an empty turn, which no conversation takes")
        messages.append({"role": "assistant", "content": text})
        if place + 1 < len(spans):
            between = "".join(rollout.tokens[spans[place][1] : spans[place + 1][0]])
            messages += [{"role": "tool", "content": answer} for answer in split_answers(between)]
    return messages


def split_answers(between: str) -> list[str]:
    """What each tool answered. Where an answer holds the marks of one itself, all stay together: nothing is lost."""
    rest = CONTROL.sub("", ANSWERS.sub("", between)).split()
    if set(rest) <= {"user", "assistant", "tool"} and (answers := ANSWERS.findall(between)):
        return list(answers)
    return [CONTROL.sub("", between).strip()]
