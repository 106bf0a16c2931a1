"""Asking a tool service over HTTP: within a time limit over all, without proxies or redirects.

What goes wrong is one sentence with the way out. A tool that failed is an answer, not an error.
"""

import http.client
import json
import ssl
import time
from dataclasses import dataclass
from typing import Any

from chanote.tools.endpoints import Endpoint
from trainer.contract.exchange import exchange

LARGEST_REPLY = 16 << 20
"""Bytes."""


class ServiceFailed(Exception):
    """No answer to go on with. The message is a sentence that never holds the token."""

    def __init__(self, sentence: str, *, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status
        """Of HTTP; 0 when the service was not reached."""


@dataclass(frozen=True)
class Reply:
    status: int
    body: dict[str, Any]

    @property
    def refusal(self) -> str:
        """What the service said in an error; empty when it said nothing."""
        error = self.body.get("error")
        message = error.get("message") if isinstance(error, dict) else None
        return message[:500] if isinstance(message, str) else ""


def ask(endpoint: Endpoint, path: str, body: dict[str, Any] | None = None, *, seconds: float) -> Reply:
    """The JSON reply to a POST of `body`, or to a GET without one. Raises ServiceFailed within about `seconds`."""
    headers = {"Accept": "application/json", "Connection": "close"}
    try:
        if token := endpoint.read_token():
            headers["Authorization"] = f"Bearer {token}"
    except OSError as error:
        raise ServiceFailed(
            f"The token file {endpoint.token_file} cannot be read ({error.strerror}); correct "
            "CHANOTE_SANDBOX_TOKEN_FILE or its rights."
        ) from error
    content = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    deadline = time.monotonic() + seconds
    try:
        status, read, _ = exchange(endpoint.address, path, content, headers, seconds=seconds, most_bytes=LARGEST_REPLY)
    except ssl.SSLCertVerificationError as error:
        raise ServiceFailed(
            f"The tool service at {endpoint.address} shows a certificate that is not trusted ({error.verify_message})."
        ) from error
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        if isinstance(error, TimeoutError) or time.monotonic() >= deadline:
            raise ServiceFailed(
                f"The tool service at {endpoint.address} did not answer within {seconds:g} s; try again, or look "
                "at its log."
            ) from error
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ServiceFailed(
            f"The tool service at {endpoint.address} cannot be reached ({reason}); start it, or correct "
            "CHANOTE_SANDBOX_URL."
        ) from error
    return _read(endpoint, status, read)


def _read(endpoint: Endpoint, status: int, read: bytes) -> Reply:
    if status == 401:
        raise ServiceFailed(
            f"The tool service at {endpoint.address} does not take this platform's token; name the file that holds "
            "it in CHANOTE_SANDBOX_TOKEN_FILE.",
            status=status,
        )
    try:
        if len(read) > LARGEST_REPLY:
            raise ValueError
        body = json.loads(read)
        if not isinstance(body, dict):
            raise ValueError
    except (ValueError, RecursionError) as error:
        raise ServiceFailed(
            f"What answers at {endpoint.address} is no tool service (status {status}); correct CHANOTE_SANDBOX_URL.",
            status=status,
        ) from error
    return Reply(status, body)
