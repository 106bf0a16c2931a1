"""What a request is refused with, in the form of OpenAI's API."""

from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse, Response


class Refused(Exception):
    """The request gets no answer; the message is a sentence with the way out."""

    def __init__(
        self, message: str, *, status: int = 400, field: str | None = None, code: str | None = None, wait_s: int = 0
    ) -> None:
        super().__init__(message)
        self.status, self.field, self.code, self.wait_s = status, field, code, wait_s

    def body(self) -> dict[str, Any]:
        kind = "invalid_request_error" if self.status < 500 and self.status != 429 else "server_error"
        kind = "rate_limit_error" if self.status == 429 else kind
        return {"error": {"message": str(self), "type": kind, "param": self.field, "code": self.code}}

    def response(self) -> Response:
        headers = {"Retry-After": str(self.wait_s)} if self.wait_s else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(), status_code=self.status, headers=headers)


def explain(error: ValidationError) -> Refused:
    """The first fault of a body, by its field: `messages[2].content`."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = ""
    for part in first["loc"]:
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else str(part)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "this server knows no such field; leave it out"
    return Refused(f"{field}: {message}." if field else f"The body is no request: {message}.", field=field or None)
