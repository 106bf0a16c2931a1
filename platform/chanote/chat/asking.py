"""One streamed answer of a served checkpoint. Standard library only; no proxy and no redirect is followed."""

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 120.0
"""Without a byte; a server that works says so more often."""
LONGEST_LINE = 4 << 20
LONGEST_ANSWER = 16 << 20
"""Bytes of one stream."""


class EndpointFailed(Exception):
    """No answer to go on with; one sentence that never holds the key."""


@dataclass
class Answer:
    """What has come so far."""

    content: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""
    usage: dict[str, Any] = field(default_factory=dict)

    def message(self) -> dict[str, Any]:
        """As it goes into the conversation."""
        written: dict[str, Any] = {"role": "assistant", "content": self.content}
        if self.calls:
            written["tool_calls"] = self.calls
            written["content"] = self.content or None
        return written


class Asking:
    """A question in progress, which another thread may break off."""

    def __init__(self, address: str, token: str) -> None:
        self.address, self._token = address, token
        self._socket: socket.socket | None = None
        self._stopped = False

    def stop(self) -> None:
        """End the stream wherever it is."""
        self._stopped = True
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it was over

    def stream(self, body: dict[str, Any], tell: Callable[[str], None]) -> Answer:
        """The whole answer; `tell` is given its text as it comes. Raises EndpointFailed."""
        answer = Answer()
        if self._stopped:
            return answer
        parts = urlsplit(self.address)
        assert parts.hostname is not None
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=CONNECT_SECONDS)
        try:
            connection.connect()
            self._socket = connection.sock
            self._socket.settimeout(SILENCE_SECONDS)
            content = json.dumps({**body, "stream": True, "stream_options": {"include_usage": True}}).encode()
            headers = {"Content-Type": "application/json", "Connection": "close"}
            if self._token:
                headers["Authorization"] = f"Bearer {self._token}"
            connection.request("POST", "/v1/chat/completions", body=content, headers=headers)
            reply = connection.getresponse()
            if reply.status != 200:
                raise EndpointFailed(_explain(reply.status, reply.read(1 << 16)))
            for event in _read_events(reply):
                _take(answer, event, tell)
            if not answer.reason and not self._stopped:
                raise EndpointFailed("The model's server broke off in the middle of its answer; ask again.")
        except (OSError, http.client.HTTPException, ValueError) as error:
            if self._stopped:
                return answer
            if isinstance(error, TimeoutError):
                raise EndpointFailed("The model's server said nothing for too long; ask again.") from error
            raise EndpointFailed(
                "The model's server cannot be reached any more; start it anew with `chanote serve`."
            ) from error
        finally:
            connection.close()
            self._socket = None
        return answer


def _read_events(reply: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    read = 0
    while line := reply.readline(LONGEST_LINE):
        read += len(line)
        if read > LONGEST_ANSWER:
            raise EndpointFailed("The model's server answers without end; stop it and look at its output.")
        text = line.decode("utf-8", "replace").strip()
        if text == "data: [DONE]":
            return
        if text.startswith("data: "):
            event = json.loads(text.removeprefix("data: "))
            if isinstance(event, dict):
                yield event


def _take(answer: Answer, event: dict[str, Any], tell: Callable[[str], None]) -> None:
    """Raises EndpointFailed for an error, and ValueError for what is no event of such a stream."""
    if "error" in event:
        raise EndpointFailed(_sentence(event))
    answer.usage = event.get("usage") or answer.usage
    for choice in event.get("choices") or []:
        delta = choice.get("delta") or {}
        if text := delta.get("content"):
            if not isinstance(text, str):
                raise ValueError("content is no text")
            answer.content += text
            tell(text)
        for piece in delta.get("tool_calls") or []:
            _add_call(answer, piece)
        answer.reason = choice.get("finish_reason") or answer.reason


def _add_call(answer: Answer, piece: dict[str, Any]) -> None:
    """Servers send a call whole or in pieces, which its index holds together."""
    place = int(piece.get("index") or 0)
    if not 0 <= place <= len(answer.calls):
        raise ValueError("calls come out of order")
    if place == len(answer.calls):
        answer.calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    call, function = answer.calls[place], piece.get("function") or {}
    call["id"] = str(piece.get("id") or call["id"])
    call["function"]["name"] += str(function.get("name") or "")
    call["function"]["arguments"] += str(function.get("arguments") or "")


def _explain(status: int, content: bytes) -> str:
    try:
        said = json.loads(content)
    except ValueError:
        said = {}
    if status == 401:
        return "The model's server does not take this installation's key; start it anew with `chanote serve`."
    if status == 429:
        return "The model's server is full; ask again in a moment."
    return _sentence(said) if isinstance(said, dict) and "error" in said else f"The server answered with {status}."


def _sentence(event: dict[str, Any]) -> str:
    error = event.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    return f"The model's server says: {' '.join(str(message)[:500].split())}"
