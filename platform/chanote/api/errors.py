"""How the API says no: one shape for every error, after RFC 9457, with a sentence and the fields to mend."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import Http404, JsonResponse
from rest_framework import exceptions, serializers
from rest_framework.response import Response
from rest_framework.views import set_rollback

from chanote.web.problems import Problem

MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "The request cannot be read as sent",
    401: "Who calls is not known",
    403: "Not allowed",
    404: "Not found",
    405: "This address does not take this method",
    406: "The answer cannot be given in the wanted form",
    409: "The state of things forbids this now",
    413: "Too large",
    415: "The body has a form that is not taken here",
    422: "Refused",
    429: "Too many requests",
    500: "The platform failed",
}
NOT_FOUND = "There is nothing at this address that you may see."


class Refused(exceptions.APIException):
    """What was asked is well-formed and cannot be done; `problems` says why, by field."""

    status_code = 422

    def __init__(self, detail: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(detail or " ".join(map(str, problems)))
        self.problems = list(problems)


class Conflict(Refused):
    """The state of things forbids it now; another time it may be allowed."""

    status_code = 409


class ProblemItem(serializers.Serializer[Any]):
    field = serializers.CharField(help_text="Path such as `stages[1].data[0].dataset`; empty when the whole is meant.")
    message = serializers.CharField()
    rule = serializers.CharField(required=False, help_text="Of the rights, where one refuses.")
    use = serializers.CharField(required=False)
    subject = serializers.CharField(required=False, help_text="The dataset version or the model.")
    rows = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField()),
        required=False,
        help_text="First and last rows, from 1, both included.",
    )
    data_source = serializers.CharField(required=False, help_text="The source of these rows.")
    ask = serializers.CharField(required=False, help_text="Page on which to ask for an exception; empty if none is.")


class ProblemAnswer(serializers.Serializer[Any]):
    """Every error answer."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    problems = ProblemItem(many=True)


def describe(status: int, detail: str, problems: Sequence[Problem] = ()) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": TITLES.get(status, "Refused"),
        "status": status,
        "detail": detail,
        "problems": [{"field": problem.field, "message": problem.message, **problem.facts()} for problem in problems],
    }


def answer_plain(status: int, detail: str, problems: Sequence[Problem] = ()) -> JsonResponse:
    """The same shape from a view that goes without the REST framework."""
    response = JsonResponse(describe(status, detail, problems), status=status, content_type=MEDIA_TYPE)
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def answer_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """The answer to an exception; None for one that nobody foresaw, which is a failure of ours."""
    if isinstance(error, Http404):
        return _answer(404, NOT_FOUND)
    if isinstance(error, PermissionDenied):
        return _answer(403, str(error) or "You may not do this.")
    if isinstance(error, DjangoValidationError):
        problems = [Problem(name if name != "__all__" else "", text) for name, text in _list_messages(error)]
        return _answer(422, " ".join(map(str, problems)), problems)
    if isinstance(error, Refused):
        return _answer(error.status_code, str(error.detail), error.problems)
    if isinstance(error, exceptions.ValidationError):
        problems = list(_flatten(error.detail, ""))
        return _answer(400, " ".join(map(str, problems)), problems)
    if isinstance(error, exceptions.APIException):
        headers = {}
        if getattr(error, "auth_header", None):
            headers["WWW-Authenticate"] = error.auth_header  # type: ignore[attr-defined]
        if getattr(error, "wait", None):
            headers["Retry-After"] = str(int(error.wait))  # type: ignore[attr-defined]
        return _answer(error.status_code, str(error.detail), headers=headers)
    return None


def _answer(
    status: int, detail: str, problems: Sequence[Problem] = (), headers: dict[str, str] | None = None
) -> Response:
    set_rollback()
    return Response(describe(status, detail, problems), status=status, headers=headers, content_type=MEDIA_TYPE)


def _flatten(detail: Any, path: str) -> Iterator[Problem]:
    """Each message of a serializer's errors with the path of its field."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            here = path if name == "non_field_errors" else f"{path}.{name}" if path else str(name)
            yield from _flatten(inner, here)
    elif isinstance(detail, list | tuple):
        for number, inner in enumerate(detail):
            yield from _flatten(inner, f"{path}[{number}]" if isinstance(inner, dict) else path)
    else:
        yield Problem(path, str(detail))


def _list_messages(error: DjangoValidationError) -> list[tuple[str, str]]:
    if hasattr(error, "error_dict"):
        return [(name, text) for name, texts in error.message_dict.items() for text in texts]
    return [("", text) for text in error.messages]
