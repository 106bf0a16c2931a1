"""Steps of a build: what comes in, what is kept, what is dropped and why, on disk so that a restart goes on.

    directory/steps/<name>/kept.jsonl      items for the next step
    directory/steps/<name>/dropped.jsonl   {"reason": …, "detail": …, "item": …}
    directory/steps/<name>/done.json       counts; only it makes the step done

A step that was cut off begins anew. What it asked of an endpoint or of the sandbox is on disk, so it comes to the
same result and asks nothing twice.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Item = dict[str, Any]


@dataclass(frozen=True)
class Step:
    name: str
    """As folders and addresses have it."""
    title: str
    unit: str
    """What it counts, in the plural."""


@dataclass(frozen=True)
class Kept:
    item: Item


@dataclass(frozen=True)
class Dropped:
    """What is left out. `reason` is one of few sentences, so that they can be counted; `detail` is of this one."""

    item: Item
    reason: str
    detail: str = ""
    part: bool = False
    """A piece of an item, such as one reply of several: it is told, but the item itself may go on."""


Outcome = Kept | Dropped
Tell = Callable[[Step, dict[str, Any]], None]
"""Is told the counts of a step as they grow. May raise to end the work."""


class Funnel:
    def __init__(self, directory: Path, tell: Tell) -> None:
        self.directory, self.tell = directory / "steps", tell

    def run(self, step: Step, outcomes: Callable[[], Iterable[Outcome]], *, total: int = 0) -> int:
        """Do the step unless it is done; the number of items it kept. `total` items go in, 0 where none do."""
        counts = self.read_counts(step)
        if counts is None:
            counts = self._work(step, outcomes(), total)
        self.tell(step, counts)
        return int(counts["kept"])

    def _work(self, step: Step, outcomes: Iterable[Outcome], total: int) -> dict[str, Any]:
        folder = self.directory / step.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        kept = dropped = 0
        reasons: Counter[str] = Counter()
        parts: Counter[str] = Counter()

        def count(*, done: bool) -> dict[str, Any]:
            return {
                "in": total,
                "kept": kept,
                "dropped": dropped,
                "reasons": dict(reasons.most_common()),
                "parts": dict(parts.most_common()),
                "done": done,
            }

        with (folder / "kept.jsonl").open("w") as kept_file, (folder / "dropped.jsonl").open("w") as dropped_file:
            self.tell(step, count(done=False))
            for outcome in outcomes:
                if isinstance(outcome, Kept):
                    kept += 1
                    kept_file.write(write_line(outcome.item))
                else:
                    told = {"reason": outcome.reason, "detail": outcome.detail, "item": outcome.item}
                    dropped_file.write(write_line({**told, "part": True} if outcome.part else told))
                    (parts if outcome.part else reasons)[outcome.reason] += 1
                    dropped += not outcome.part
                self.tell(step, count(done=False))
        counts = count(done=True)
        partial = folder / "done.partial"
        partial.write_text(json.dumps(counts, ensure_ascii=False))
        partial.replace(folder / "done.json")
        return counts

    def read_counts(self, step: Step) -> dict[str, Any] | None:
        """None while the step is not done."""
        try:
            return dict(json.loads((self.directory / step.name / "done.json").read_text()))
        except FileNotFoundError:
            return None

    def explain_dropped(self, step: Step) -> str:
        """Why a step that is done dropped most: up to three reasons with their numbers, and the first detail."""
        counts = self.read_counts(step) or {}
        numbers = [*counts.get("parts", {}).items(), *counts.get("reasons", {}).items()]
        reasons = "; ".join(f"{reason} ({number:,})" for reason, number in numbers[:3])
        told = read_dropped(self.directory.parent, step.name)
        detail = next((one["detail"] for one in told if one["detail"]), "")
        return f"{reasons}, first: {detail}" if detail else reasons

    def read_kept(self, step: Step) -> Iterator[Item]:
        """Items that a step which is done has kept, in their order."""
        with (self.directory / step.name / "kept.jsonl").open() as file:
            for line in file:
                yield json.loads(line)


def write_line(item: Item) -> str:
    return json.dumps(item, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n"


def read_dropped(directory: Path, step: str) -> Iterator[Item]:
    """What a step has dropped so far; a last line that is being written waits."""
    try:
        file = (directory / "steps" / step / "dropped.jsonl").open()
    except FileNotFoundError:
        return
    with file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
