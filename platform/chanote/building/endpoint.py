"""Asking a model behind an OpenAI-compatible chat endpoint many questions, so that a restart asks nothing twice.

    with ChatEndpoint(Endpoint(base_url="http://127.0.0.1:8000/v1", model="teacher"), replies=folder) as teacher:
        for number, reply in teacher.ask_all(questions, leave_if_asked=work.leave_if_asked):
            ...
        work.report(…, **teacher.cost())

Every reply is kept under the hash of its request (chanote.building.replies). Replies come in the order of the
questions, so that what is made of them does not depend on which thread was faster.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import Field

from chanote.building.replies import Reply, ReplyStore, hash_request
from trainer.contract.base import Contract
from trainer.contract.endpoints import Endpoint, EndpointError, call

__all__ = ["ChatEndpoint", "Endpoint", "EndpointError", "EndpointFailed", "Limits", "Price", "Question", "Reply"]

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before the second attempt, which double with each further one, and their end."""
LONGEST_ASKED_WAIT = 300.0
"""Seconds that a server may ask to wait."""
LOOK_SECONDS = 0.2
"""How often a request to stop is looked for."""
LARGEST_TEXT = 2 << 20
"""Characters. A longer answer is none."""


class Limits(Contract):
    """How an endpoint is asked."""

    seconds: float = Field(default=180.0, gt=0, le=3600)
    """Of one attempt, from connecting to the last byte."""
    attempts: int = Field(default=6, ge=1, le=50)
    """For one question."""
    concurrency: int = Field(default=4, ge=1, le=256)
    """Questions under way at a time."""
    tolerated: int = Field(default=3, ge=1, le=10_000)
    """Questions in a row that may stay without an answer before the endpoint is taken to be away."""


