"""Whose packages a project takes: public keys, each with the name of its owner, accepted by an admin."""

from typing import Any

from django.db import transaction

from chanote.accounts.models import Project
from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.custody.models import TrustedKey
from chanote.custody.packages import refuse
from chanote.custody.signing import find_own_public_key

OURS = "this installation"


def find_key_owner(project: Project, key: str) -> str:
    """Who signed, as far as this project knows; empty for a key that nobody accepted."""
    trusted = TrustedKey.objects.filter(project=project, key=key).first()
    if trusted is not None:
        return trusted.owner
    own = find_own_public_key()
    return OURS if own is not None and key == own.hex() else ""


@transaction.atomic
def trust_key(*, project: Project, key: str, owner: str, actor: Any) -> TrustedKey:
    """Take packages under this key from now on. Raises PackageRefused."""
    require(actor, "custody.trust", project)
    owner = " ".join(owner.split())
    if not 1 <= len(owner) <= 200:
        raise refuse("Say whose key it is, in at most 200 characters.", "owner")
    if len(key) != 64 or set(key) - set("0123456789abcdef"):
        raise refuse("A public key has 64 hexadecimal digits.", "key")
    trusted, created = TrustedKey.objects.get_or_create(
        project=project, key=key, defaults={"owner": owner, "accepted_by": actor}
    )
    if not created:
        raise refuse(f"This key is accepted already, as that of {trusted.owner}.", "key")
    record("key.trusted", trusted, actor=actor, fingerprint=trusted.fingerprint, owner=owner)
    return trusted


@transaction.atomic
def distrust_key(trusted: TrustedKey, *, actor: Any) -> None:
    """Take no further package under this key; what was released stays."""
    require(actor, "custody.trust", trusted.project)
    record("key.distrusted", trusted, actor=actor, fingerprint=trusted.fingerprint, owner=trusted.owner)
    trusted.delete()
