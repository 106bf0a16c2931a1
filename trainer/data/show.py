"""Telling the first documents of a stage as the policy sees them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer.contract.events import BatchSeen, SampleToken
from trainer.data.documents import TokenizedDocument
from trainer.tokenizer import show_tokens

if TYPE_CHECKING:
    from trainer.algorithms.base import StageContext

ROWS_SHOWN = 8
TOKENS_SHOWN = 4096


def show_documents(context: "StageContext", documents: Sequence[TokenizedDocument]) -> None:
    rows: list[list[SampleToken]] = []
    tokens = 0
    for ids, trained in documents[:ROWS_SHOWN]:
        flags = [bool(flag) and place > 0 for place, flag in enumerate(trained)]
        tokens += len(ids)
        if rows and tokens > TOKENS_SHOWN:
            break
        shown = show_tokens(context.policy.tokenizer, ids.tolist(), flags)
        rows.append([SampleToken(text=text, trained=flag) for text, flag in shown])
    context.events.emit(BatchSeen(stage=context.number, step=context.first_step + 1, rows=rows))
