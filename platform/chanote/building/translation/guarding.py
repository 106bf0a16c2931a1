"""What a translation must keep: code, addresses, placeholders, quoted strings, numbers.

All but the numbers are taken out before the text is sent, each replaced by a mark ⟦1⟧, and put back afterwards. A mark
that is missing, doubled or invented is a loss. Numbers stay in the text, since grammar needs them; afterwards each must
be there, in whatever digits and with whatever separators.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from itertools import chain

MARK = re.compile("⟦\\s*([0-9]{1,6})\\s*⟧")
ESCAPED = "⟦⟧"
_GUARDS = (
    ("code block", re.compile(r"^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)[`~]*[ \t]*$", re.DOTALL | re.MULTILINE)),
    ("code block", re.compile(r"^(?:`{3,}|~{3,}).*\Z", re.DOTALL | re.MULTILINE)),
    ("code", re.compile(r"(?P<tick>`+)(?!`).+?(?<!`)(?P=tick)(?!`)")),
    ("formula", re.compile(r"\$\$.+?\$\$|\\\(.+?\\\)|\\\[.+?\\\]", re.DOTALL)),
    ("address", re.compile(r"\b(?:https?|ftp)://[^\s<>\"'”’⟦⟧]*[^\s<>\"'”’⟦⟧.,;:!?)\]}]|\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    ("placeholder", re.compile(
        r"\{\{[^{}\n]{0,80}\}\}|\$\{[^{}\n]{1,80}\}|\{[A-Za-z_0-9][\w.\[\]:-]{0,79}\}|\{\}|"
        r"%\([A-Za-z_]\w*\)[sdifr]|%[sdif](?![A-Za-z])|</?[A-Za-z][^<>\n]{0,200}>|\[[A-Z][A-Z0-9_]{1,39}\]|"
        r"\$[A-Z_][A-Z0-9_]+\b"
    )),
)  # fmt: skip
_QUOTES = re.compile(
    r"“[^“”\n]{1,200}”|«[^«»\n]{1,200}»|„[^„“”\n]{1,200}[“”]|「[^「」\n]{1,200}」|"
    r"(?<![\w\"])\"(?=\S)[^\"\n]{1,200}(?<=\S)\"(?![\w\"])|(?<![\w'])'(?=\S)[^'\n]{1,200}(?<=\S)'(?![\w'])"
)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True)
class Guarded:
    """A text with marks in place of what must not change."""

    text: str
    kept: tuple[tuple[str, str], ...]
    """(kind, string) by mark, the first being ⟦1⟧."""

    @property
    def is_bare(self) -> bool:
        """Nothing is left to translate: no letter stands outside of the marks."""
        return not any(character.isalpha() for character in MARK.sub("", self.text))


def guard(text: str, *, quotes: bool = True) -> Guarded:
    """Take out what must not change; with `quotes` quoted strings too."""
    kept: list[tuple[str, str]] = []
    # A text that has such marks of its own keeps them as any other string that must not change.
    guards = [("mark", re.compile(f"[{ESCAPED}]")), *_GUARDS, *([("quoted string", _QUOTES)] if quotes else [])]
    parts: list[str | int] = [text]
    for kind, pattern in guards:
        cut: list[str | int] = []
        for part in parts:
            cut += [part] if isinstance(part, int) else _take_out(part, kind, pattern, kept)
        parts = cut
    # Marks are numbered in the order in which they stand, which is easier to keep than any other.
    order = [part for part in parts if isinstance(part, int)]
    numbers = {place: number for number, place in enumerate(order, 1)}
    marked = "".join(f"⟦{numbers[part]}⟧" if isinstance(part, int) else part for part in parts)
    return Guarded(marked, tuple(kept[place] for place in order))


def restore(translated: str, guarded: Guarded) -> str:
    """The translation with everything put back; only after `find_losses` found none."""
    return MARK.sub(lambda found: guarded.kept[int(found[1]) - 1][1], translated)


def find_losses(translated: str, guarded: Guarded) -> list[str]:
    """What the translation lost, doubled or made up, each in a few words that begin with its kind."""
    given = Counter(int(found) for found in MARK.findall(translated))
    losses = []
    for number, (kind, string) in enumerate(guarded.kept, 1):
        if given[number] != 1:
            losses.append(f"{kind} {'lost' if not given[number] else 'doubled'}: {_shorten(string)} (⟦{number}⟧)")
    if invented := sorted(set(given) - set(range(1, len(guarded.kept) + 1))):
        losses.append(f"mark made up: ⟦{invented[0]}⟧")
    if "⟦" in MARK.sub("", translated) or "⟧" in MARK.sub("", translated):
        losses.append("mark broken: a bracket stands alone")
    wanted, found = list_numbers(guarded.text), list_numbers(translated)
    losses += [f"number lost: {number}" for number in (wanted - found)]
    return losses


def list_numbers(text: str) -> Counter[str]:
    """Numbers in digits 0 to 9, without separators: 1,000.50 and ๑.๐๐๐,๕๐ are the same. Marks are no numbers."""
    digits = "".join(str(unicodedata.digit(one, one)) if one.isdecimal() else one for one in MARK.sub(" ", text))
    return Counter(re.sub("[.,]", "", found) for found in _NUMBER.findall(digits))


def name_kind(loss: str) -> str:
    """The kind of a loss, such as `code block lost`, for counting."""
    return loss.partition(":")[0]


def _take_out(text: str, kind: str, pattern: re.Pattern[str], kept: list[tuple[str, str]]) -> list[str | int]:
    parts: list[str | int] = []
    end = 0
    for found in pattern.finditer(text):
        parts += [text[end : found.start()], len(kept)]
        kept.append((kind, found[0]))
        end = found.end()
    return list(chain(parts, [text[end:]]))


def _shorten(string: str) -> str:
    one_line = " ".join(string.split())
    return one_line if len(one_line) <= 40 else f"{one_line[:37]}…"
