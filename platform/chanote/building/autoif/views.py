"""Thai is written without spaces between words and without full stops: the same text seen in three ways.

A function that a model wrote with English in mind counts words by spaces and sentences by full stops. It can judge
Thai if the text is cut for it first (views), and if its own cuts are changed to fit (`adapt`). Nothing says that this
helps a given function: the cross-validation tries each form on each view and takes what proves itself.
"""

import os
import re
from functools import cache, lru_cache
from typing import Any, Literal, get_args

View = Literal["raw", "sentences", "words"]
VIEWS: tuple[View, ...] = get_args(View)
MARKS = r"\u0E31\u0E34-\u0E3A\u0E47-\u0E4E"
"""Thai signs above and below, which Python's `\\w` does not take for a part of a word."""
THAI = re.compile(r"[\u0E01-\u0E4E]")
LONGEST = 20_000
"""Characters that are cut into words and sentences; a longer text is only seen as it is."""

REWRITES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"""\.split\(\s*(['"])\.\s?\1\s*\)"""), r'.split("\\n")'),
    (re.compile(r"""\.split\(\s*(['"])\\n\\n\1\s*\)"""), r'.split("\\n")'),
    (re.compile(r"""re\.split\(\s*r?(['"])(?:\(\?<=)?\[[^'"\]]*[.!?][^'"\]]*\][^'"]*\1\s*,"""), r're.split(r"\\n+",'),
    (re.compile(r"""re\.split\(\s*r?(['"])\\n\\s\*\\n\+?\1\s*,"""), r're.split(r"\\n+",'),
    (re.compile(r"(?<!\[)\\w\+"), rf"[\\w{MARKS}]+".replace("\\u", r"\\u")),
)
"""Cuts at full stops and empty lines become cuts at line ends, which the view of sentences has; words take marks in."""


@lru_cache(maxsize=4096)
def see(text: str, view: View) -> str:
    """A text as a view shows it; one without Thai is the same in each."""
    if view == "raw" or not THAI.search(text) or len(text) > LONGEST:
        return text
    sent_tokenize, word_tokenize = _load_cutters()
    # The safe cutter, since a model may write what takes the usual one for ever.
    lines = []
    for line in text.splitlines():
        if view == "words":
            lines.append(" ".join(word_tokenize(line, engine="newmm-safe", keep_whitespace=False)))
        elif line.strip():
            sentences = map(str, sent_tokenize(line, engine="crfcut"))
            lines.extend(sentence.strip() for sentence in sentences if sentence.strip())
    return "\n".join(lines)


@cache
def _load_cutters() -> tuple[Any, Any]:
    """Takes a second, which a web server need not spend. Nothing is fetched and nothing is written."""
    os.environ.setdefault("PYTHAINLP_READ_ONLY", "1")
    os.environ.setdefault("PYTHAINLP_OFFLINE", "1")
    from pythainlp.tokenize import sent_tokenize, word_tokenize

    return sent_tokenize, word_tokenize


def adapt(source: str) -> str:
    """The source with cuts that fit Thai; the same source where it has none to change."""
    for pattern, written in REWRITES:
        source = pattern.sub(written, source)
    return source
