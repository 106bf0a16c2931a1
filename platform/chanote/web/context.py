"""What every page needs: the project in view, the projects to choose from, counts for the rail."""

from typing import Any

from django.http import HttpRequest

from chanote import __version__


def shell(request: HttpRequest) -> dict[str, Any]:
    return {"chanote_version": __version__}
