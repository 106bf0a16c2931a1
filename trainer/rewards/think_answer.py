"""Think first, then answer, each between its tags: the format reward of DeepSeek-R1 (arXiv:2501.12948, section 2.2.2).

Three conditions:

- the thinking stands between its two tags, which occur exactly once each, and is not empty;
- the answer stands between its two tags, which occur exactly once each, and is not empty (without an answer tag: text
  follows the thinking);
- both hold, the completion begins with the thinking, the answer follows it, and nothing else is written.

Value: 1 when all three hold, else 0; with `partial` a third for each. The full mark is 1, so that no weight is lost.
"""

from trainer.contract.rewards.think_answer import ThinkAnswerReward
from trainer.rewards.base import Answer, SingleReward
from trainer.rewards.reading import opens_thinking


class ThinkAnswer(SingleReward):
    config_class = ThinkAnswerReward
    config: ThinkAnswerReward
    range = (0.0, 1.0)

    def value(self, answer: Answer) -> float:
        thinking_tag, answer_tag = self.config.thinking_tag, self.config.answer_tag
        text = answer.text.strip()
        if opens_thinking(answer.prompt_text, thinking_tag):
            text = f"<{thinking_tag}>{text}"
        thinking = _find_once(text, thinking_tag)
        if answer_tag:
            given = _find_once(text, answer_tag)
        else:
            given = (thinking[1], len(text)) if thinking and text[thinking[1] :].strip() else None
        ordered = (
            thinking is not None
            and given is not None
            and thinking[0] == 0
            and given[0] >= thinking[1]
            and not text[thinking[1] : given[0]].strip()
            and given[1] == len(text)
        )
        met = (thinking is not None) + (given is not None) + ordered
        return met / 3 if self.config.partial else float(met == 3)


def _find_once(text: str, tag: str) -> tuple[int, int] | None:
    """Where the only pair of these tags begins and ends; None without exactly one pair that encloses something."""
    begin, end = f"<{tag}>", f"</{tag}>"
    if text.count(begin) != 1 or text.count(end) != 1:
        return None
    first, last = text.index(begin), text.index(end)
    return (first, last + len(end)) if text[first + len(begin) : last].strip() else None