class Price(Contract):
    """What the owner of the endpoint asks for; 0 for one's own machine."""

    prompt: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Per million tokens that are sent."""
    completion: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Per million tokens that are received."""
    currency: str = Field(default="", max_length=8)
    """ISO 4217, such as THB or EUR."""
    most: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Where this much is spent, nothing more is asked; what is under way may still add to it."""


@dataclass(frozen=True)
class Question:
    """One request for one answer."""

    messages: tuple[dict[str, str], ...]
    """`{"role": …, "content": …}` each."""
    sample: int = 0
    """Which of several answers to the same messages: each number is asked and kept on its own."""
    temperature: float = 0.0
    max_tokens: int = 1024
    seed: int | None = None
    """Sent where it is not None; servers that cannot hold it ignore it."""
    extra: dict[str, Any] = field(default_factory=dict, hash=False)
    """Further fields of the request, such as `top_p`."""

    def request(self, model: str) -> dict[str, Any]:
        """The body that is sent."""
        body = {
            **self.extra,
            "model": model,
            "messages": list(self.messages),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        return body if self.seed is None else {**body, "seed": self.seed}


class EndpointFailed(Exception):
    """The endpoint answers no more, refuses every call, or the money is spent. What was answered is on disk."""


class ChatEndpoint:
    """A model to ask. `key` opens it where it is not in the environment; it is never written anywhere."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        replies: Path,
        limits: Limits | None = None,
        price: Price | None = None,
        key: str | None = None,
    ) -> None:
        self.endpoint, self.limits, self.price = endpoint, limits or Limits(), price or Price()
        self._key = key
        self._store = ReplyStore(replies / "replies.sqlite3")
        self._totals = list(self._store.total())
        self._asked = self._kept = self._retried = 0
        self._lock = threading.Lock()

    def __enter__(self) -> "ChatEndpoint":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._store.close()

    def cost(self) -> dict[str, Any]:
        """What all replies on disk cost, also those of earlier processes, and what this process asked."""
        with self._lock:
            replies, prompt, completion, uncounted = self._totals
            spent = self._spent()
            return {
                "replies": replies,
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "uncounted_replies": uncounted,
                "money": round(spent, 6),
                "currency": self.price.currency,
                "asked_now": self._asked,
                "found_on_disk": self._kept,
                "attempts_repeated": self._retried,
            }

    def ask(self, question: Question, *, leave_if_asked: Callable[[], None] = lambda: None) -> Reply:
        """One reply; see ask_all."""
        return next(reply for _, reply in self.ask_all([question], leave_if_asked=leave_if_asked))

    def ask_all(
        self, questions: Iterable[Question], *, leave_if_asked: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[int, Reply]]:
        """Each question's number, from 0, and its reply, in the order of the questions, which are drawn as needed.

        A reply has a `fault` where every attempt failed or the server refused this one question; that is not kept, so
        a restart asks again. Raises EndpointFailed once the endpoint as a whole is of no use, and passes on what
        `leave_if_asked` raises. Threads are daemons and left behind then: nothing waits for a server that hangs.
        """
        asking = _Asking(self, leave_if_asked)
        try:
            yield from asking.go(questions)
        finally:
            asking.over.set()

    def hash(self, question: Question) -> str:
        """Under which a reply is kept."""
        body = question.request(self.endpoint.model)
        return hash_request({"address": self.endpoint.base_url, "sample": question.sample, "request": body})

    def _find(self, hash: str) -> Reply | None:
        found = self._store.find(hash)
        if found is not None:
            with self._lock:
                self._kept += 1
        return found

    def _keep(self, question: Question, reply: Reply) -> Reply:
        """The reply that is on disk now: that of an equal question where it was answered first."""
        hash = self.hash(question)
        if not self._store.keep(hash, question.request(self.endpoint.model), reply):
            return self._store.find(hash) or reply
        with self._lock:
            self._asked += 1
            added = (1, reply.prompt_tokens, reply.completion_tokens, int(not reply.counted))
            self._totals = [total + more for total, more in zip(self._totals, added, strict=True)]
        return reply

    def _spent(self) -> float:
        return (self._totals[1] * self.price.prompt + self._totals[2] * self.price.completion) / 1e6

    def _check_money(self) -> None:
        most = self.price.most
        with self._lock:
            if most is not None and self._spent() >= most:
                limit = f"{most:g} {self.price.currency}".strip()
                raise EndpointFailed(f"The {limit} that this may cost are spent; raise the limit and resume.")


