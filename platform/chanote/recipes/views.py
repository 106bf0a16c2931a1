"""Pages of the recipes. Everything typed comes back with the answer, whatever was wrong with it."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from chanote.accounts.models import Project
from chanote.accounts.roles import may, require
from chanote.recipes.checking import check_yaml
from chanote.recipes.forms.editor import Editor, open_editor, update_editor
from chanote.recipes.forms.options import count_datasets, read_options
from chanote.recipes.forms.schema_form import drop_line
from chanote.recipes.mixtures import plan_pictures
from chanote.recipes.models import Recipe, Revision
from chanote.recipes.selectors import (
    compare_resolved,
    compare_texts,
    list_stages,
    newest_revisions,
    next_free_slug,
    preview,
    recipes_with_counts,
    runs_of,
)
from chanote.recipes.services import RecipeRefused, load_library, save_revision
from chanote.runs.models import Run
from chanote.runs.services import LaunchRefused, launch_run
from chanote.web.numbers import read_number
from chanote.web.problems import Problem
from chanote.web.projects import get_project
from trainer.contract import Recipe as RecipeSpec
from trainer.demoworld.catalogue import RECIPES

STARTING_TEXT = """\
# Lines that begin with # are remarks.
base: ""
seed: 0
stages: []
"""
RUNS_SHOWN = 20


@login_required
@require_GET
def recipe_list(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    recipes = list(recipes_with_counts(Recipe.objects.visible_to(request.user).filter(project=found)))
    revisions = newest_revisions(recipes)
    cards = [(recipe, _spec(revisions.get(recipe.pk))) for recipe in recipes]
    entries = [(recipe, spec, list_stages(spec)) for recipe, spec in cards]
    present = {recipe.slug for recipe in recipes}
    context = {
        "project": found,
        "library": [entry for entry in entries if entry[0].from_library],
        "own": [entry for entry in entries if not entry[0].from_library],
        "missing": [entry for entry in RECIPES if entry["slug"] not in present],
        "may_change": may(request.user, "recipes.change", found),
    }
    return render(request, "recipes/list.html", context)


@login_required
@require_POST
def add_library(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    require(request.user, "recipes.change", found)
    added = load_library(found, request.user)
    word = "recipe was" if len(added) == 1 else "recipes were"
    messages.success(request, f"{len(added)} {word} added from the library." if added else "The library is complete.")
    return redirect("recipes", found.slug)


@login_required
@require_GET
def recipe_detail(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    recipe = _find_recipe(request, project, slug)
    revision = _find_revision(recipe, request.GET.get("revision"))
    checked = check_yaml(revision.yaml, recipe.project)
    runs = runs_of(recipe)
    context = {
        "project": recipe.project,
        "recipe": recipe,
        "revision": revision,
        "revisions": recipe.revisions.select_related("created_by"),
        "lines": _mark_lines(revision.yaml, checked.lines, checked.problems),
        "preview": preview(checked),
        "pictures": plan_pictures(checked.recipe, recipe.project),
        "description": checked.recipe.description.strip() if checked.recipe else "",
        "run_count": runs.count(),
        "runs": runs[:RUNS_SHOWN],
        "is_newest": revision == recipe.revisions.first(),
        "command": _commands(request, recipe, revision.number),
        "may_change": may(request.user, "recipes.change", recipe.project),
        "may_launch": may(request.user, "runs.launch", recipe.project),
    }
    return render(request, "recipes/detail.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def new_recipe(request: HttpRequest, project: str) -> HttpResponse:
    """An empty recipe, or with `?from=` a copy of another."""
    found = get_project(request, project)
    require(request.user, "recipes.change", found)
    source = None
    if request.GET.get("from"):
        source = _find_recipe(request, project, request.GET["from"])
    initial = {"slug": "", "title": "", "yaml": STARTING_TEXT}
    if source is not None:
        revision = _find_revision(source, request.GET.get("revision"))
        copy = next_free_slug(found, source.slug)
        initial = {"slug": copy, "title": f"{source.title}, a copy"[:160], "yaml": revision.yaml}
    return _edit(request, found, None, initial)


@login_required
@require_http_methods(["GET", "POST"])
def edit_recipe(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    recipe = _find_recipe(request, project, slug)
    require(request.user, "recipes.change", recipe.project)
    revision = _find_revision(recipe, request.GET.get("revision"))
    initial = {"slug": recipe.slug, "title": recipe.title, "yaml": revision.yaml}
    return _edit(request, recipe.project, recipe, initial)


@login_required
@require_GET
def recipe_diff(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    recipe = _find_recipe(request, project, slug)
    after = _find_revision(recipe, request.GET.get("to"))
    before = _find_revision(recipe, request.GET.get("from") or str(max(1, after.number - 1)))
    context = {
        "project": recipe.project,
        "recipe": recipe,
        "before": before,
        "after": after,
        "lines": compare_texts(before.yaml, after.yaml),
        "settings": compare_resolved(before.resolved, after.resolved),
        "revisions": recipe.revisions.all(),
    }
    return render(request, "recipes/diff.html", context)


@login_required
@require_GET
def download(request: HttpRequest, project: str, slug: str, number: int) -> HttpResponse:
    recipe = _find_recipe(request, project, slug)
    revision = _find_revision(recipe, str(number))
    response = HttpResponse(revision.yaml, content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{recipe.slug}-{number}.yaml"'
    return response


@login_required
@require_POST
def launch(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    """Launch a saved revision."""
    recipe = _find_recipe(request, project, slug)
    require(request.user, "runs.launch", recipe.project)
    revision = _find_revision(recipe, request.POST.get("revision"))
    run, problems = _try_launch(request, revision)
    if run is not None:
        return redirect("run", recipe.project.slug, run.number)
    for problem in problems:
        messages.error(request, str(problem))
    return redirect(f"{reverse('recipe', args=[recipe.project.slug, recipe.slug])}?revision={revision.number}")


def _edit(request: HttpRequest, project: Project, recipe: Recipe | None, initial: dict[str, str]) -> HttpResponse:
    options = read_options(project)
    newest = recipe.revisions.first() if recipe else None
    context: dict[str, Any] = {
        "project": project,
        "recipe": recipe,
        "newest": newest,
        "slug": request.POST.get("slug", initial["slug"]) if recipe is None else recipe.slug,
        "title": request.POST.get("title", initial["title"]),
        "message": request.POST.get("message", ""),
        "run_name": request.POST.get("run_name", ""),
        "based_on": request.POST.get("based_on", str(newest.number) if newest else ""),
        "may_launch": may(request.user, "runs.launch", project),
        "no_datasets": not count_datasets(options),
        "refused": [],
    }
    if request.method != "POST":
        editor = open_editor(initial["yaml"], project, options)
        return _render_editor(request, context, editor)
    operation = _operation(request)
    editor = update_editor(request.POST, operation, project, options)
    if operation in ("save", "launch") and editor.can_go_on:
        done = _save(request, project, recipe, editor, context, launch=operation == "launch")
        if done is not None:
            return done
    blocked = operation in ("save", "launch")
    return _render_editor(request, context, editor, status=422 if blocked else 200)


def _operation(request: HttpRequest) -> str:
    """The button that was pressed; without one, the side that is being typed in."""
    return request.POST.get("do") or request.POST.get("live", "")


def _save(
    request: HttpRequest,
    project: Project,
    recipe: Recipe | None,
    editor: Editor,
    context: dict[str, Any],
    *,
    launch: bool,
) -> HttpResponse | None:
    """Save and perhaps launch; None when the page must be shown again, with the reasons in the context."""
    newest = context["newest"]
    if newest is not None and context["based_on"] != str(newest.number):
        author = newest.created_by or "someone"
        context["refused"] = [
            Problem(
                "",
                f"{author} saved revision {newest.number} while you were writing. Look at it, "
                "then save again to put your text on top of it.",
            )
        ]
        context["based_on"] = str(newest.number)
        return None
    if recipe is None and Recipe.objects.filter(project=project, slug=context["slug"]).exists():
        context["refused"] = [Problem("slug", f"The project already has a recipe named {context['slug']}.")]
        return None
    if launch:
        require(request.user, "runs.launch", project)
        if not editor.checked.ready:
            return None
    try:
        revision = save_revision(
            project=project,
            slug=context["slug"],
            title=context["title"],
            yaml=editor.text,
            message=context["message"],
            author=request.user,
        )
    except RecipeRefused as refused:
        context["refused"] = refused.problems
        return None
    if launch:
        run, problems = _try_launch(request, revision)
        if run is not None:
            return redirect("run", project.slug, run.number)
        for problem in problems:
            messages.error(request, str(problem))
        return redirect("recipe_edit", project.slug, revision.recipe.slug)
    if revision.is_new:
        messages.success(request, f"Revision {revision.number} is saved.")
    else:
        messages.info(request, f"The text is that of revision {revision.number}: no new revision was made.")
    return redirect("recipe", project.slug, revision.recipe.slug)


def _try_launch(request: HttpRequest, revision: Revision) -> tuple[Run | None, list[Problem]]:
    """The launched run, or what keeps it from launching."""
    try:
        name = request.POST.get("run_name", "").strip()[:120]
        return launch_run(revision=revision, owner=request.user, name=name), []
    except LaunchRefused as refused:
        return None, list(refused.problems)


def _render_editor(request: HttpRequest, context: dict[str, Any], editor: Editor, status: int = 200) -> HttpResponse:
    context |= {
        "editor": editor,
        "form": editor.form,
        "preview": preview(editor.checked),
        "pictures": plan_pictures(editor.checked.recipe, context["project"]),
        "rows": min(40, max(16, editor.text.count("\n") + 3)),
        "problems": _describe_problems(editor, context["refused"]),
    }
    newest = context["newest"]
    context["changes"] = compare_texts(newest.yaml, editor.text) if newest else []
    number = (newest.number if newest else 0) + (not newest or newest.yaml != editor.text)
    context["command"] = _commands(request, context["recipe"], number, context["slug"] or "name")
    if not getattr(request, "htmx", False):
        return render(request, "recipes/editor.html", context, status=status)
    operation = _operation(request)
    if operation == "form" and not editor.drawn_anew:
        return render(request, "recipes/_live_text.html", context)
    if operation == "text":
        return render(request, "recipes/_live_form.html", context)
    return render(request, "recipes/_editor.html", context)


def _describe_problems(editor: Editor, refused: list[Problem]) -> list[tuple[str, Problem]]:
    names = {"slug": "slug", "title": "title", "message": "message"}
    return [(names.get(problem.field, ""), problem) for problem in refused] + editor.linked_problems


def _find_recipe(request: HttpRequest, project: str, slug: str) -> Recipe:
    found = get_project(request, project)
    return get_object_or_404(Recipe.objects.select_related("project"), project=found, slug=slug)


def _find_revision(recipe: Recipe, number: str | None) -> Revision:
    """The revision of that number, the newest when none is named."""
    if not number:
        return recipe.revisions.all()[:1].get()
    named = read_number(number)
    if named is None:
        raise Http404("a revision is named by its number")
    return get_object_or_404(recipe.revisions.all(), number=named)


def _spec(revision: Revision | None) -> RecipeSpec | None:
    return RecipeSpec.model_validate(revision.resolved) if revision else None


def _mark_lines(text: str, lines: dict[str, int], problems: list[Problem]) -> list[tuple[str, list[str]]]:
    """Each line of the text with the problems that begin on it."""
    found: dict[int, list[str]] = {}
    for problem in problems:
        if problem.field in lines:
            found.setdefault(lines[problem.field], []).append(drop_line(problem.message))
    return [(line, found.get(number, [])) for number, line in enumerate(text.splitlines(), start=1)]


def _commands(request: HttpRequest, recipe: Recipe | None, number: int, slug: str = "") -> dict[str, str]:
    """The same launch from a terminal."""
    name = recipe.slug if recipe else slug
    project = recipe.project.slug if recipe else request.project.slug  # type: ignore[attr-defined]
    address = request.build_absolute_uri(f"/api/v1/projects/{project}/runs/")
    return {
        "cli": f"chanote run launch {name}@{number} --project {project}",
        "curl": (
            f"curl -X POST {address} \\\n  -H 'Authorization: Bearer <token>' -H 'Idempotency-Key: <any new word>' \\\n"
            f'  -H \'Content-Type: application/json\' \\\n  -d \'{{"recipe": "{name}", "revision": {number}}}\''
        ),
    }
