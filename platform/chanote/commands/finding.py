"""From the words of a command line to rows: the acting user, the project, a run by number."""

import argparse
import os
import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from chanote.accounts.models import Project, User
from chanote.commands.answers import NOT_FOUND, USAGE, CommandEnd
from chanote.runs.models import Run
from chanote.web.numbers import read_number


def find_actor(args: argparse.Namespace) -> User:
    """The user named by --as or CHANOTE_USER, else the installation's first administrator."""
    name = args.actor or os.environ.get("CHANOTE_USER", "")
    if name:
        user = User.objects.filter(username=name, is_active=True).first()
        if user is None:
            raise CommandEnd(f"No active user is called {name}; `chanote user list` shows them.", NOT_FOUND)
        return user
    user = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if user is None:
        raise CommandEnd("There is no administrator yet; make one with `chanote user create NAME --admin`.", NOT_FOUND)
    return user


def find_project(args: argparse.Namespace, actor: User) -> Project:
    """The project named by --project or CHANOTE_PROJECT, else the only one there is."""
    visible = Project.objects.visible_to(actor)
    slug = args.project or os.environ.get("CHANOTE_PROJECT", "")
    if slug:
        project = visible.filter(slug=slug).first()
        if project is None:
            raise CommandEnd(f"No project is called {slug}.", NOT_FOUND)
        return project
    projects = list(visible[:2])
    if not projects:
        raise CommandEnd(
            "There is no project yet; make one with `chanote user create NAME --new-project SLUG`.", NOT_FOUND
        )
    if len(projects) > 1:
        raise CommandEnd("There are several projects; name one with --project SLUG.", USAGE)
    return projects[0]


def find_run(text: str, project: Project, actor: User) -> Run:
    """A run by its number in the project, its name or its id."""
    runs = Run.objects.visible_to(actor)
    if text.isdecimal():
        run = runs.filter(project=project, number=read_number(text) or 0).first()
    else:
        try:
            run = runs.filter(pk=uuid.UUID(text)).first()
        except (ValueError, ValidationError):
            run = runs.filter(project=project, name=text).order_by("-created").first()
    if run is None:
        raise CommandEnd(f"No run {text} in {project.slug}; `chanote run list` shows them.", NOT_FOUND)
    return run


def find_named(rows: "QuerySet[Any]", noun: str, slug: str) -> Any:
    row = rows.filter(slug=slug).first()
    if row is None:
        raise CommandEnd(f"No {noun} is called {slug}; `chanote {noun} list` shows them.", NOT_FOUND)
    return row
