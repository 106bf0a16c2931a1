"""Recipes over REST."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.response import Response

from chanote.api.errors import ProblemItem, Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.recipes.mixtures import describe_source, plan_mixtures
from chanote.recipes.models import Recipe, Revision
from chanote.recipes.services import RecipeRefused, check_yaml, save_revision

RECIPES = Recipe.objects.prefetch_related("revisions__created_by")


class RevisionAnswer(serializers.ModelSerializer[Revision]):
    recipe = serializers.CharField(source="recipe.slug")
    author = serializers.CharField(source="created_by.username", default="", help_text="Empty for the system itself.")
    resolved = serializers.DictField(help_text="The recipe with every default written out.")

    class Meta:
        model = Revision
        fields = ("recipe", "number", "yaml", "resolved", "sha256", "message", "author", "created")


class RecipeAnswer(serializers.ModelSerializer[Recipe]):
    newest = serializers.SerializerMethodField(help_text="The newest revision.")

    class Meta:
        model = Recipe
        fields = ("slug", "title", "from_library", "created", "newest")

    @extend_schema_field(RevisionAnswer(allow_null=True))
    def get_newest(self, recipe: Recipe) -> Any:
        revision = next(iter(recipe.revisions.all()), None)
        return RevisionAnswer(revision).data if revision else None


class SaveRequest(serializers.Serializer[Any]):
    yaml = serializers.CharField(max_length=200_000, trim_whitespace=False)
    title = serializers.CharField(max_length=160, required=False, default="", allow_blank=True)
    message = serializers.CharField(max_length=300, required=False, default="", allow_blank=True)


class CreateRequest(SaveRequest):
    slug = serializers.CharField(max_length=80)


class CheckRequest(serializers.Serializer[Any]):
    yaml = serializers.CharField(max_length=400_000, trim_whitespace=False, allow_blank=True)


class CheckAnswer(serializers.Serializer[Any]):
    ready = serializers.BooleanField(help_text="It could be launched in the project now.")
    valid = serializers.BooleanField(help_text="It keeps the contract and could be saved.")
    problems = ProblemItem(many=True)
    resolved = serializers.DictField(allow_null=True, help_text="With every default; null when it is not valid.")


class Recipes(ProjectView):
    scope = "recipes"
    serializer_class = RecipeAnswer
    queryset = Recipe.objects.none()

    @extend_schema(responses=RecipeAnswer(many=True), operation_id="recipes_list", tags=["recipes"])
    def get(self, request: Any, project: str) -> Response:
        """Recipes of the project, the newest first."""
        return self.answer_page(RECIPES.filter(project=self.project), RecipeAnswer)

    @extend_schema(
        request=CreateRequest,
        responses={201: RevisionAnswer},
        parameters=[PARAMETER],
        operation_id="recipes_create",
        tags=["recipes"],
    )
    @idempotent
    def post(self, request: Any, project: str) -> Response:
        """Make a recipe with its first revision."""
        self.require("recipes.change")
        given = self.read(CreateRequest)
        if Recipe.objects.filter(project=self.project, slug=given["slug"]).exists():
            message = f"the project already has a recipe named {given['slug']}; save a revision of it instead"
            raise serializers.ValidationError({"slug": message})
        return _save(self, **given)


class OneRecipe(ProjectView):
    scope = "recipes"

    @extend_schema(responses=RecipeAnswer, operation_id="recipes_read", tags=["recipes"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """One recipe with its newest revision."""
        return Response(RecipeAnswer(get_object_or_404(RECIPES, project=self.project, slug=slug)).data)


class Revisions(ProjectView):
    scope = "recipes"
    serializer_class = RevisionAnswer
    queryset = Revision.objects.none()
    page_ordering = "-number"

    @extend_schema(responses=RevisionAnswer(many=True), operation_id="recipes_revisions", tags=["recipes"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """Revisions of a recipe, the newest first."""
        recipe = get_object_or_404(Recipe, project=self.project, slug=slug)
        return self.answer_page(recipe.revisions.select_related("recipe", "created_by"), RevisionAnswer)

    @extend_schema(
        request=SaveRequest,
        responses={201: RevisionAnswer, 200: RevisionAnswer},
        parameters=[PARAMETER],
        operation_id="recipes_save",
        tags=["recipes"],
    )
    @idempotent
    def post(self, request: Any, project: str, slug: str) -> Response:
        """Save the next revision. 200 instead of 201: the text is that of the newest one, so none was made."""
        self.require("recipes.change")
        get_object_or_404(Recipe, project=self.project, slug=slug)
        return _save(self, slug=slug, **self.read(SaveRequest))


class OneRevision(ProjectView):
    scope = "recipes"

    @extend_schema(responses=RevisionAnswer, operation_id="recipes_revision", tags=["recipes"])
    def get(self, request: Any, project: str, slug: str, number: int) -> Response:
        """One revision."""
        revisions = Revision.objects.select_related("recipe", "created_by")
        found = get_object_or_404(revisions, recipe__project=self.project, recipe__slug=slug, number=number)
        return Response(RevisionAnswer(found).data)


class Check(ProjectView):
    scope = "recipes"
    only_reads = True

    @extend_schema(request=CheckRequest, responses=CheckAnswer, operation_id="recipes_check", tags=["recipes"])
    def post(self, request: Any, project: str) -> Response:
        """Check a recipe's text against the contract and the project. Nothing is written."""
        checked = check_yaml(self.read(CheckRequest)["yaml"], self.project)
        answer = {
            "ready": checked.ready,
            "valid": checked.recipe is not None,
            "problems": [{"field": problem.field, "message": problem.message} for problem in checked.problems],
            "resolved": checked.recipe.model_dump(mode="json") if checked.recipe else None,
        }
        return Response(answer)


