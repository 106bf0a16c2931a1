"""The token ids between a policy's turns, as its chat template writes them.

A conversation is never decoded and tokenised anew: the next prompt is the ids so far, those that were sampled, and the
ids of what the template puts between them and the policy's next turn. That text does not depend on what the policy
wrote, so it is read off the template around a placeholder. A template that writes earlier turns differently once later
ones follow would show the policy another history than the one it wrote; such a one is refused.
"""

import re
from collections.abc import Sequence
from typing import Any

from trainer.data.chat import Message, RenderChat
from trainer.data.templates import chat_renderer
from trainer.failures import InvalidSpec

WRITTEN = "⟨turn⟩"
"""Stands for what the policy wrote."""
THOUGHT = "<think>\nwhy\n</think>\n\n"


class TurnWriter:
    """Tool turns for one tokenizer and one set of tools."""

    def __init__(self, tokenizer: Any, tools: Sequence[dict[str, Any]]) -> None:
        """Raises InvalidSpec for a template that cannot write tools, or not in one history."""
        self.tokenizer = tokenizer
        self._render = chat_renderer(tokenizer, list(tools) or None)
        self._marks = find_marks(tokenizer)
        self._turn_end = self._find_turn_end()
        self._check_history()

    def between(self, answers: Sequence[str], *, ended: bool) -> list[int]:
        """Ids from the end of a turn with calls to the beginning of the next; `answers` of the tools in call order.

        `ended`: whether the policy sampled the token that ends its turn, which is else put first.
        """
        text = self._after_turn(answers)
        if ended:
            text = text.removeprefix(self._turn_end)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _after_turn(self, answers: Sequence[str]) -> str:
        """Tokens that mean something to the policy, such as the end of a turn, mean nothing in what a tool says."""
        plain = [break_marks(answer, self._marks) for answer in answers]
        asked = _render(self._render, [_user("question")])
        text = _render(self._render, [_user("question"), _turn(WRITTEN), *map(_answer, plain)])
        return text[text.index(WRITTEN, len(asked)) + len(WRITTEN) :]

    def _find_turn_end(self) -> str:
        """The text of the token that ends a turn of the policy."""
        after = self._after_turn(["answer"])
        first = self.tokenizer(after, add_special_tokens=False)["input_ids"][:1]
        text: str = self.tokenizer.decode(first, skip_special_tokens=False)
        if not after.startswith(text) or not set(first) <= set(self.tokenizer.all_special_ids):
            raise InvalidSpec(
                "recipe.base: the chat template ends a turn of the policy by no special token, so nobody can say where "
                "a turn with tool calls ends; choose a model with another template."
            )
        return text

    def _check_history(self) -> None:
        rounds: list[Message] = [_user("question")]
        wanted = ""
        for number in range(3):
            text = _render(self._render, rounds)
            if not text.startswith(wanted):
                raise InvalidSpec(
                    "recipe.base: the chat template writes a turn with tool calls and its thoughts differently once "
                    "later turns follow, so the policy would be trained on another history than the one it is shown; "
                    "choose a model whose template keeps earlier turns as they are."
                )
            turn = f"{THOUGHT}{WRITTEN}{number}"
            wanted = text + turn
            rounds += [_turn(turn), _answer(f"answer {number}")]


def find_marks(tokenizer: Any) -> re.Pattern[str]:
    """Finds the tokens that mean something to a policy beside their text."""
    return re.compile("|".join(map(re.escape, sorted(tokenizer.all_special_tokens, key=len, reverse=True))) or r"(?!)")


def break_marks(text: str, marks: re.Pattern[str]) -> str:
    """The text without any of them: a space behind the first letter makes them text like other text."""
    return marks.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _turn(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _answer(text: str) -> Message:
    return {"role": "tool", "content": text}


def _render(render: RenderChat, messages: Sequence[Message]) -> str:
    try:
        return render(messages, True)
    except ValueError as error:
        raise InvalidSpec(
            f"recipe.base: {error}; an episode with tools needs a template that writes tools and their answers."
        ) from error
