"""What the API's views share, and those about nobody's project in particular."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.functional import cached_property
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.gzip import gzip_page
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import SAFE_METHODS
from rest_framework.response import Response

from chanote.accounts.models import ApiToken, Project
from chanote.accounts.roles import require, role_of
from chanote.accounts.services import set_reviews_data
from chanote.api.errors import NOT_FOUND, answer_plain


@csrf_exempt
def answer_unknown(request: HttpRequest) -> JsonResponse:
    return answer_plain(404, NOT_FOUND)


@method_decorator(gzip_page, name="dispatch")
class ApiView(GenericAPIView[Any]):
    """A view of one noun. `scope` is that noun in the scopes of tokens.

    No answer holds a secret, so that all may be compressed.
    """

    scope: str | None = None
    page_ordering = "-id"
    filter_backends = ()

    def answer_page(self, rows: QuerySet[Any], serializer: type[serializers.BaseSerializer[Any]]) -> Response:
        """A page of the rows. The filter by project has been applied."""
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(serializer(page, many=True, context={"request": self.request}).data)

    def read(self, serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """The body, checked. Raises ValidationError by field."""
        if not isinstance(self.request.data, dict):
            raise serializers.ValidationError({"non_field_errors": ["the body must be an object"]})
        parsed = serializer(data=self.request.data)
        parsed.is_valid(raise_exception=True)
        return dict(parsed.validated_data)

    def read_query(self, serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """The query parameters, checked."""
        parsed = serializer(data=self.request.query_params)
        parsed.is_valid(raise_exception=True)
        return dict(parsed.validated_data)


class ProjectView(ApiView):
    """A view of something in a project, which a stranger is not told of."""

    @cached_property
    def project(self) -> Project:
        return get_object_or_404(Project.objects.visible_to(self.request.user), slug=self.kwargs["project"])

    def require(self, permission: str) -> None:
        require(self.request.user, permission, self.project)

    def link(self, name: str, *arguments: Any) -> str:
        """Address of something in the project."""
        return self.request.build_absolute_uri(reverse(f"api:{name}", args=[self.project.slug, *arguments]))


class ProjectAnswer(serializers.ModelSerializer[Project]):
    role = serializers.SerializerMethodField(help_text="Your role: viewer, researcher, curator or admin.")

    class Meta:
        model = Project
        fields = ("slug", "name", "description", "reviews_data", "created", "role")

    def get_role(self, project: Project) -> str:
        return role_of(self.context["request"].user, project) or ""


class ProjectChange(serializers.Serializer[Any]):
    reviews_data = serializers.BooleanField(
        help_text="Whether only approved versions of datasets may train a model or leave the house."
    )


class TokenAnswer(serializers.Serializer[Any]):
    name = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    expires = serializers.DateTimeField(allow_null=True)


class MeAnswer(serializers.Serializer[Any]):
    username = serializers.CharField()
    name = serializers.CharField(allow_blank=True)
    administrator = serializers.BooleanField(help_text="Administers the whole installation.")
    token = TokenAnswer(allow_null=True, help_text="The token of this request; null in a browser session.")


class Me(ApiView):
    @extend_schema(responses=MeAnswer, operation_id="me", tags=["me"])
    def get(self, request: Any) -> Response:
        """Who you are to the platform, and what this token may do."""
        token = request.auth if isinstance(request.auth, ApiToken) else None
        about = {"name": token.name, "scopes": token.scopes, "expires": token.expiry} if token else None
        user = request.user
        answer = {
            "username": user.username,
            "name": user.get_full_name(),
            "administrator": user.is_superuser,
            "token": about,
        }
        return Response(MeAnswer(answer).data)


class Projects(ApiView):
    serializer_class = ProjectAnswer
    queryset = Project.objects.none()

    @extend_schema(responses=ProjectAnswer(many=True), operation_id="projects_list", tags=["projects"])
    def get(self, request: Any) -> Response:
        """Projects in which you have a role, the newest first."""
        return self.answer_page(Project.objects.visible_to(request.user), ProjectAnswer)


class OneProject(ProjectView):
    @property
    def scope(self) -> str | None:  # type: ignore[override]
        """Every token may look; only one that may change rights changes the rule on reviews."""
        return None if self.request.method in SAFE_METHODS else "rights"

    @extend_schema(responses=ProjectAnswer, operation_id="projects_read", tags=["projects"])
    def get(self, request: Any, project: str) -> Response:
        """One project."""
        return Response(ProjectAnswer(self.project, context={"request": request}).data)

    @extend_schema(request=ProjectChange, responses=ProjectAnswer, operation_id="projects_change", tags=["projects"])
    def patch(self, request: Any, project: str) -> Response:
        """Say whether the project reviews its data; for its admins, and in the audit log."""
        self.require("projects.administer")
        changed = set_reviews_data(self.project, self.read(ProjectChange)["reviews_data"], actor=request.user)
        return Response(ProjectAnswer(changed, context={"request": request}).data)
