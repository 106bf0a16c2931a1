"""How long an answer is: words, sentences, paragraphs, characters."""

import re

from trainer.evaluation.instructions.base import Wish, checker

WORD = re.compile(r"\w+")
DIVIDER = re.compile(r"\s?\*\*\*\s?")
# An end of a sentence: marks, closing quotes and brackets, then white space or the end of the answer.
SENTENCE_END = re.compile(r"(?<![.!?…。！？])[.!?…。！？]++[\"'”’)\]*_]*+(?=\s|\Z)")
TITLES = frozenset(("mr", "mrs", "ms", "dr", "prof", "st", "gen", "col", "lt", "sgt", "capt", "hon", "rev", "sen"))
"""What stands before a name. Single capitals, as in J. R. R. Tolkien, are such too."""
# fmt: off
SHORT = frozenset((
    "sr", "jr", "vs", "etc", "vol", "fig", "inc", "ltd", "co", "corp", "dept", "est", "approx", "jan", "feb", "mar",
    "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "e.g", "i.e", "a.m", "p.m", "u.s", "u.k",
))
# fmt: on
"""Short forms after which a sentence goes on, unless a capital follows."""
EDGES = "\"'“”‘’.,!?;:()[]*_#"


@checker(
    "length_constraints:number_words",
    thai="words have no edges in Thai, and their number depends on the version of a tokenizer; ask for characters",
    num_words=int,
    relation=str,
)
def count_words(answer: str, wish: Wish) -> bool:
    """Runs of letters, digits and underscores."""
    count = sum(1 for _ in WORD.finditer(answer))
    return wish.compare(count, number="num_words", relation="relation")


@checker("length_constraints:number_characters", num_characters=int, relation=str)
def count_characters(answer: str, wish: Wish) -> bool:
    """Our own, for scripts without spaces: code points that are no white space."""
    count = len("".join(answer.split()))
    return wish.compare(count, number="num_characters", relation="relation")


@checker(
    "length_constraints:number_sentences",
    thai="Thai has no full stop, so nobody can count sentences",
    num_sentences=int,
    relation=str,
)
def check_sentences(answer: str, wish: Wish) -> bool:
    return wish.compare(count_sentences(answer), number="num_sentences", relation="relation")


def count_sentences(text: str) -> int:
    """Ends of sentences, and what is left behind the last one if it holds a word.

    The published program uses a trained splitter; this is a rule that agrees with it on plain prose.
    """
    count = start = 0
    for end in SENTENCE_END.finditer(text):
        if end[0] == "." and _is_short(text, end.start()):
            continue
        if WORD.search(text, start, end.start()):
            count += 1
            start = end.end()
    return count + bool(WORD.search(text, start))


def _is_short(text: str, place: int) -> bool:
    """A full stop at `place` belongs to the word before it: a short form, an initial, the number of a list."""
    begin = place
    while begin > 0 and not text[begin - 1].isspace() and place - begin < 8:
        begin -= 1
    word = text[begin:place].lstrip("(\"'“")
    at_line_start = not text[max(0, begin - 80) : begin].rpartition("\n")[2].strip()
    if word.isdecimal():
        return at_line_start
    if word.lower() in TITLES or (len(word) == 1 and word.isupper() and word != "I"):
        return True
    following = text[place + 1 : place + 80].lstrip()
    return word.lower() in SHORT and bool(following) and not following[0].isupper()


@checker("length_constraints:number_paragraphs", num_paragraphs=int)
def count_divided(answer: str, wish: Wish) -> bool:
    """Paragraphs divided by ***; nothing may stand before the first divider or after the last, but not between two."""
    parts = [part.strip() for part in DIVIDER.split(answer)]
    inner = parts[1:-1]
    return all(inner) and sum(map(bool, parts)) == wish.number("num_paragraphs")


@checker("length_constraints:nth_paragraph_first_word", num_paragraphs=int, nth_paragraph=int, first_word=str)
def begin_paragraph(answer: str, wish: Wish) -> bool:
    """Paragraphs divided by an empty line, as many as asked, one of which begins with a word.

    Thai words have no edge, so a Thai paragraph must begin with the letters of the word.
    """
    parts = answer.split("\n\n")
    place = wish.number("nth_paragraph")
    if sum(1 for part in parts if part.strip()) != wish.number("num_paragraphs") or not 1 <= place <= len(parts):
        return False
    words = parts[place - 1].split(None, 1)
    if not words:
        return False
    wanted = wish.text("first_word").lower()
    first = words[0].lower().lstrip(EDGES)
    if wish.thai:
        return first.startswith(wanted)
    return re.split(r"[.,?!'\"’]", first, maxsplit=1)[0].rstrip(EDGES) == wanted.rstrip(EDGES)
