"""The project that a page is about."""

from django.http import Http404, HttpRequest

from chanote.accounts.models import Project

LAST_PROJECT = "last_project"
"""Session key: the slug of the project that was looked at last, which pages outside a project return to."""


def get_project(request: HttpRequest, slug: str) -> Project:
    """The project of this name if the person may see it; 404 otherwise, so that strangers learn nothing.

    Sets `request.project`, which the rail shows, and remembers the project in the session.
    """
    project = Project.objects.visible_to(request.user).filter(slug=slug).first()
    if project is None:
        raise Http404(f"You see no project {slug}.")
    request.project = project  # type: ignore[attr-defined]
    if request.session.get(LAST_PROJECT) != slug:
        request.session[LAST_PROJECT] = slug
    return project