class _Asking:
    """The threads of one `ask_all`."""

    def __init__(self, client: ChatEndpoint, leave_if_asked: Callable[[], None]) -> None:
        self.client, self.leave_if_asked = client, leave_if_asked
        self.open: queue.SimpleQueue[tuple[str, Question]] = queue.SimpleQueue()
        self.done: queue.SimpleQueue[tuple[str, Reply]] = queue.SimpleQueue()
        self.over = threading.Event()
        self._threads = 0
        self._lock = threading.Lock()
        self._pause_until = 0.0
        self._in_row = 0
        self._failure = ""

    def go(self, questions: Iterable[Question]) -> Iterator[tuple[int, Reply]]:
        limits = self.client.limits
        numbered = enumerate(questions)
        replies: dict[int, Reply] = {}
        under_way: dict[str, list[int]] = {}  # by hash: the numbers of the equal questions that one reply answers
        given = drawn = 0
        exhausted = False
        while True:
            # A slow question holds back those behind it: so many may be drawn and wait.
            while not exhausted and len(under_way) < limits.concurrency and drawn - given < 8 * limits.concurrency:
                number, question = next(numbered, (0, None))
                if question is None:
                    exhausted = True
                    break
                drawn += 1
                hash = self.client.hash(question)
                if hash in under_way:
                    under_way[hash].append(number)
                elif (kept := self.client._find(hash)) is not None:
                    replies[number] = kept
                else:
                    self.client._check_money()
                    under_way[hash] = [number]
                    self._start(hash, question)
            while given in replies:
                self.leave_if_asked()
                yield given, replies.pop(given)
                given += 1
            if not under_way:
                if exhausted:
                    return
                continue
            self.leave_if_asked()
            try:
                hash, reply = self.done.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            if self._failure:
                raise EndpointFailed(self._failure)
            replies.update(dict.fromkeys(under_way.pop(hash), reply))

    def _start(self, hash: str, question: Question) -> None:
        self.open.put((hash, question))
        if self._threads < self.client.limits.concurrency:
            self._threads += 1
            threading.Thread(target=self._work, name="ask-endpoint", daemon=True).start()

    def _work(self) -> None:
        while not self.over.is_set():
            try:
                hash, question = self.open.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            self.done.put((hash, self._ask(question)))

    def _ask(self, question: Question) -> Reply:
        limits = self.client.limits
        made = 0
        while not self.over.is_set():
            self._wait_for_pause()
            try:
                reply = self._attempt(question)
            except EndpointError as error:
                made += 1
                if error.again and made < limits.attempts:
                    self._rest(made, error.wait_s)
                    continue
                self._remember(error)
                return Reply(fault=str(error))
            except Exception as error:  # a thread that dies would leave its question without a word
                return Reply(fault=f"The question could not be sent: {type(error).__name__}: {error}"[:300])
            self._remember(None)
            return reply
        return Reply(fault="It was not asked to the end.")

    def _attempt(self, question: Question) -> Reply:
        client = self.client
        started = time.monotonic()
        body = question.request(client.endpoint.model)
        said = call(client.endpoint, "/chat/completions", body, seconds=client.limits.seconds, key=client._key)
        reply = replace(read_completion(said, client.endpoint), seconds=round(time.monotonic() - started, 3))
        return client._keep(question, reply)

    def _rest(self, made: int, asked_wait: float) -> None:
        wait = max(min(LONGEST_WAIT, FIRST_WAIT * 2 ** (made - 1)), min(LONGEST_ASKED_WAIT, asked_wait))
        with self.client._lock:
            self.client._retried += 1
        if asked_wait:
            # A server that says when to come back means every caller.
            with self._lock:
                self._pause_until = max(self._pause_until, time.monotonic() + wait)
        else:
            self.over.wait(wait)

    def _wait_for_pause(self) -> None:
        with self._lock:
            left = self._pause_until - time.monotonic()
        if left > 0:
            self.over.wait(left)

    def _remember(self, error: EndpointError | None) -> None:
        with self._lock:
            if error is None or not (error.again or error.refused):
                self._in_row = 0
                return
            self._in_row += 1
            if error.refused:
                self._failure = f"{str(error).rstrip('.')}. Correct the endpoint and resume."
            elif self._in_row >= self.client.limits.tolerated:
                self._failure = (
                    f"{str(error).rstrip('.')}. {self._in_row} questions in a row stayed without an answer; look at "
                    "the server and resume."
                )


def read_completion(said: object, endpoint: Endpoint) -> Reply:
    """The first choice of a chat completion; raises EndpointError for what is none."""
    where = endpoint.base_url
    try:
        choice = said["choices"][0]  # type: ignore[index]
        message, ended = choice["message"], choice.get("finish_reason")
        text = message.get("content")
    except (LookupError, TypeError, AttributeError):
        raise EndpointError(f"{where} replied with no chat completion.", again=True) from None
    if text is None and isinstance(message.get("refusal"), str):
        text = ""
    if not isinstance(text, str):
        raise EndpointError(f"{where} replied with a completion that holds no text.", again=True)
    if len(text) > LARGEST_TEXT:
        raise EndpointError(f"{where} replied with a text of {len(text):,} characters.")
    # Half of a surrogate pair can be written in JSON, but not in UTF-8; no dataset and no database holds a NUL.
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
    usage = said.get("usage") if isinstance(said, dict) else None
    counts = [usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")]
    counted = all(isinstance(count, int) and 0 <= count < 1 << 40 for count in counts)
    prompt, completion = (counts[0] or 0, counts[1] or 0) if counted else (0, 0)
    return Reply(text, ended if isinstance(ended, str) else "", prompt, completion, counted)
