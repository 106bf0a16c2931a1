"""Models over REST."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.response import Response

from chanote.api.errors import Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.datasets.models import Use
from chanote.models.models import Model
from chanote.models.services import ModelRefused, register_directory
from chanote.rights.terms import trace_terms
from chanote.web.problems import Problem


class ModelAnswer(serializers.ModelSerializer[Model]):
    parent = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True, allow_null=True)  # type: ignore[assignment]
    uses = serializers.ListField(
        child=serializers.CharField(), help_text="What its own terms allow, those of its base and its teachers aside."
    )

    class Meta:
        model = Model
        fields = (
            "slug", "title", "origin", "location", "sha256", "bytes", "parameters", "context_length", "vocabulary",
            "architecture", "licence", "uses", "non_commercial", "terms", "description", "parent", "created",
        )  # fmt: skip


class TermAnswer(serializers.Serializer[Any]):
    words = serializers.CharField(help_text="What may not be done with it.")
    because = serializers.CharField(help_text="Whose terms, or which rows, say so.")


class ModelDetail(ModelAnswer):
    carries = serializers.SerializerMethodField(
        help_text="Its terms, with those of its base, of its teachers and of the rows that it learned from."
    )

    class Meta(ModelAnswer.Meta):
        fields = (*ModelAnswer.Meta.fields, "carries")  # type: ignore[assignment]

    @extend_schema_field(TermAnswer(many=True))
    def get_carries(self, model: Model) -> Any:
        return TermAnswer(trace_terms(model).tags, many=True).data


class RegisterRequest(serializers.Serializer[Any]):
    slug = serializers.CharField(max_length=120)
    path = serializers.CharField(max_length=1000, help_text="Directory on the platform's machine.")
    title = serializers.CharField(max_length=160, required=False, default="", allow_blank=True)
    licence = serializers.CharField(max_length=80, required=False, default="", allow_blank=True)
    uses = serializers.ListField(
        child=serializers.ChoiceField(Use.choices), required=False, help_text="What its terms allow; all by default."
    )
    non_commercial = serializers.BooleanField(default=False)
    terms = serializers.CharField(
        max_length=300, required=False, default="", allow_blank=True, help_text="Where the terms stand."
    )
    description = serializers.CharField(required=False, default="", allow_blank=True)
    parent = serializers.CharField(  # type: ignore[assignment]
        required=False, default="", allow_blank=True, help_text="Slug of the model it came from."
    )


class Models(ProjectView):
    scope = "models"
    serializer_class = ModelAnswer
    queryset = Model.objects.none()

    @extend_schema(responses=ModelAnswer(many=True), operation_id="models_list", tags=["models"])
    def get(self, request: Any, project: str) -> Response:
        """Models of the project, the newest first."""
        return self.answer_page(Model.objects.filter(project=self.project).select_related("parent"), ModelAnswer)

    @extend_schema(
        request=RegisterRequest,
        responses={201: ModelAnswer},
        parameters=[PARAMETER],
        operation_id="models_register",
        tags=["models"],
    )
    # Hashing a model takes minutes; the write lock must not be held for it.
    @idempotent(whole=False)
    def post(self, request: Any, project: str) -> Response:
        """Register a Hugging Face checkpoint that lies in a directory of the platform's machine."""
        self.require("models.register")
        given = self.read(RegisterRequest)
        parent = None
        if name := given.pop("parent"):
            parent = Model.objects.filter(project=self.project, slug=name).first()
            if parent is None:
                raise Refused(problems=[Problem("parent", f"{name} is no model of this project.")])
        try:
            model = register_directory(project=self.project, parent=parent, actor=request.user, **given)
        except ModelRefused as refused:
            raise Refused(str(refused), refused.problems) from refused
        headers = {"Location": self.link("model", model.slug)}
        return Response(ModelAnswer(model).data, status=201, headers=headers)


class OneModel(ProjectView):
    scope = "models"

    @extend_schema(responses=ModelDetail, operation_id="models_read", tags=["models"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """One model, with the terms that it carries."""
        models = Model.objects.select_related("parent")
        return Response(ModelDetail(get_object_or_404(models, project=self.project, slug=slug)).data)
