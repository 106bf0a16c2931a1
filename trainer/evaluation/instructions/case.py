"""Capitals and small letters. Thai has neither."""

import re

from trainer.evaluation.instructions.base import Wish, checker
from trainer.evaluation.instructions.language import is_written_in

NO_CASE = "Thai has no capital letters"
WORD = re.compile(r"[^\W_]+(?:[-.][^\W_]+)*")


@checker("change_case:english_capital", thai=NO_CASE)
def write_capitals(answer: str, wish: Wish) -> bool:
    """Every letter that has a case is a capital, and the language is English."""
    return answer.isupper() and is_written_in(answer, "en")


@checker("change_case:english_lowercase", thai=NO_CASE)
def write_small(answer: str, wish: Wish) -> bool:
    return answer.islower() and is_written_in(answer, "en")


@checker("change_case:capital_word_frequency", thai=NO_CASE, capital_frequency=int, capital_relation=str)
def count_capital_words(answer: str, wish: Wish) -> bool:
    """Words all of whose letters are capitals, such as I, NASA and U-TURN."""
    count = sum(word[0].isupper() for word in WORD.finditer(answer))
    return wish.compare(count, number="capital_frequency", relation="capital_relation")
