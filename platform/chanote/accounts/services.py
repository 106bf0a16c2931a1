"""Writes about people, projects, roles and tokens. Each is recorded in the audit log with the act itself."""

import secrets
from datetime import timedelta
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from chanote.accounts.models import ApiToken, Membership, Project, Role, User
from chanote.accounts.roles import require
from chanote.api.permissions import SCOPES
from chanote.audit.services import record

LONGEST_TOKEN_DAYS = 366
PASSWORD_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""No letters that are easily taken for others: 31 of them, so 20 hold 99 bits."""


class MembershipRefused(Exception):
    """A change of members that would leave the project without an admin. The message is for the person."""


def make_password() -> str:
    """A random password in four groups of five, good to read aloud."""
    return "-".join("".join(secrets.choice(PASSWORD_LETTERS) for _ in range(5)) for _ in range(4))


@transaction.atomic
def create_user(
    username: str, password: str | None = None, *, email: str = "", is_superuser: bool = False, actor: Any = None
) -> tuple[User, str]:
    """A person and the password for the first login, which must be changed there.

    Raises ValidationError by field for a name that is taken or malformed and for a weak password.
    """
    user = User(username=username, email=email, is_superuser=is_superuser, is_staff=is_superuser)
    user.must_change_password = True
    if password is not None:
        validate_password(password, user)
    chosen = password if password is not None else make_password()
    user.set_password(chosen)
    user.full_clean()
    user.save()
    record("user.created", user, actor=actor, administrator=is_superuser)
    return user, chosen


@transaction.atomic
def reset_password(user: User, *, actor: Any = None) -> str:
    """Give the person a new one-time password; every session of theirs ends."""
    password = make_password()
    user.set_password(password)
    user.must_change_password = True
    user.save(update_fields=["password", "must_change_password"])
    record("password.reset", user, actor=actor)
    return password


@transaction.atomic
def change_own_password(user: User, password: str) -> None:
    """Set a password that its owner chose; the caller has validated it."""
    user.set_password(password)
    user.must_change_password = False
    user.save(update_fields=["password", "must_change_password"])
    record("password.changed", user, actor=user)


@transaction.atomic
def create_project(
    *, slug: str, name: str, owner: User, description: str = "", reviews_data: bool = False, actor: Any = None
) -> Project:
    """A project with its first admin. Raises ValidationError by field."""
    project = Project(slug=slug, name=name, description=description, reviews_data=reviews_data)
    project.full_clean()
    project.save()
    record("project.created", project, actor=actor or owner, project=project, reviews_data=reviews_data)
    set_role(user=owner, project=project, role=Role.ADMIN, actor=actor or owner)
    return project


@transaction.atomic
def update_project(
    project: Project, *, name: str, description: str, reviews_data: bool | None = None, actor: Any
) -> Project:
    """Change words and settings of a project. Raises PermissionDenied, ValidationError by field."""
    if actor is not None:
        require(actor, "projects.administer", project)
    asked: dict[str, Any] = {"name": name, "description": description}
    asked |= {} if reviews_data is None else {"reviews_data": reviews_data}
    changed = {key: value for key, value in asked.items() if getattr(project, key) != value}
    if not changed:
        return project
    for key, value in changed.items():
        setattr(project, key, value)
    project.full_clean()
    project.save(update_fields=list(changed))
    detail: dict[str, Any] = {"fields": sorted(changed)}
    detail |= {"reviews_data": project.reviews_data} if "reviews_data" in changed else {}
    record("project.changed", project, actor=actor, project=project, **detail)
    return project


def set_reviews_data(project: Project, reviews_data: bool, *, actor: Any) -> Project:
    """Say whether only approved versions of datasets may shape a model in the project. Raises PermissionDenied."""
    return update_project(
        project, name=project.name, description=project.description, reviews_data=reviews_data, actor=actor
    )


@transaction.atomic
def set_role(*, user: User, project: Project, role: str, actor: Any = None) -> Membership:
    """Make the user a member, or change what they may do. The last admin keeps the role."""
    if role not in Role.values:
        raise ValidationError({"role": f"{role!r} is not a role; choose {', '.join(Role.values)}."})
    membership = Membership.objects.select_for_update().filter(user=user, project=project).first()
    if membership is None:
        membership = Membership.objects.create(user=user, project=project, role=role)
        record("member.added", user, actor=actor, project=project, role=role)
        return membership
    if membership.role == role:
        return membership
    if membership.role == Role.ADMIN:
        _keep_an_admin(project, user)
    before, membership.role = membership.role, role
    membership.save(update_fields=["role"])
    record("member.changed", user, actor=actor, project=project, role=role, before=before)
    return membership


@transaction.atomic
def remove_member(membership: Membership, *, actor: Any) -> None:
    """End a membership. Raises MembershipRefused for the last admin."""
    if membership.role == Role.ADMIN:
        _keep_an_admin(membership.project, membership.user)
    record("member.removed", membership.user, actor=actor, project=membership.project, role=membership.role)
    membership.delete()


def _keep_an_admin(project: Project, leaving: User) -> None:
    admins = Membership.objects.select_for_update().filter(project=project, role=Role.ADMIN, user__is_active=True)
    if not [one for one in admins if one.user_id != leaving.pk]:
        raise MembershipRefused(
            f"{leaving.username} is the only admin of {project.name}. Make another member admin first."
        )


@transaction.atomic
def create_token(user: User, name: str, scopes: list[str], days: int, *, actor: Any = None) -> tuple[ApiToken, str]:
    """A token and its text, which is shown once and kept only as a hash. Raises ValidationError by field."""
    name = name.strip()
    problems = {}
    if not name:
        problems["name"] = "Give the token a name that says where it is used."
    elif len(name) > 80:
        problems["name"] = "A name has at most 80 characters."
    elif ApiToken.objects.filter(user=user, name=name).exists():
        problems["name"] = f"There is already a token called {name}; revoke it or choose another name."
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        problems["scopes"] = f"{unknown[0]} is not a scope; choose from {', '.join(SCOPES)}."
    elif not scopes:
        problems["scopes"] = "Choose at least one thing that the token may do."
    if not 1 <= days <= LONGEST_TOKEN_DAYS:
        problems["days"] = f"A token lasts between 1 and {LONGEST_TOKEN_DAYS} days."
    if problems:
        raise ValidationError(problems)
    token, text = ApiToken.objects.create(
        user, expiry=timedelta(days=days), name=name, scopes=[scope for scope in SCOPES if scope in scopes]
    )
    record("token.created", user, actor=actor or user, name=name, scopes=token.scopes, days=days)
    return token, text


@transaction.atomic
def revoke_token(token: ApiToken, *, actor: Any) -> None:
    record("token.revoked", token.user, actor=actor, name=token.name)
    token.delete()
