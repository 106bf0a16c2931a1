"""The request as views see it: after the middleware for htmx, with the project once it is found."""

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from chanote.accounts.models import Project


class HtmxRequest(HttpRequest):
    htmx: HtmxDetails
    project: Project
    """Set by `chanote.web.projects.get_project`."""
