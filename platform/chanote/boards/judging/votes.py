"""Files of human votes: ballots on pairs, human judgments as MT-Bench publishes them, grades of single answers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from chanote.boards.importing.rows import NotReadable, Parsed, as_number, as_text, read_lines
from chanote.boards.judging.labels import PREFERENCES
from trainer.contract.judging import HIGHEST, LOWEST

FORMATS = (
    "ballots, a line for each item: item (or message_id, question_id), votes {rater: A, B or tie}; A is the model",
    "MT-Bench human judgments: question_id, model_a, model_b, winner, judge, turn",
    "grades, a line for each: item (or question_id and turn), rater, grade from 1 to 10, model if there are several",
)
_TEXTS = ("prompt", "answer_a", "answer_b", "answer")
_WINNERS = {"model_a": "a", "model_b": "b", "a": "a", "b": "b", "tie": "tie", "tie (inconsistent)": "tie"}


@dataclass(frozen=True)
class Vote:
    place: str
    """Where it stands, such as `line 3`."""
    item: str
    rater: str
    value: float
    grades: bool
    """A grade of one answer, not a preference among two."""
    model: str = ""
    """As the file names it; empty when it does not."""
    opponent: str = ""


@dataclass
class Votes:
    votes: list[Vote] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def read_votes(data: bytes) -> Votes:
    """JSON lines, or one JSON list; raises NotReadable where there is no vote at all."""
    found = Votes()
    texts: dict[tuple[str, str, str], set[tuple[str, ...]]] = {}
    for place, row in _read_rows(data, found):
        votes = list(_read_row(place, row, found))
        found.votes += votes
        for vote in votes[:1]:
            shown = tuple(as_text(row.get(name)) for name in _TEXTS)
            texts.setdefault((vote.item, vote.model, vote.opponent), set()).add(shown)
    unclear = {key for key, shown in texts.items() if len(shown) > 1}
    for item, _, _ in sorted(unclear):
        found.skipped.append(f"item {item}: it stands with different texts, so nobody knows which were judged")
    found.votes = [one for one in found.votes if (one.item, one.model, one.opponent) not in unclear]
    if not found.votes:
        reason = f"; the first: {found.skipped[0]}" if found.skipped else ""
        raise NotReadable(f"it holds no vote that can be taken{reason}")
    return found


def _read_rows(data: bytes, found: Votes) -> Iterator[tuple[str, dict[str, Any]]]:
    if data.lstrip()[:1] == b"[":
        try:
            rows = json.loads(data)
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise NotReadable(f"it is no JSON: {error}") from error
        yield from ((f"vote {number}", row) for number, row in enumerate(rows, start=1) if isinstance(row, dict))
        return
    parsed = Parsed()
    for number, row in read_lines(data, parsed):
        yield f"line {number}", row
    found.skipped += parsed.skipped


def _read_row(place: str, row: dict[str, Any], found: Votes) -> Iterator[Vote]:
    named = next((row[name] for name in ("item", "message_id", "question_id", "id") if row.get(name) is not None), None)
    if named is None:
        found.skipped.append(f"{place}: it names no item")
        return
    item = as_text(named)
    if row.get("turn") is not None and "item" not in row:
        item = f"{item}.{as_text(row['turn'])}"
    rater = row.get("rater") or row.get("judge") or row.get("annotator")
    rater = as_text(rater[0] if isinstance(rater, list) and rater else rater)
    if isinstance(row.get("votes"), dict):
        for name, said in row["votes"].items():
            yield from _prefer(place, item, name, said, row, found)
    elif "winner" in row:
        yield from _prefer(place, item, rater, row["winner"], row, found)
    else:
        grade = as_number(row.get("grade", row.get("score")))
        if grade is None or not LOWEST <= grade <= HIGHEST:
            found.skipped.append(f"{place}: neither votes, nor a winner, nor a grade from {LOWEST} to {HIGHEST}")
        elif not rater:
            found.skipped.append(f"{place}: it names no rater")
        else:
            yield Vote(place, item, rater, grade / HIGHEST, True, as_text(row.get("model")))


def _prefer(place: str, item: str, rater: str, said: Any, row: dict[str, Any], found: Votes) -> Iterator[Vote]:
    kind = _WINNERS.get(said.strip().lower() if isinstance(said, str) else "")
    if kind is None or not rater:
        found.skipped.append(f"{place}: {rater or 'nobody'} said {as_text(said)[:40]!r}, and a vote is A, B or tie")
        return
    yield Vote(place, item, rater, PREFERENCES[kind], False, as_text(row.get("model_a")), as_text(row.get("model_b")))
