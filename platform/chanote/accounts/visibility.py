"""The one filter that decides what a person may know of. Pages, REST, live streams and admin all use it."""

from typing import Any, Self

from django.apps import apps
from django.db import models


class VisibleQuerySet(models.QuerySet):
    """Rows that belong to a project; a subclass names the path to it, such as `run__project`."""

    project_path = "project"

    def visible_to(self, user: Any) -> Self:
        """Rows of the projects in which the user has a role; every row for an installation's administrator."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        if user.is_superuser:
            return self
        memberships = apps.get_model("accounts", "Membership")._default_manager.filter(user=user)
        return self.filter(**{f"{self.project_path}__in": memberships.values("project")})
