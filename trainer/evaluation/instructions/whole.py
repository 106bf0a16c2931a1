"""What the answer is as a whole: two answers, the request repeated, how it begins and ends."""

from trainer.evaluation.instructions.base import Wish, checker

BETWEEN = "******"


@checker("combination:two_responses")
def answer_twice(answer: str, wish: Wish) -> bool:
    """Two different answers with ****** between them; nothing may stand before the first divider or after the last."""
    parts = [part.strip() for part in answer.split(BETWEEN)]
    answers = [part for part in parts if part]
    return all(parts[1:-1]) and len(answers) == 2 and answers[0] != answers[1]


@checker("combination:repeat_prompt", prompt_to_repeat=str)
def repeat_request(answer: str, wish: Wish) -> bool:
    """The answer begins with the request; case does not count."""
    return answer.strip().lower().startswith(wish.text("prompt_to_repeat").strip().lower())


@checker("startend:end_checker", end_phrase=str)
def end_with_phrase(answer: str, wish: Wish) -> bool:
    """A closing quotation mark after the phrase passes; case does not count."""
    return answer.strip().strip('"').lower().endswith(wish.text("end_phrase").strip().lower())


@checker("startend:quotation")
def wrap_in_quotes(answer: str, wish: Wish) -> bool:
    text = answer.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'
