"""Creates that can be sent twice: the header `Idempotency-Key` names a request, and its effect happens once.

The key is claimed first, visibly to all; the effect and the answer are then written in one transaction. A claim whose
request died is taken over after ABANDONED; the fence keeps a request that was only slow from finishing beside its
successor.
"""

import functools
import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, transaction
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from chanote.api.errors import Conflict, Refused
from chanote.api.models import IdempotencyKey
from chanote.web.problems import Problem

HEADER = "Idempotency-Key"
LONGEST_KEY = 200
KEPT = timedelta(hours=24)
ABANDONED = timedelta(minutes=10)
PARAMETER = OpenApiParameter(
    HEADER,
    str,
    OpenApiParameter.HEADER,
    description="Any word of yours that names this request. Sent again within 24 hours it gets the same answer and "
    "nothing happens twice; with another content it is refused with 422, while it is being worked on with 409.",
)
Post = Callable[..., Response]


def idempotent(post: Post | None = None, *, whole: bool = True) -> Any:
    """Decorate a view's method. `whole=False`: the effect commits by itself, and the answer right after it.

    That is for effects too long to hold the database's write lock and harmless to repeat.
    """
    if post is None:
        return functools.partial(idempotent, whole=whole)

    @functools.wraps(post)
    def answer(view: Any, request: Any, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get(HEADER)
        if key is None:
            return post(view, request, *args, **kwargs)
        if not 1 <= len(key) <= LONGEST_KEY or not key.isprintable():
            raise ValidationError({HEADER: f"must have 1 to {LONGEST_KEY} printable characters"})
        claim, answered = claim_key(request.user, key, hash_request(request))
        if answered is not None:
            return answered
        try:
            return _perform(claim, functools.partial(post, view, request, *args, **kwargs), whole=whole)
        except BaseException:
            # Nothing happened: the caller may mend the request and use the key again.
            IdempotencyKey.objects.filter(pk=claim.pk, fence=claim.fence, status=None).delete()
            raise

    return answer


def _perform(claim: IdempotencyKey, act: Callable[[], Response], *, whole: bool) -> Response:
    if not whole:
        response = act()
        _store(claim, response)
        return response
    with transaction.atomic():
        response = act()
        _store(claim, response)
    return response


def claim_key(user: Any, key: str, sha256: str) -> tuple[IdempotencyKey, Response | None]:
    """This request's claim, or the answer that the same request got before. Raises Refused and Conflict."""
    now = timezone.now()
    IdempotencyKey.objects.filter(user=user, created__lt=now - KEPT).delete()
    try:
        with transaction.atomic():
            claim = IdempotencyKey.objects.create(user=user, key=key, request_sha256=sha256, started=now)
        return claim, None
    except IntegrityError:
        claim = IdempotencyKey.objects.filter(user=user, key=key).first() or _vanished()
    if claim.request_sha256 != sha256:
        message = "was used for another request; give every request a key of its own"
        raise Refused(problems=[Problem(HEADER, message)])
    if claim.status is not None:
        return claim, _replay(claim)
    taken = IdempotencyKey.objects.filter(
        pk=claim.pk, fence=claim.fence, status=None, started__lt=now - ABANDONED
    ).update(fence=claim.fence + 1, started=now)
    if not taken:
        raise Conflict("The same request is being worked on; ask again in a moment.")
    claim.fence += 1
    return claim, None


def hash_request(request: Any) -> str:
    """SHA-256 of what the request asks for, whatever the order of its fields or the borders of its parts."""
    digest = hashlib.sha256(f"{request.method} {request.get_full_path()}\n".encode())
    if request.content_type and request.content_type.startswith("multipart/"):
        for name in sorted(request.data):
            for value in request.data.getlist(name):
                digest.update(f"{len(name)}:{name}=".encode())
                digest.update(_hash_value(value))
    else:
        digest.update(json.dumps(request.data, sort_keys=True, cls=JSONEncoder).encode())
    return digest.hexdigest()


def _hash_value(value: Any) -> bytes:
    digest = hashlib.sha256()
    if isinstance(value, UploadedFile):
        digest.update(f"{value.name}\n".encode(errors="replace"))
        for block in value.chunks():
            digest.update(block)
        value.seek(0)
    else:
        digest.update(str(value).encode(errors="replace"))
    return digest.digest()


def _store(claim: IdempotencyKey, response: Response) -> None:
    data = json.loads(json.dumps(response.data, cls=JSONEncoder))
    kept = {"data": data, "location": response.headers.get("Location", "")}
    stored = IdempotencyKey.objects.filter(pk=claim.pk, fence=claim.fence, status=None).update(
        status=response.status_code, response=kept
    )
    if not stored:
        raise Conflict("The request took so long that another one with its key took over; nothing was done here.")


def _replay(claim: IdempotencyKey) -> Response:
    kept = claim.response or {}
    headers = {"Idempotent-Replay": "true"}
    if kept.get("location"):
        headers["Location"] = kept["location"]
    return Response(kept.get("data"), status=claim.status, headers=headers)


def _vanished() -> IdempotencyKey:
    raise Conflict("The same request has just ended without effect; send it again.")
