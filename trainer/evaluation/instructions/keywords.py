"""Words and letters that an answer must or must not hold."""

import re

from trainer.evaluation.instructions.base import Wish, checker


@checker("keywords:existence", keywords=list)
def hold_keywords(answer: str, wish: Wish) -> bool:
    """Every one stands somewhere, also inside a word; case does not count."""
    low = answer.lower()
    return all(word.lower() in low for word in wish.texts("keywords"))


@checker("keywords:frequency", keyword=str, frequency=int, relation=str)
def repeat_keyword(answer: str, wish: Wish) -> bool:
    """Found without overlaps, also inside words."""
    count = answer.lower().count(wish.text("keyword").lower())
    return wish.compare(count, number="frequency", relation="relation")


@checker("keywords:forbidden_words", forbidden_words=list)
def avoid_words(answer: str, wish: Wish) -> bool:
    """As whole words; in Thai, which has no edges of words, anywhere."""
    if wish.thai:
        return not any(word in answer for word in wish.texts("forbidden_words"))
    words = [rf"\b{re.escape(word)}\b" for word in wish.texts("forbidden_words")]
    return not any(re.search(word, answer, re.IGNORECASE) for word in words)


@checker("keywords:letter_frequency", letter=str, let_frequency=int, let_relation=str)
def repeat_letter(answer: str, wish: Wish) -> bool:
    """Any character may be asked for; of letters, case does not count."""
    count = answer.lower().count(wish.text("letter").lower())
    return wish.compare(count, number="let_frequency", relation="let_relation")
