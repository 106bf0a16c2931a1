"""Supervised fine-tuning: likelihood of the answers in conversations.

    L = −(1/N) Σ_d Σ_t m_{d,t} log π(x_{d,t} | x_{d,<t}),    N = Σ m over the optimiser step

with mask m = 1 on the assistant's tokens and the token that ends its turn, 0 on everything that others say and that the
template adds (`loss_on: all` sets m = 1 everywhere). Source: Ouyang et al. 2022, arXiv:2203.02155, section 3.5. The
mean runs over tokens, not over conversations, and over the whole optimiser step, so that micro-batches of unequal
length weigh what their tokens weigh.
"""

from typing import TYPE_CHECKING

from jinja2 import TemplateError

from trainer.algorithms.base import Algorithm, LossTerms
from trainer.contract.stages.sft import SftStage
from trainer.data.chat import CHATML, render_conversation
from trainer.data.documents import Document
from trainer.data.rows import Row
from trainer.failures import InvalidSpec

if TYPE_CHECKING:
    from trainer.data.batch import TokenBatch
    from trainer.policy import Policy


class Sft(Algorithm):
    stage_class = SftStage
    row_kinds = frozenset({"chat"})
    stage: SftStage

    def prepare(self, policy: "Policy") -> None:
        """Give a policy that knows the ChatML tokens but no template the ChatML template."""
        from trainer.tokenizer import TURN_END, TURN_START

        tokenizer = policy.tokenizer
        if tokenizer.chat_template is None:
            if not {TURN_START, TURN_END} <= tokenizer.get_vocab().keys():
                raise InvalidSpec(
                    "recipe.base: the tokenizer has neither a chat template nor the ChatML tokens, so conversations "
                    "cannot be written for it; choose a chat model or one with <|im_start|> and <|im_end|>."
                )
            tokenizer.chat_template = CHATML
            policy.end_answers_with(TURN_END)

    def render(self, row: Row, policy: "Policy") -> list[Document]:
        def render(messages: object, open_answer: bool) -> str:
            try:
                text: str = policy.tokenizer.apply_chat_template(
                    messages, tools=row.get("tools"), add_generation_prompt=open_answer, tokenize=False
                )
            except TemplateError as error:
                raise ValueError(f"the chat template of the model refuses it: {error}") from error
            return text

        return render_conversation(row["messages"], render, loss_on=self.stage.loss_on)

    def loss(self, batch: "TokenBatch", policy: "Policy", *, targets: int) -> LossTerms:
        return LossTerms({"nll": policy.summed_nll(batch) / max(1, targets)})

    def notes(self) -> dict[str, str | int | float | bool]:
        return {"loss_on": "answers and their end token" if self.stage.loss_on == "assistant" else "every token"}
