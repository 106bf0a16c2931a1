"""Services that a run asks over HTTP, models behind OpenAI's API above all: where they are, one call, a probe.

Standard library only, so that the platform can probe an endpoint before launch. No proxy and no redirect is followed: a
question about a nation's law goes to the address that the recipe names and nowhere else.
"""

import http.client
import json
import os
import re
import ssl
import time
from typing import Any

from pydantic import Field, field_validator

from trainer.contract.addresses import is_address
from trainer.contract.base import Contract
from trainer.contract.exchange import exchange

LARGEST_REPLY = 4 << 20
"""Bytes. A longer reply is no reply."""
TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504, 529}
REFUSED = {401, 403, 404, 405, 501}
"""Statuses that every further call would get, too."""


class Address(Contract):
    """Where a service is, and the key that opens it."""

    base_url: str
    """What comes before the path of every call."""
    api_key_env: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")
    """Environment variable that holds the key; empty: no key is sent. The key itself is never written down."""

    @field_validator("base_url")
    @classmethod
    def _check_address(cls, value: str) -> str:
        if "@" in value.partition("//")[2].partition("/")[0]:
            raise ValueError("holds a password; remove it and name the variable with the key in api_key_env")
        if not is_address(value, with_path=True):
            examples = cls.model_fields["base_url"].examples or ["http://127.0.0.1:8000"]
            raise ValueError(f"is no address like {examples[0]}")
        return value.rstrip("/")


class Endpoint(Address):
    """A model behind an OpenAI-compatible API."""

    base_url: str = Field(examples=["http://127.0.0.1:8000/v1"])
    """Address up to and with `/v1`."""
    model: str = Field(min_length=1)
    """Name by which the server knows the model."""


class EndpointError(Exception):
    """A call that brought no answer. The message is a sentence that never holds the key."""

    def __init__(self, sentence: str, *, again: bool = False, refused: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(sentence)
        self.again = again
        """Another attempt may succeed."""
        self.refused = refused
        """Every further call would fail in the same way."""
        self.wait_s = wait_s
        """Seconds that the server asked to wait before another attempt."""
        self.status = 0


def call(
    endpoint: Address, path: str, body: dict[str, Any] | None = None, *, seconds: float, key: str | None = None
) -> Any:
    """The JSON reply to a POST of `body`, or to a GET without one; raises EndpointError within about `seconds`.

    `key` is the one to send where the environment does not hold it.
    """
    key = read_key(endpoint) if key is None else key
    deadline = time.monotonic() + seconds
    headers = {"Accept": "application/json", "Connection": "close"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        written = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        status, content, wait = exchange(
            endpoint.base_url, path, written, headers, seconds=seconds, most_bytes=LARGEST_REPLY
        )
    except ssl.SSLCertVerificationError as error:
        raise EndpointError(
            f"{endpoint.base_url} shows a certificate that is not trusted ({error.verify_message}).", refused=True
        ) from error
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, TimeoutError) or time.monotonic() >= deadline:
            raise EndpointError(f"{endpoint.base_url} did not answer within {seconds:g} s.", again=True) from error
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise EndpointError(f"{endpoint.base_url} cannot be reached ({reason}).", again=True) from error
    if status == 200:
        return _parse(endpoint, content)
    failure = _explain(endpoint, status, wait, content, key)
    failure.status = status
    raise failure


def read_key(endpoint: Address) -> str:
    """The key from the environment; raises EndpointError, which does not show it, where there is none to use."""
    if not endpoint.api_key_env:
        return ""
    key = os.environ.get(endpoint.api_key_env, "").strip()
    if not key:
        raise EndpointError(
            f"the environment variable {endpoint.api_key_env} is empty; set it to the key", refused=True
        )
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise EndpointError(f"the environment variable {endpoint.api_key_env} holds no usable key", refused=True)
    return key


def probe(endpoint: Endpoint, *, seconds: float = 10.0) -> str:
    """Why the model cannot be asked, as a sentence with the way out; empty when it can."""
    try:
        try:
            listed = call(endpoint, "/models", seconds=seconds)
        except EndpointError as error:
            if error.status not in (404, 405, 501):
                raise
            # Some servers list no models: ask the shortest question there is.
            question = {"model": endpoint.model, "max_tokens": 1, "messages": [{"role": "user", "content": "1"}]}
            call(endpoint, "/chat/completions", question, seconds=seconds)
            return ""
    except EndpointError as error:
        return f"{str(error).rstrip('.')}. Start the server, or correct endpoint."
    models = listed.get("data") if isinstance(listed, dict) else None
    names = [one["id"] for one in models or [] if isinstance(one, dict) and isinstance(one.get("id"), str)]
    if names and endpoint.model not in names:
        shown = ", ".join(sorted(names)[:5])
        return f"{endpoint.base_url} does not serve {endpoint.model} but {shown}. Name one of those as model."
    return ""


def _parse(endpoint: Address, content: bytes) -> Any:
    if len(content) > LARGEST_REPLY:
        raise EndpointError(f"{endpoint.base_url} replied with more than {LARGEST_REPLY >> 20} MiB.")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise EndpointError(f"{endpoint.base_url} replied with something that is not JSON.", again=True) from error


def _explain(endpoint: Address, status: int, wait: str, content: bytes, key: str) -> EndpointError:
    where = endpoint.base_url
    if status in (401, 403):
        named = (
            f"the key in {endpoint.api_key_env}" if endpoint.api_key_env else "calls without a key; name api_key_env"
        )
        return EndpointError(f"{where} refuses {named} (status {status}).", refused=True)
    if 300 <= status < 400:
        return EndpointError(f"{where} points elsewhere (status {status}); put the final address there.", refused=True)
    said = _read_message(content) or content[:2000].decode("utf-8", "replace")
    if key:
        said = said.replace(key, "…")
    said = " ".join("".join(c if c.isprintable() else " " for c in said).split())[:160]
    sentence = f"{where} answered with status {status}{': ' + said if said else ''}."
    seconds = float(wait) if re.fullmatch(r"[0-9]{1,4}(\.[0-9]+)?", wait.strip()) else 0.0
    return EndpointError(sentence, again=status in TRY_AGAIN, refused=status in REFUSED, wait_s=seconds)


def _read_message(content: bytes) -> str:
    """The sentence of `{"error": {"message": ...}}`, as OpenAI's API and the tool sandbox write it; else empty."""
    try:
        message = json.loads(content)["error"]["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return message if isinstance(message, str) else ""
