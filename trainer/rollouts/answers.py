"""Answers that rows give, in the form of rollouts that nobody sampled."""

from collections.abc import Sequence
from typing import Any

from trainer.data.chat import Message, render_answer
from trainer.data.rows import Row
from trainer.data.templates import chat_renderer
from trainer.rollouts.prompts import Prompt
from trainer.rollouts.rollout import Rollout
from trainer.sampling.engine import StopReason


def answer_of(row: Row) -> Message | None:
    """The assistant's turn that a row gives to its prompt: a reference answer, or what ends a conversation."""
    if "question" in row:
        text = row.get("answer")
        return {"role": "assistant", "content": text} if isinstance(text, str) and text.strip() else None
    answer = None
    for message in reversed(row["messages"]):
        if message["role"] != "assistant":
            break
        answer = message
    return answer


def given_rollout(prompt: Prompt, messages: Sequence[Message], tokenizer: Any, *, group: int, longest: int) -> Rollout:
    """The row's answer with its end token after the prompt; prompt and answer have at most `longest` tokens."""
    answer = answer_of(prompt.row)
    assert answer is not None  # rows without one are refused when the sources are read
    render = chat_renderer(tokenizer, prompt.row.get("tools"))
    _, piece = render_answer(messages, answer, render)
    ids = tokenizer(piece.text, add_special_tokens=False)["input_ids"][: longest - len(prompt.ids)]
    return Rollout(
        prompt=prompt,
        group=group,
        index=0,
        token_ids=ids,
        trained=[True] * len(ids),
        logprobs=[None] * len(ids),
        text=answer.get("content") or "",
        stop_reason=StopReason.END_TOKEN,
        detail={"source": "row"},
    )
