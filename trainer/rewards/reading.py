"""Finding the part of a completion that is the answer."""

from trainer.contract.rewards.base import AnswerRewardBase
from trainer.rewards.base import Answer


def read_answer(answer: Answer, config: AnswerRewardBase) -> str:
    """The part that `config.read` asks for, without white space at its ends; empty where there is none.

    Thinking that never ended leaves no answer, also when the prompt opened it.
    """
    if config.read == "whole":
        return answer.text.strip()
    text = after_thinking(answer, config.thinking_tag)
    return text if config.read == "after_thinking" else inside_tag(text, config.answer_tag, cut=answer.truncated)


def after_thinking(answer: Answer, tag: str) -> str:
    """What follows the last end of thinking; the whole where nothing was thought."""
    _, ended, rest = answer.text.rpartition(f"</{tag}>")
    if not ended and (f"<{tag}>" in answer.text or opens_thinking(answer.prompt_text, tag)):
        return ""
    return rest.strip()


def opens_thinking(prompt: str, tag: str) -> bool:
    """Some chat templates end the prompt with the tag that begins the thinking."""
    return prompt.rstrip().endswith(f"<{tag}>")


def inside_tag(text: str, tag: str, *, cut: bool) -> str:
    """Content of the last `<tag>`. Its end may be missing, having been a stop string, unless the text was cut."""
    _, begun, rest = text.rpartition(f"<{tag}>")
    content, ended, _ = rest.partition(f"</{tag}>")
    return content.strip() if begun and (ended or not cut) else ""
