"""The chat template of a policy: how a conversation is written for it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from trainer.data.chat import CHATML, Message, RenderChat
from trainer.failures import InvalidSpec

if TYPE_CHECKING:
    from trainer.policy import Policy


def ensure_template(policy: "Policy") -> None:
    """Give a policy that knows the ChatML tokens but no template the ChatML template; raises InvalidSpec without."""
    from trainer.tokenizer import TURN_END

    tokenizer = policy.tokenizer
    if tokenizer.chat_template is None:
        tokenizer.chat_template = find_template(tokenizer)
        policy.end_answers_with(TURN_END)


def find_template(tokenizer: Any) -> Any:
    """The tokenizer's own template, or ChatML where it knows its tokens; raises InvalidSpec where it does not."""
    from trainer.tokenizer import TURN_END, TURN_START

    if tokenizer.chat_template is None and not {TURN_START, TURN_END} <= tokenizer.get_vocab().keys():
        raise InvalidSpec(
            "recipe.base: the tokenizer has neither a chat template nor the ChatML tokens, so conversations "
            "cannot be written for it; choose a chat model or one with <|im_start|> and <|im_end|>."
        )
    return tokenizer.chat_template or CHATML


def chat_renderer(tokenizer: Any, tools: Any = None) -> RenderChat:
    """Writes conversations by the tokenizer's template; raises ValueError for those that the template refuses."""

    def render(messages: Sequence[Message], open_answer: bool) -> str:
        try:
            text: str = tokenizer.apply_chat_template(
                list(messages), tools=tools, add_generation_prompt=open_answer, tokenize=False
            )
        except TemplateError as error:
            raise ValueError(f"the chat template of the model refuses it: {error}") from error
        return text

    return render