class PlannedSource(serializers.Serializer[Any]):
    dataset = serializers.CharField(help_text="As the recipe names it.")
    words = serializers.CharField(help_text="Its weight, when it enters and its caps, in words.")
    share = serializers.FloatField(help_text="Of all that is drawn.")


class PlannedPart(serializers.Serializer[Any]):
    start = serializers.FloatField(help_text="Share of the stage after which it begins.")
    stop = serializers.FloatField()
    shares = serializers.ListField(
        child=serializers.FloatField(), help_text="Of what is drawn in this part, in the order of the sources."
    )


class PlannedMixture(serializers.Serializer[Any]):
    stage = serializers.IntegerField(help_text="From 0, as in `stages[0]`.")
    title = serializers.CharField()
    unit = serializers.ChoiceField(["tokens", "prompts"])
    total = serializers.FloatField(allow_null=True, help_text="Drawn at most; null until rows are tokenised.")
    sources = PlannedSource(many=True)
    parts = PlannedPart(many=True)
    remarks = serializers.ListField(child=serializers.CharField(), help_text="What the plan cannot know, in words.")
    ends = serializers.FloatField(
        allow_null=True, help_text="Share of the stage after which all caps are reached: the run would be refused."
    )


class PlanAnswer(serializers.Serializer[Any]):
    valid = serializers.BooleanField(help_text="It keeps the contract; otherwise nothing is planned.")
    problems = ProblemItem(many=True)
    mixtures = PlannedMixture(many=True)


class RevisionMixtures(ProjectView):
    scope = "recipes"

    @extend_schema(responses=PlanAnswer, operation_id="recipes_mixtures", tags=["recipes"])
    def get(self, request: Any, project: str, slug: str, number: int) -> Response:
        """The mixtures of a revision as they will be drawn: its page's pictures as numbers."""
        revision = get_object_or_404(Revision, recipe__project=self.project, recipe__slug=slug, number=number)
        return Response(_plan(self, revision.yaml))


class PlanMixtures(ProjectView):
    scope = "recipes"
    only_reads = True

    @extend_schema(request=CheckRequest, responses=PlanAnswer, operation_id="recipes_plan_mixtures", tags=["recipes"])
    def post(self, request: Any, project: str) -> Response:
        """The mixtures of a recipe's text as they would be drawn. Nothing is written."""
        return Response(_plan(self, self.read(CheckRequest)["yaml"]))


def _plan(view: ProjectView, yaml: str) -> dict[str, Any]:
    checked = check_yaml(yaml, view.project)
    mixtures = [
        {
            "stage": plan.mixture.stage,
            "title": plan.mixture.title,
            "unit": plan.mixture.unit,
            "total": plan.mixture.total,
            "sources": [
                {"dataset": source.dataset, "words": describe_source(source), "share": share}
                for source, share in zip(plan.mixture.sources, plan.overall, strict=True)
            ],
            "parts": [{"start": span.start, "stop": span.stop, "shares": span.shares} for span in plan.spans],
            "remarks": plan.remarks,
            "ends": plan.ends,
        }
        for plan in plan_mixtures(checked.recipe, view.project)
    ]
    problems = [{"field": problem.field, "message": problem.message} for problem in checked.problems]
    return {"valid": checked.recipe is not None, "problems": problems, "mixtures": mixtures}


def _save(view: ProjectView, *, slug: str, yaml: str, title: str, message: str) -> Response:
    try:
        revision = save_revision(
            project=view.project, slug=slug, title=title, yaml=yaml, message=message, author=view.request.user
        )
    except RecipeRefused as refused:
        raise Refused("The recipe was not saved.", refused.problems) from refused
    headers = {"Location": view.link("revision", revision.recipe.slug, revision.number)}
    return Response(RevisionAnswer(revision).data, status=201 if revision.is_new else 200, headers=headers)
