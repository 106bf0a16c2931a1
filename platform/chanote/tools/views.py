"""Pages of tools: toolsets, their revisions, and the playground."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from chanote.accounts.models import Project
from chanote.accounts.roles import may, require
from chanote.tools.corpora import CorpusRefused, write_corpus
from chanote.tools.forms import LIMITS, NewToolsetForm, RevisionForm
from chanote.tools.freezing import find_differences, find_toolset
from chanote.tools.health import look
from chanote.tools.models import Toolset, ToolsetRevision
from chanote.tools.playground import Outcome, call_tool, list_arguments, name_session, read_arguments
from chanote.tools.selectors import list_toolsets, runs_using
from chanote.tools.services import ToolsetRefused, save_toolset
from chanote.web.projects import get_project
from trainer.contract.toolsets import ToolLimits

RUNS_SHOWN = 20
WITHOUT_TOOLSET = ToolLimits(call_seconds=60, output_characters=40_000, top_k=50)


@login_required
@require_GET
def toolset_list(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    toolsets = list_toolsets(Toolset.objects.visible_to(request.user).filter(project=found))
    context = {
        "project": found,
        "rows": [(one, one.revisions.all()[0]) for one in toolsets if one.revisions.all()],
        "health": look(),
        "may_change": may(request.user, "tools.change", found),
    }
    return render(request, "tools/list.html", context)


@login_required
@require_GET
def toolset_detail(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    found, toolset = _find_toolset(request, project, slug)
    revisions = list(toolset.revisions.select_related("corpus__dataset", "created_by"))
    asked = request.GET.get("revision", "")
    revision = revisions[0]
    if asked:
        revision = next((one for one in revisions if str(one.number) == asked), revision)
        if str(revision.number) != asked:
            raise Http404(f"{slug} has no revision {asked}.")
    health = look(revision.address)
    context = {
        "project": found,
        "toolset": toolset,
        "revision": revision,
        "newest": revisions[0],
        "revisions": revisions,
        "limits": revision.read_limits,
        "health": health,
        "differences": find_differences(revision, health),
        "runs": runs_using(toolset)[:RUNS_SHOWN],
        "may_change": may(request.user, "tools.change", found),
    }
    return render(request, "tools/detail.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def toolset_new(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    require(request.user, "tools.change", found)
    form = NewToolsetForm(request.POST or None, project=found)
    if request.method == "POST" and form.is_valid():
        if Toolset.objects.filter(project=found, slug=form.cleaned_data["slug"]).exists():
            form.add_error("slug", f"The project already has a toolset named {form.cleaned_data['slug']}.")
        elif revision := _save(request, found, form, form.cleaned_data["slug"]):
            return redirect(revision.toolset.get_absolute_url())
    return render(request, "tools/edit.html", {"project": found, "form": form}, status=422 if form.is_bound else 200)


@login_required
@require_http_methods(["GET", "POST"])
def toolset_edit(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    found, toolset = _find_toolset(request, project, slug)
    require(request.user, "tools.change", found)
    newest = toolset.revisions.select_related("toolset", "corpus__dataset")[0]
    form = RevisionForm(request.POST or None, project=found, newest=newest)
    if request.method == "POST" and form.is_valid():
        based_on = request.POST.get("based_on", "")
        if based_on != str(newest.number):
            form.add_error(
                None,
                f"{newest.created_by or 'Someone'} saved revision {newest.number} while you were writing. Look at it, "
                "then save again to put yours on top of it.",
            )
        elif revision := _save(request, found, form, slug):
            return redirect(revision.toolset.get_absolute_url())
    context = {"project": found, "toolset": toolset, "newest": newest, "form": form}
    return render(request, "tools/edit.html", context, status=422 if form.is_bound else 200)


def _save(request: HttpRequest, project: Project, form: RevisionForm, slug: str) -> ToolsetRevision | None:
    """The saved revision; None when the form must be shown again, with the reasons in it."""
    given = form.cleaned_data
    try:
        revision = save_toolset(
            project=project,
            slug=slug,
            author=request.user,
            limits={name: given[name] for name in LIMITS if given[name] not in (None, "")},
            **{name: given[name] for name in ("tools", "title", "corpus", "image_digest", "address", "message")},
        )
    except ToolsetRefused as refused:
        for problem in refused.problems:
            form.add_error(problem.field if problem.field in form.fields else None, problem.message)
        return None
    if revision.is_new:
        messages.success(request, f"Revision {revision.number} of {slug} is saved.")
    else:
        messages.info(request, f"Nothing differs from revision {revision.number}: no new one was made.")
    return revision


@login_required
@require_GET
def corpus_file(request: HttpRequest, project: str, slug: str, number: int) -> FileResponse:
    """The corpus of a revision as the service takes it."""
    found, toolset = _find_toolset(request, project, slug)
    revision = get_object_or_404(toolset.revisions.select_related("corpus__dataset"), number=min(number, 2**31 - 1))
    if revision.corpus is None:
        raise Http404(f"{revision.reference} reads no corpus.")
    try:
        path = write_corpus(revision.corpus)
    except CorpusRefused as refused:
        raise Http404(str(refused)) from refused
    name = f"{revision.corpus.reference.replace('@', '-')}-corpus.jsonl"
    return FileResponse(path.open("rb"), as_attachment=True, filename=name, content_type="application/jsonl")


@login_required
@require_http_methods(["GET", "POST"])
def playground(request: HttpRequest, project: str) -> HttpResponse:
    """A tool, its form, and what the last call came to. A call is not stored anywhere."""
    found = get_project(request, project)
    asked = request.POST if request.method == "POST" else request.GET
    revision = _read_toolset(found, asked.get("toolset", ""))
    limits = revision.read_limits if revision else WITHOUT_TOOLSET
    health = look(revision.address if revision else "")
    functions = [one for one in health.functions if revision is None or one["name"] in revision.tools]
    wanted = asked.get("tool", "")
    function = next((one for one in functions if one["name"] == wanted), functions[0] if functions else None)
    given = {name[2:]: str(value)[:250_000] for name, value in asked.items() if name.startswith("a.")}
    arguments = list_arguments(function, given) if function else []
    allowed = may(request.user, "tools.try", found)
    outcome: Outcome | None = None
    status = 200
    if request.method == "POST" and function is not None:
        require(request.user, "tools.try", found)
        values, arguments = read_arguments(arguments, limits)
        if any(one.error for one in arguments):
            status = 422
        else:
            session = name_session(request.user, found) if asked.get("keep") == "on" else None
            outcome = call_tool(health, str(function["name"]), values, limits=limits, session=session)
    context = {
        "project": found,
        "health": health,
        "functions": functions,
        "function": function,
        "arguments": arguments,
        "wrong": [one for one in arguments if one.error],
        "outcome": outcome,
        "toolsets": list(Toolset.objects.filter(project=found)),
        "revision": revision,
        "limits": limits,
        "keep": asked.get("keep") == "on",
        "allowed": allowed,
        "reason": health.why_not(str(function["name"])) if function else "",
        "stateful": bool(function and function["name"] == "run_python"),
    }
    if getattr(request, "htmx", False) and request.method == "POST":
        # htmx puts only good answers on the page.
        return render(request, "tools/_answer.html", context)
    return render(request, "tools/playground.html", context, status=status)


def _read_toolset(project: Project, reference: str) -> ToolsetRevision | None:
    if not reference:
        return None
    try:
        return find_toolset(project, reference[:200])
    except ToolsetRevision.DoesNotExist as error:
        raise Http404(f"{error}.") from error


def _find_toolset(request: HttpRequest, project: str, slug: str) -> tuple[Project, Toolset]:
    found = get_project(request, project)
    toolset = get_object_or_404(Toolset.objects.visible_to(request.user), project=found, slug=slug)
    toolset.project = found
    return found, toolset
