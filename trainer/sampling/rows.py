"""One request while it is being sampled: its tokens so far, and what ends it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING, Any

from trainer.failures import RunFailed
from trainer.sampling.engine import Completion, SamplingRequest, StopReason

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(eq=False)
class Row:
    """A request in work. Nothing in it depends on the rows sampled beside it."""

    request: SamplingRequest
    ends: frozenset[int]
    """Token ids that end the completion."""
    stop: tuple[str, ...]
    """Stop strings that are plain text."""
    room: int
    """Tokens that may be sampled."""
    full: StopReason
    """Why the row ends when its room is used up."""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    reason: StopReason | None = None


class RowReader:
    """Opens rows for requests, says when they end, and turns ended rows into completions."""

    def __init__(
        self, tokenizer: Any, *, end_tokens: frozenset[int], context: int | None, vocabulary: int | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.end_tokens = end_tokens
        self.context = context
        self.vocabulary = vocabulary
        """Entries of the head that are tokens; what follows is padding. None: all of them."""
        self._special = frozenset(tokenizer.all_special_ids)
        marked = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        self._unseen = self._special | marked

    def open(self, request: SamplingRequest) -> Row:
        ends, texts = set(self.end_tokens), []
        for stop in request.stop:
            token = self._special_token(stop)
            if token is None:
                texts.append(stop)
            else:
                ends.add(token)
        room, full = request.max_new_tokens, StopReason.LENGTH
        if self.context is not None and len(request.prompt_ids) + room > self.context:
            room, full = self.context - len(request.prompt_ids), StopReason.CONTEXT
        return Row(request, ends=frozenset(ends), stop=tuple(texts), room=room, full=full)

    def look(self, rows: Sequence[Row], logits_RV: "Tensor") -> None:
        """See what the next tokens of the rows, in this order, are chosen from; for readers that tell more of it."""

    def add(self, row: Row, token: int, logprob: float) -> None:
        """Append one sampled token; sets `row.reason` when it was the last. Raises RunFailed for a policy that gives no
        probabilities: no token of it is worth learning from."""
        if isnan(logprob):
            raise RunFailed(
                "the policy's probabilities of the next token are no numbers (NaN), so nothing can be sampled: its "
                "weights are damaged; start from another checkpoint, or from an earlier one with a lower learning rate."
            )
        row.tokens.append(token)
        row.logprobs.append(logprob)
        if token in row.ends:
            row.reason = StopReason.END_TOKEN
        elif row.stop and self._reached_stop(row):
            row.reason = StopReason.STOP_STRING
        elif len(row.tokens) >= row.room:
            row.reason = row.full

    def close(self, row: Row) -> Completion:
        assert row.reason is not None
        kept = row.tokens[:-1] if row.reason is StopReason.END_TOKEN else row.tokens
        text = self._decode(kept)
        if row.reason is StopReason.STOP_STRING:
            text = text[: find_first(text, row.stop)]
        return Completion(token_ids=tuple(row.tokens), logprobs=tuple(row.logprobs), text=text, stop_reason=row.reason)

    def _special_token(self, stop: str) -> int | None:
        """A stop string that is itself a special token never shows up in decoded text, so its id is watched for."""
        token = self.tokenizer.convert_tokens_to_ids(stop)
        return token if token in self._special and token != self.tokenizer.unk_token_id else None

    def _reached_stop(self, row: Row) -> bool:
        """Whether the newest token completed a stop string.

        Every token that shows up in text adds at least one byte, so the string lies in the last tokens, as many as it
        has bytes. Only those are decoded, with some before them because a text cut open may decode otherwise at its
        first tokens; what they show is confirmed on the whole text.
        """
        needed = max(len(stop.encode()) for stop in row.stop) + 8
        start = len(row.tokens)
        while start > 0 and needed > 0:
            start -= 1
            needed -= row.tokens[start] not in self._unseen
        if find_first(self._decode(row.tokens[start:]), row.stop) is None:
            return False
        return start == 0 or find_first(self._decode(row.tokens), row.stop) is not None

    def _decode(self, tokens: Sequence[int]) -> str:
        text = self.tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)


def find_first(text: str, stops: Sequence[str]) -> int | None:
    """Where the first stop string begins, None when there is none."""
    places = [place for place in (text.find(stop) for stop in stops) if place >= 0]
    return min(places) if places else None
