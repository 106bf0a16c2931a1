"""A model judges the final answer: value = score / highest, score a whole number from 0 to `highest`.

The three levels 0, 1, 2 of Typhoon-S are the default. Unlike there: the judge sees the final answer only, never the
thinking or what tools said; its failure masks the rollout instead of being worth 0; calls have retries and deadlines;
equal answers to equal questions are judged once. The temperature is 0. An empty answer is worth 0 and not asked about.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainer.contract.endpoints import Endpoint, EndpointError, call
from trainer.contract.rewards.judge import JudgeReward
from trainer.rewards.asking import AskingReward, Attempt
from trainer.rewards.base import Answer, Row, Score
from trainer.rewards.judge_prompt import (
    CRITERIA,
    Question,
    UnreadableReply,
    hash_prompt,
    read_grade,
    shorten,
    write_messages,
)
from trainer.rewards.reading import read_answer

KEPT_WORDS = 4_000
"""Characters of a reply that are stored beside the rollout."""


class Judge(AskingReward[Question]):
    config_class = JudgeReward
    config: JudgeReward
    late = "The judge had not answered when the {seconds:g} s for all answers were over."

    def missing(self, row: Row) -> str:
        lacking = [name for name in self.config.row_fields() if not str(row.get(name) or "").strip()]
        return f"no `{lacking[0]}`" if lacking else ""

    def notes(self) -> dict[str, str | int | float | bool]:
        config = self.config
        criteria = config.criteria or CRITERIA[bool(config.reference)]
        return {
            "judge": config.endpoint.model,
            "endpoint": config.endpoint.base_url,
            "prompt_version": config.prompt_version,
            "prompt_sha256": hash_prompt(version=config.prompt_version, highest=config.highest, criteria=criteria),
        }

    def prepare(self, answer: Answer) -> Question | Score:
        """What to ask, or the score where there is nothing to ask."""
        config = self.config
        if reason := self.missing(answer.row):
            return Score(None, f"The row has {reason}.")
        text = read_answer(answer, config)
        if not text:
            return Score(0.0)
        criteria = str(answer.row[config.criteria_field]) if config.criteria_field else config.criteria
        return Question(
            question=str(answer.row[config.question]),
            answer=shorten(text, config.longest_text),
            reference=str(answer.row[config.reference]) if config.reference else None,
            criteria=criteria or CRITERIA[bool(config.reference)],
        )

    def ask(self, asked: Question, seconds: float) -> Attempt:
        return _judge(asked, self.config, seconds)


def _judge(question: Question, config: JudgeReward, seconds: float) -> Attempt:
    def grade(reply: str) -> float:
        return read_grade(reply, highest=config.highest) / config.highest

    messages = write_messages(question, version=config.prompt_version, highest=config.highest)
    return ask_judge(
        config.endpoint,
        messages,
        extra=config.extra,
        max_reply_tokens=config.max_reply_tokens,
        seconds=seconds,
        read=grade,
    )


def ask_judge(
    endpoint: Endpoint,
    messages: Sequence[Mapping[str, str]],
    *,
    extra: Mapping[str, Any],
    max_reply_tokens: int,
    seconds: float,
    read: Callable[[str], float],
) -> Attempt:
    """One call of a judge, at temperature 0. `read` makes a value of its reply, or raises UnreadableReply."""
    request = {
        **extra,
        "model": endpoint.model,
        "messages": list(messages),
        "temperature": 0,
        "max_tokens": max_reply_tokens,
    }
    reply = ""
    try:
        reply = _read_text(call(endpoint, "/chat/completions", request, seconds=seconds), endpoint)
        return Attempt(Score(read(reply), words=shorten(reply.strip(), KEPT_WORDS)))
    except UnreadableReply as error:
        return Attempt(Score(None, str(error), words=shorten(reply.strip(), KEPT_WORDS)))
    except EndpointError as error:
        score = Score(None, f"The judge failed: {error}")
        return Attempt(score, again=error.again, refused=error.refused, wait_s=error.wait_s)


def _read_text(reply: object, endpoint: Endpoint) -> str:
    """The text of a chat completion; raises UnreadableReply."""
    try:
        choice = reply["choices"][0]  # type: ignore[index]
        text, ended = choice["message"]["content"], choice.get("finish_reason")
    except (LookupError, TypeError, AttributeError):
        raise UnreadableReply(f"{endpoint.base_url} replied with no chat completion.") from None
    if ended == "length":
        raise UnreadableReply("The judge's reply was cut off; raise max_reply_tokens.")
    if not isinstance(text, str):
        raise UnreadableReply("The judge's reply holds no text.")
    return text
