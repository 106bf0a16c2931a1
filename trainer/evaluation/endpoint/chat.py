"""An episode as a conversation of messages, where tokens are nobody's but the endpoint's.

It is the same machine as in training, with the same limits. What differs is what a turn is: a chat completion, whose
calls come as `tool_calls`, and whose tokens are counted by the endpoint's `usage`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.contract import TaskSpec
from trainer.contract.toolsets import ToolLimits
from trainer.evaluation.outputs.agent import WatchedEpisode
from trainer.evaluation.tasks import Item
from trainer.rollouts.calls import CALL_BEGINS, final_answer, read_calls, read_offered
from trainer.rollouts.prompts import Prompt
from trainer.rollouts.rollout import Ending
from trainer.sampling.randomness import seed_for


class NoCompletion(ValueError):
    """A reply that is no chat completion."""


@dataclass(frozen=True)
class ToolCall:
    id: str
    name: object
    arguments: object


@dataclass(frozen=True)
class Reply:
    """One turn of the endpoint."""

    text: str
    calls: tuple[ToolCall, ...]
    cut: bool
    """It was cut off at the limit of tokens."""
    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True)
class Unanswered:
    """A turn that never came, through no fault of the model unless its conversation has grown too long."""

    ending: Ending
    reason: str


def read_reply(content: Any) -> Reply:
    """Raises NoCompletion."""
    try:
        choice = content["choices"][0]
        message = choice["message"]
        text = _read_text(message.get("content"))
        calls = tuple(_read_call(one) for one in message.get("tool_calls") or ())
        usage = content.get("usage") or {}
        counted = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    except (LookupError, TypeError, AttributeError) as error:
        raise NoCompletion("the reply is no chat completion") from error
    prompt, completion = (one if type(one) is int and one >= 0 else None for one in counted)
    return Reply(text, calls, choice.get("finish_reason") == "length", prompt, completion)


def _read_text(content: Any) -> str:
    """A text, or the texts of a list of parts."""
    if isinstance(content, list):
        return _whole("".join(one["text"] for one in content if one.get("type") == "text"))
    if content is not None and not isinstance(content, str):
        raise TypeError
    return _whole(content or "")


def _whole(value: Any) -> Any:
    """Without halves of characters, which JSON can hold and no file takes; what is no text stays as it is."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _read_call(one: Any) -> ToolCall:
    function = one["function"]
    named = one.get("id")
    named = named if isinstance(named, str) else ""
    return ToolCall(_whole(named), _whole(function.get("name")), _whole(function.get("arguments")))


@dataclass
class ChatEpisode(WatchedEpisode):
    """Fills as it is played. `room` is that of an episode in training: what is written and what tools say."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    written: int | None = 0
    """Tokens of all turns; None once an endpoint has not told."""
    told: int | None = 0
    """Prompt tokens of all turns, likewise."""
    _first_prompt: int | None = None
    _used: int = 0
    """Tokens after the prompt, as far as the endpoint has told."""

    def ask(self, task: TaskSpec, model: str, tools: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The body of the request for the next turn."""
        self.start_clock()
        assert task.agent is not None
        settings = task.generation_kwargs
        left = max(1, self.room - self._used)
        body: dict[str, Any] = {
            "model": model,
            "messages": list(self.messages),
            "tools": list(tools),
            "temperature": settings.temperature,
            "max_tokens": min(left, task.agent.turn_tokens or left),
        }
        if settings.top_p < 1:
            body["top_p"] = settings.top_p
        if settings.temperature:
            body["seed"] = seed_for(self.seed, f"turn {self.turns}") % 2**31
        if settings.until:
            body["stop"] = list(settings.until)
        return body

    def wrote(self, completion: Any) -> None:
        """Take a `Reply`, or an `Unanswered` in its place."""
        if isinstance(completion, Unanswered):
            return self.end(completion.ending, completion.reason)
        reply: Reply = completion
        self.turns += 1
        self.texts.append(reply.text)
        self._count(reply)
        if reply.cut:
            return self.end(Ending.LENGTH)
        calls = [
            read_offered(call.name, {} if call.arguments is None else call.arguments, self.tools)
            for call in reply.calls
        ]
        offered = reply.calls
        if not offered:  # a server that does not read calls, or could not read this one, leaves them in the text
            calls = read_calls(reply.text, self.tools)
            offered = tuple(ToolCall("", call.name, call.written if call.fault else call.arguments) for call in calls)
        ids = [call.id or f"call_{self.turns}_{place}" for place, call in enumerate(offered)]
        self.messages.append(_write_turn(reply.text, offered, ids))
        assert isinstance(self.writer, _Answers)
        self.writer.ids = ids
        self.take(calls, final_answer(reply.text))
        if calls and self.ending is None and self._used >= self.room:
            self.end(Ending.LENGTH)
        return None

    def _count(self, reply: Reply) -> None:
        prompt, written = reply.prompt_tokens, reply.completion_tokens
        self.told = None if self.told is None or prompt is None else self.told + prompt
        self.written = None if self.written is None or written is None else self.written + written
        if self._first_prompt is None:
            self._first_prompt = prompt
        if prompt is not None and self._first_prompt is not None:
            self._used = max(0, prompt - self._first_prompt) + (written or 0)


@dataclass
class _Answers:
    """Puts what tools said into the conversation, each as the answer to its call."""

    messages: list[dict[str, Any]]
    ids: list[str] = field(default_factory=list)

    def between(self, answers: Sequence[str], *, ended: bool) -> list[int]:
        self.messages += [
            {"role": "tool", "tool_call_id": named, "content": answer}
            for named, answer in zip(self.ids, answers, strict=True)
        ]
        return []


def begin_chat(
    item: Item, task: TaskSpec, tools: dict[str, dict[str, Any]], limits: ToolLimits, *, seed: int
) -> ChatEpisode:
    messages = [dict(one) for one in item.messages]
    return ChatEpisode(
        prompt=Prompt(name=item.id, row=dict(item.row), ids=(), text=item.prompt),
        group=0,
        index=0,
        seed=seed,
        room=task.generation_kwargs.max_gen_toks,
        limits=limits,
        writer=_Answers(messages),
        tools=tools,
        end_tokens=frozenset(),
        messages=messages,
    )


def _write_turn(text: str, calls: Sequence[ToolCall], ids: Sequence[str]) -> dict[str, Any]:
    """The turn as the next request repeats it."""
    turn: dict[str, Any] = {"role": "assistant", "content": text.partition(CALL_BEGINS)[0] if calls else text}
    if calls:
        turn["tool_calls"] = [
            {
                "id": named,
                "type": "function",
                "function": {"name": str(call.name or "none"), "arguments": _write_arguments(call.arguments)},
            }
            for named, call in zip(ids, calls, strict=True)
        ]
    return turn


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _write_arguments(arguments: object) -> str:
    """As they were written, where that is a JSON object; servers refuse a history that holds anything else."""
    try:
        found = json.loads(arguments, parse_constant=_refuse) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return arguments if isinstance(arguments, str) else json.dumps(found, ensure_ascii=False)
    return json.dumps({"unreadable": arguments} if arguments else {}, ensure_ascii=False)
