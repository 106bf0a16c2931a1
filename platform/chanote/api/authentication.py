"""Who calls: a hashed, expiring token in `Authorization: Bearer chanote_…`."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.crypto import hash_token
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header

from chanote.accounts.models import ApiToken, User

SCHEME = "Bearer"
LONGEST_TOKEN = 200
LAST_USED_EVERY = timedelta(minutes=1)
"""How exactly `last_used` is kept: a write for every request would cost more than most requests."""
INVALID = "The token is unknown, revoked or expired; make a new one on your profile page."


class ApiTokenAuthentication(BaseAuthentication):
    def authenticate(self, request: Any) -> tuple[User, ApiToken] | None:
        text = read_header(request)
        if text is None:
            return None
        token = find_token(text)
        if token is None:
            raise exceptions.AuthenticationFailed(INVALID)
        note_use(token)
        return token.user, token

    def authenticate_header(self, request: Any) -> str:
        return SCHEME


def read_header(request: Any) -> str | None:
    """The token's text; None without one. Raises AuthenticationFailed when the header is malformed."""
    parts = get_authorization_header(request).split()
    if not parts or parts[0].lower() != SCHEME.lower().encode():
        return None
    if len(parts) != 2 or len(parts[1]) > LONGEST_TOKEN:
        raise exceptions.AuthenticationFailed(f"Write the header as `Authorization: {SCHEME} chanote_…`.")
    try:
        return str(parts[1].decode("ascii"))
    except UnicodeDecodeError as error:
        raise exceptions.AuthenticationFailed(INVALID) from error


def find_token(text: str) -> ApiToken | None:
    """The live token of this text with its user. One hash and one look-up, whether it exists or not."""
    token = ApiToken.objects.filter(digest=hash_token(text)).select_related("user").first()
    if token is None or not token.user.is_active or (token.expiry is not None and token.expiry <= timezone.now()):
        return None
    return token


def note_use(token: ApiToken) -> None:
    """Keep `last_used`, to the minute."""
    now = timezone.now()
    if token.last_used is None or now - token.last_used >= LAST_USED_EVERY:
        ApiToken.objects.filter(pk=token.pk).update(last_used=now)
        token.last_used = now


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "chanote.api.authentication.ApiTokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A token from your profile page: `chanote_…`."}
