"""People, the projects they work in, their roles there, and the tokens their programs use."""

from django.contrib.auth.models import AbstractUser
from django.core.validators import RegexValidator
from django.db import models
from knox.models import AbstractAuthToken, AuthTokenManager

from chanote.accounts.visibility import VisibleQuerySet

slug_validator = RegexValidator(
    r"\A[a-z0-9][a-z0-9_-]*\Z", "Use lower-case letters, digits, '-' and '_', beginning with a letter or digit."
)


class User(AbstractUser):  # type: ignore[django-manager-missing]
    must_change_password = models.BooleanField(default=False)
    """Set for a password somebody else chose; every page but the change form is closed until it is changed."""

    def __str__(self) -> str:
        return self.get_full_name() or self.username


class Role(models.TextChoices):
    """What a person may do in one project. Each may see everything in it."""

    VIEWER = "viewer", "viewer"
    RESEARCHER = "researcher", "researcher"
    CURATOR = "curator", "curator"
    ADMIN = "admin", "admin"


class ProjectQuerySet(VisibleQuerySet):
    project_path = "pk"


class Project(models.Model):
    slug = models.CharField(max_length=60, unique=True, validators=[slug_validator])
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    reviews_data = models.BooleanField("only approved versions may train", default=False)
    """Whether a dataset version must be approved by somebody else before it trains a model or is published."""
    created = models.DateTimeField(auto_now_add=True)
    members = models.ManyToManyField(User, through="Membership", related_name="projects")

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role.choices, default=Role.VIEWER)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "project"], name="one_role_per_person_and_project"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.role} in {self.project}"


class ApiToken(AbstractAuthToken):
    """A hashed, expiring token that may do only what its scopes name, and never more than its owner."""

    name = models.CharField(max_length=80)
    scopes = models.JSONField(default=list)
    """Such as `runs:read`, `runs:write`; see `chanote.api.permissions.SCOPES`."""
    last_used = models.DateTimeField(null=True, blank=True)

    objects = AuthTokenManager()

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"
