"""Scopes of API tokens."""

from typing import Any

from django.core.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission

from chanote.accounts.models import ApiToken

SCOPES = {
    "datasets:read": "see datasets",
    "datasets:write": "import and change datasets",
    "models:read": "see models",
    "models:write": "register models",
    "recipes:read": "see recipes",
    "recipes:write": "write recipes",
    "tools:read": "see toolsets and how the tool service is",
    "tools:write": "make and change toolsets",
    "runs:read": "see runs, their metrics and logs",
    "runs:write": "launch, stop and resume runs",
    "review:read": "see labels of rollouts and the review inbox",
    "review:write": "label rollouts",
    "rights:read": "see sources, terms, exceptions and what used them",
    "rights:write": "change sources, ask for exceptions and decide on them, withdraw",
    "errands:read": "see the platform's own long work",
    "errands:write": "stop and resume the platform's own long work",
    "boards:read": "see boards and scores",
    "boards:write": "change tasks and boards",
    "custody:read": "see signed bundles, packages in quarantine and keys",
    "custody:write": "export bundles, bring packages in and decide about them, accept keys",
    "audit:read": "see the audit log",
}
"""Scope → what a token that has it may do, as far as its owner may."""

FIRST_PASSWORD = "Change the password that was given to you before using the API: log in with a browser once."


class HasScope(BasePermission):
    """The caller is known, has a password of their own, and a token's scopes cover the view's `scope` and verb.

    A view names `scope = "runs"`, or None where every token may read; `only_reads` if even its POST writes nothing.
    A browser session has all scopes.
    """

    def has_permission(self, request: Any, view: Any) -> bool:
        if not request.user or not request.user.is_authenticated:
            return False
        method = "GET" if getattr(view, "only_reads", False) else request.method
        check_scope(request.user, request.auth, getattr(view, "scope", None), method)
        return True


def check_scope(user: Any, token: Any, noun: str | None, method: str) -> None:
    """Raise PermissionDenied with a sentence unless the request may go on."""
    if getattr(user, "must_change_password", False):
        raise PermissionDenied(FIRST_PASSWORD)
    if noun is None or not isinstance(token, ApiToken):
        return
    wanted = f"{noun}:{'read' if method in SAFE_METHODS else 'write'}"
    if wanted not in token.scopes:
        raise PermissionDenied(f"The token {token.name} lacks the scope {wanted}; make one that has it.")
