"""One answer to a person: turns of the model and calls of its tools, until it answers or a limit of the toolset holds.

The order of things, the limits and the words to the model are those of an episode of training
(`trainer/rollouts/episode.py`), over chat completions.
"""

import json
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from chanote.chat.asking import Answer, Asking, EndpointFailed
from chanote.tools.client import ServiceFailed, ask
from chanote.tools.endpoints import Endpoint
from toolsandbox.contract import CallReply
from trainer.contract.tool_calls import StoredToolCall
from trainer.contract.toolsets import ToolLimits, cut_output

NOT_MADE = "not_made"
SHOWN_CHARACTERS = 20_000
"""Of a tool's output on the page."""
BUSY_WAIT_S = 0.5
Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Tools:
    """What the model may call."""

    endpoint: Endpoint
    functions: Sequence[dict[str, Any]]
    limits: ToolLimits


@dataclass(frozen=True)
class Made:
    status: str
    text: str
    wall_ms: float = 0.0
    call_id: str = ""
    fault: str = ""
    """Why the service gave no answer."""


@dataclass
class Play:
    """One answer in the making. `tell` is given what the page shows, in order."""

    asking: Asking
    model: str
    tell: Tell
    tools: Tools | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """Temperature and the like, as the endpoint takes them."""
    name: str = ""
    """Of the conversation: what the call log and the tool service know it by."""
    step: int = 0
    stopped: bool = False

    def stop(self) -> None:
        self.stopped = True
        self.asking.stop()

    def run(self, messages: Sequence[dict[str, Any]]) -> None:
        """Play to the end; faults become events, nothing is raised for what others did."""
        conversation = list(messages)
        try:
            reason = self._turns(conversation)
            self.tell({"type": "end", "reason": "stopped" if self.stopped else reason})
        except (EndpointFailed, ServiceFailed) as error:
            self.tell(
                {"type": "end", "reason": "stopped"} if self.stopped else {"type": "error", "message": str(error)}
            )

    def _turns(self, conversation: list[dict[str, Any]]) -> str:
        """Why it ended."""
        limits = self.tools.limits if self.tools else ToolLimits()
        deadline = time.monotonic() + limits.episode_seconds
        failed = 0
        for turn in range(limits.turns):
            if time.monotonic() >= deadline:
                return "deadline"
            self.tell({"type": "turn", "number": turn})
            answer = self.asking.stream(
                self._body(conversation), lambda text: self.tell({"type": "text", "text": text})
            )
            if self.stopped:
                return "stopped"
            self._keep(conversation, answer.message())
            self.tell(
                {"type": "usage", **{name: answer.usage.get(name) for name in ("prompt_tokens", "completion_tokens")}}
            )
            if not answer.calls:
                return "length" if answer.reason == "length" else "answered"
            for call in answer.calls:
                self.tell({"type": "call", "id": call["id"], **call["function"]})
            if self.tools is None or turn + 1 >= limits.turns:
                return "turn_limit"
            made = self._make(answer, turn)
            for call, result in zip(answer.calls, made, strict=True):
                said = cut_output(result.text, limits)
                self._keep(conversation, {"role": "tool", "tool_call_id": call["id"], "content": said})
            broken = next((one.fault for one in made if one.fault), "")
            if broken:
                raise ServiceFailed(broken)
            failed += sum(one.status == NOT_MADE for one in made)
            if failed >= limits.failed_calls:
                return "failed_calls"
        return "turn_limit"

    def _body(self, conversation: list[dict[str, Any]]) -> dict[str, Any]:
        body = {"model": self.model, "messages": conversation, **self.settings}
        if self.tools:
            body["tools"] = [{"type": "function", "function": one} for one in self.tools.functions]
        return body

    def _keep(self, conversation: list[dict[str, Any]], message: dict[str, Any]) -> None:
        conversation.append(message)
        self.tell({"type": "message", "message": message})

    def _make(self, answer: Answer, turn: int) -> list[Made]:
        """All calls of a turn, side by side, in their order."""
        assert self.tools is not None
        most = self.tools.limits.calls_per_turn
        with ThreadPoolExecutor(max_workers=min(most, 8), thread_name_prefix="chat-tool") as pool:
            waiting = [pool.submit(self._call, call, place, turn) for place, call in enumerate(answer.calls)]
            return [one.result() for one in waiting]

    def _call(self, call: dict[str, Any], place: int, turn: int) -> Made:
        assert self.tools is not None
        function, limits = call["function"], self.tools.limits
        names = [str(one["name"]) for one in self.tools.functions]
        arguments = _read(function["arguments"])
        if place >= limits.calls_per_turn:
            made = Made(NOT_MADE, f"Error: not made: a turn may make {limits.calls_per_turn} calls.")
        elif function["name"] not in names:
            made = Made(
                NOT_MADE, f"Error: there is no tool {function['name'][:200]!r}; the tools are: {', '.join(names)}."
            )
        elif arguments is None:
            made = Made(NOT_MADE, "Error: arguments is not a JSON object.")
        else:
            made = self._ask(function["name"], arguments, f"{self.name}/{turn}/{place}/{secrets.token_hex(4)}")
        self._report(call, made, turn)
        return made

    def _ask(self, tool: str, arguments: dict[str, Any], key: str) -> Made:
        """Waits for a busy service as long as a call may take; a service that failed is asked again."""
        assert self.tools is not None
        limits, begun = self.tools.limits, time.monotonic()
        body = {"arguments": arguments, "session": self.name, "idempotency_key": key}
        tries, fault = 0, ""
        while tries <= limits.retries and not self.stopped:
            left = begun + limits.call_seconds - time.monotonic()
            if left <= 0:
                break
            try:
                reply = ask(self.tools.endpoint, f"/v1/tools/{quote(tool, safe='')}", body, seconds=left)
                if reply.status == 200:
                    read = CallReply.model_validate(reply.body)
                    return Made(read.result.status, read.result.text, read.result.wall_ms, read.id)
                fault = f"The tool service refused the call of {tool}: {reply.refusal or f'status {reply.status}'}."
                if reply.status == 429:
                    time.sleep(BUSY_WAIT_S)
                    continue
                if reply.status < 500:
                    break
            except ServiceFailed as error:
                fault = str(error)
            except ValidationError:
                fault = "What the tool service answered is no reply of a tool; its version may differ."
            tries += 1
        return Made("infra_error", "", fault=fault or f"{tool} said nothing within {limits.call_seconds:g} s.")

    def _report(self, call: dict[str, Any], made: Made, turn: int) -> None:
        self.tell(
            {
                "type": "result",
                "id": call["id"],
                "status": made.status,
                "ms": made.wall_ms,
                "output": (made.fault or made.text)[:SHOWN_CHARACTERS],
                "cut": max(0, len(made.text) - SHOWN_CHARACTERS),
            }
        )
        if made.status != NOT_MADE:
            stored = StoredToolCall(
                call=made.call_id[:64] or secrets.token_hex(8),
                step=self.step,
                rollout=self.name[:80],
                turn=turn,
                tool=call["function"]["name"][:80] or "?",
                arguments=call["function"]["arguments"],
                status=made.status,
                wall_ms=max(0.0, made.wall_ms),
                output=made.fault or made.text,
                at=time.time(),
            )
            self.tell({"type": "stored", "call": stored})


def _read(arguments: str) -> dict[str, Any] | None:
    try:
        value = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
