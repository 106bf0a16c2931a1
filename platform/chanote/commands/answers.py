"""What a command says: JSON for programs, a small table for people; and how it ends when it cannot."""

import json
import sys
from collections.abc import Sequence
from typing import Any

DONE, FAILED, USAGE, NOT_FOUND, REFUSED, MACHINE = range(6)


class CommandEnd(Exception):
    """The command stops with a sentence for the person and a code for the program."""

    def __init__(self, message: str, code: int, problems: Sequence[dict[str, str]] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.problems = list(problems)


def print_answer(answer: Any, *, as_json: bool) -> None:
    """Print a dict as lines of `key  value`, a list of dicts as a table, anything else as it is.

    A table leaves out columns of dicts: they are for programs, which ask for JSON.
    """
    if as_json:
        print(json.dumps(answer, ensure_ascii=False, indent=2, default=str))
    elif isinstance(answer, dict):
        width = max((len(key) for key in answer), default=0)
        for key, value in answer.items():
            # The name of a metric is to be copied, not read.
            print(f"{key if '/' in key else key.replace('_', ' '):<{width}}  {_cell(value)}")
    elif isinstance(answer, list):
        _print_table(answer)
    elif answer is not None:
        print(answer)


def print_end(end: CommandEnd, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": str(end), "problems": end.problems}, ensure_ascii=False, indent=2))
        return
    print(f"chanote: {end}", file=sys.stderr)
    for problem in end.problems:
        if not problem["field"] and problem["message"] == str(end):
            continue
        print(f"  {problem['field'] + ': ' if problem['field'] else ''}{problem['message']}", file=sys.stderr)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _print_table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        print("Nothing yet.")
        return
    names = [name for name in rows[0] if not any(isinstance(row.get(name), dict) for row in rows)]
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    for line in [[name.replace("_", " ") for name in names], *cells]:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
