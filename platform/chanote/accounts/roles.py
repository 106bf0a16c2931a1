"""Who may do what in a project: predicates over a person's role there.

Ask with `require(user, "runs.launch", project)`. A person who may see the project gets PermissionDenied (403);
a stranger gets Http404, since even the project's existence is not theirs to know.
"""

from typing import Any

import rules
from django.core.exceptions import PermissionDenied
from django.http import Http404

from chanote.accounts.models import Membership, Project, Role, User


def role_of(user: User, project: Project) -> str | None:
    """The user's role in the project; an installation's administrator is admin everywhere."""
    if user.is_superuser:
        return Role.ADMIN
    return Membership.objects.filter(user=user, project=project).values_list("role", flat=True).first()


def has_role(*roles: str) -> rules.Predicate:
    @rules.predicate(f"has_role:{','.join(roles)}")
    def predicate(user: Any, project: Project | None) -> bool:
        return project is not None and user.is_active and role_of(user, project) in roles

    return predicate


ANY = has_role(*Role.values)
WORKS = has_role(Role.RESEARCHER, Role.ADMIN)
CURATES = has_role(Role.RESEARCHER, Role.CURATOR, Role.ADMIN)
DECIDES = has_role(Role.CURATOR, Role.ADMIN)
RULES = has_role(Role.ADMIN)

PERMISSIONS = {
    "projects.view": (ANY, "see the project"),
    "projects.administer": (RULES, "manage members and settings"),
    "datasets.change": (CURATES, "import and change datasets"),
    "datasets.review": (CURATES, "review versions of datasets"),
    "endpoints.change": (WORKS, "set up endpoints that write data"),
    "models.register": (WORKS, "register models"),
    "models.serve": (WORKS, "serve models"),
    "models.try": (WORKS, "talk to served models"),
    "recipes.change": (WORKS, "write recipes"),
    "runs.launch": (WORKS, "launch, stop and resume runs"),
    "runs.order_queue": (RULES, "change the order of the queue"),
    "tools.change": (WORKS, "make and change toolsets"),
    "tools.try": (WORKS, "try tools"),
    "rollouts.label": (CURATES, "label rollouts"),
    "custody.export": (WORKS, "export signed bundles"),
    "custody.release": (CURATES, "bring transfer packages in and decide about them"),
    "custody.trust": (RULES, "accept the keys of others"),
    "boards.change": (WORKS, "change tasks and boards"),
    "boards.publish": (RULES, "grant and revoke public links to frozen boards"),
    "rights.request": (CURATES, "ask for exceptions"),
    "rights.decide": (DECIDES, "decide on exceptions and allow more than terms did so far"),
    "rights.withdraw": (CURATES, "withdraw sources and rows"),
}
for _name, (_predicate, _words) in PERMISSIONS.items():
    rules.set_perm(_name, _predicate)


def may(user: Any, permission: str, project: Project) -> bool:
    return bool(user.is_authenticated) and rules.has_perm(permission, user, project)


def require(user: Any, permission: str, project: Project) -> None:
    """Raise unless the user holds the permission in the project."""
    if may(user, permission, project):
        return
    if not may(user, "projects.view", project):
        raise Http404
    role = role_of(user, project)
    raise PermissionDenied(
        f"Your role in {project.name} is {role}: it does not allow you to {PERMISSIONS[permission][1]}. "
        "An admin of the project can change your role."
    )
