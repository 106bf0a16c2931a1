"""The program in an answer: its last fenced block of Python."""

import re

_FENCE = re.compile(r" {0,3}(`{3,})([^`]*)")
_PYTHON = {"", "python", "python3", "py"}


def last_program(text: str, *, cut: bool) -> str | None:
    """The content of the last fenced block whose language is Python or not named; None where there is none.

    A fence is a line of three or more backticks, at most three blanks before them; it ends at a line of at least as
    many and nothing else. Blocks of other languages are passed over whole. A block that never ends counts, its end may
    have been a stop string, unless the text was cut.
    """
    program: str | None = None
    opened, language = "", ""
    content: list[str] = []
    for line in text.split("\n"):
        fence = _FENCE.fullmatch(line.rstrip())
        if not opened:
            if fence:
                opened, language, content = fence[1], _name_language(fence[2]), []
        elif fence and not fence[2].strip() and len(fence[1]) >= len(opened):
            if language in _PYTHON:
                program = _join(content)
            opened = ""
        else:
            content.append(line)
    if opened and not cut and language in _PYTHON:
        program = _join(content)
    return program


def _name_language(words: str) -> str:
    """The first word after a fence: `python title="x"` and `{.python}` are Python."""
    first = words.split()[0] if words.split() else ""
    return first.strip("{}.").casefold()


def _join(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
