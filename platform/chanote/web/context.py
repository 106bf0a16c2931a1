"""What every page needs: the project in view, the projects to choose from, the rail with its counts."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from chanote import __version__
from chanote.accounts.models import Project
from chanote.runs.models import Run, State
from chanote.web.projects import LAST_PROJECT

THEMES = ("light", "dark")
DENSITIES = ("compact",)
WORK = (
    ("Home", "home", ("project",)),
    ("Runs", "runs", ("runs",)),
    ("Recipes", "recipes", ("recipes",)),
    ("Datasets", "datasets", ("datasets",)),
    ("Builds", "filter", ("builds",)),
    ("Boards", "boards", ("boards:list", "boards")),
    ("Models", "models", ("models",)),
    ("Tools", "tools", ("toolsets",)),
    ("Chat", "chat", ("chat",)),
    ("Review", "review", ("review",)),
    ("Rights", "seal", ("sources",)),
)
OPERATIONS = (
    ("Queue", "queue", ("queue",)),
    ("Errands", "server", ("errands",)),
    ("Custody", "lock", ("custody",)),
    ("Members", "user", ("members",)),
    ("Audit log", "audit", ("audit",)),
)
"""Rows of the rail: label, icon, and the names that their address may have."""


@dataclass(frozen=True)
class RailEntry:
    label: str
    icon: str
    url: str
    current: bool
    count: int | None = None


def shell(request: HttpRequest) -> dict[str, Any]:
    context: dict[str, Any] = {
        "chanote_version": __version__,
        "theme": _choose(request, "theme", THEMES),
        "density": _choose(request, "density", DENSITIES),
    }
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or user.must_change_password:
        return context
    projects = list(Project.objects.visible_to(user))
    project = getattr(request, "project", None) or _recall(request, projects)
    context |= {"rail_project": project, "rail_projects": projects, "staff": user.is_staff}
    if project is not None:
        counts = Run.objects.filter(project=project).aggregate(
            runs=Count("pk", filter=Q(state__in=[State.RUNNING, State.STOPPING])),
            queue=Count("pk", filter=Q(state=State.QUEUED)),
        )
        context |= {
            "rail_work": _list_entries(request, project, WORK, counts),
            "rail_operations": _list_entries(request, project, OPERATIONS, counts),
        }
    return context


def _choose(request: HttpRequest, cookie: str, allowed: tuple[str, ...]) -> str:
    value = request.COOKIES.get(cookie, "")
    return value if value in allowed else ""


def _recall(request: HttpRequest, projects: list[Project]) -> Project | None:
    slug = request.session.get(LAST_PROJECT)
    return next((one for one in projects if one.slug == slug), projects[0] if projects else None)


def _list_entries(
    request: HttpRequest, project: Project, rows: tuple[tuple[str, str, tuple[str, ...]], ...], counts: dict[str, int]
) -> list[RailEntry]:
    entries = []
    for label, picture, names in rows:
        url = _find_address(names, project.slug)
        if url is None:
            continue
        current = request.path == url or (names[0] != "project" and request.path.startswith(url))
        entries.append(RailEntry(label, picture, url, current, counts.get(names[0]) or None))
    return entries


def _find_address(names: tuple[str, ...], slug: str) -> str | None:
    for name in names:
        try:
            return reverse(name, args=[slug])
        except NoReverseMatch:
            continue
    return None
