"""Pages of the datasets. Every filter stands in the address."""

import tempfile
from pathlib import Path
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from chanote.accounts.models import Project
from chanote.accounts.roles import may, require
from chanote.checks.masking import find_mask, mask_lines
from chanote.checks.pages import count_open, read_tab
from chanote.checks.token_counts import find_token_counts, read_length_table
from chanote.curation.models import State
from chanote.curation.queue import ensure_features, read_row_wish, read_wished, spell_row_wish
from chanote.curation.selectors import states_of
from chanote.curation.tabs import describe_diff, describe_review, describe_standing, draw_lineage, list_events
from chanote.datasets.access import describe_access
from chanote.datasets.errors import ImportRefused
from chanote.datasets.features import RowWish, count_languages, list_marks
from chanote.datasets.forms import FORMATS, LICENCES, DescribeForm, ImportForm, UploadForm
from chanote.datasets.histogram import draw_histogram
from chanote.datasets.listing import find_datasets, read_list_wish
from chanote.datasets.models import Dataset, DatasetVersion, Kind, Use
from chanote.datasets.pages import list_shares, list_uses, tell_failure
from chanote.datasets.preview import guess_kind, preview_file, read_names
from chanote.datasets.row_views import view_row
from chanote.datasets.selectors import RowPage, runs_using
from chanote.datasets.services import describe_dataset, import_dataset, suggest_slug
from chanote.datasets.staging import StagedUpload, find_staged, remove_staged, stage_upload
from chanote.datasets.storage import StoreError, version_path
from chanote.rights.models import Source
from chanote.rights.sources import DECLARED, find_only_source
from chanote.web.numbers import read_number
from chanote.web.projects import get_project

TABS = ("rows", "card", "statistics", "checks", "versions", "diff", "review", "usage", "access", "audit")


@login_required
@require_GET
def dataset_list(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    wish = read_list_wish(request.GET)
    context = {
        "project": found,
        "wish": wish,
        "list": find_datasets(found, request.user, wish),
        "states": State.choices,
        "kinds": Kind.choices,
        "uses": Use.choices,
        "may_change": may(request.user, "datasets.change", found),
    }
    return render(request, "datasets/list.html", context)


@login_required
@require_GET
def dataset_detail(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    dataset = _find_dataset(request, project, slug)
    versions = list(dataset.versions.select_related("created_by", "parent").order_by("-number"))
    version = _choose_version(versions, request.GET.get("version", ""))
    version.dataset = dataset
    tab = request.GET.get("tab", "rows")
    runs = runs_using(version)
    context: dict[str, Any] = {
        "project": dataset.project,
        "dataset": dataset,
        "version": version,
        "versions": versions,
        "newest": versions[0],
        "tab": tab if tab in TABS else "rows",
        "uses": list_uses(version),
        "shares": list_shares(version.statistics),
        "histogram": draw_histogram(version.statistics.get("length", {})),
        "runs_count": runs.count(),
        "tasks_count": version.tasks.count(),
        "tokens": find_token_counts([version]).get(version.sha256),
        "checks_open": count_open(version),
        "may_change": may(request.user, "datasets.change", dataset.project),
        **describe_standing(request, version),
    }
    match context["tab"]:
        case "usage":
            context |= {"runs": runs[:100], "tasks": version.tasks.order_by("slug", "-number")}
        case "access":
            context |= describe_access(version, context["standing"]) | {"runs": runs[:20]}
        case "statistics":
            context["lengths"] = read_length_table(version)
        case "checks":
            context["checks"] = read_tab(version, request.user)
        case "rows":
            context |= _read_rows(request, version)
        case "versions":
            states = states_of(versions)
            context |= {"lineage": draw_lineage(version), "states": [(one, states[one.pk]) for one in versions]}
        case "review":
            context |= describe_review(request, version)
        case "diff":
            context |= describe_diff(request, version, versions)
        case "audit":
            context["events"] = list_events(request, versions)
    return render(request, "datasets/detail.html", context)


def _read_rows(request: HttpRequest, version: DatasetVersion) -> dict[str, Any]:
    """A page of the rows that the address asks for: through the table beside them where it is there."""
    wish = read_row_wish(request.GET)
    start = read_number(request.GET.get("start", "")) or 0
    if row := read_number(request.GET.get("row", "")):
        start = row - 1
    mask = find_mask(version)
    context: dict[str, Any] = {"query": wish.text, "wish": wish, "asked": spell_row_wish(wish), "masked": bool(mask)}
    try:
        if ensure_features(version):
            context |= {"languages": count_languages(version), "marks": list_marks(version)}
        else:
            wish = RowWish(text=wish.text)
        page = read_wished(version, wish, mask, start=start)
    except StoreError as error:
        return {**context, "broken": str(error), "page": RowPage(query=wish.text)}
    views = [view_row(version.dataset.kind, number, row, wish.text) for number, row in page.rows]
    return {**context, "page": page, "views": views}


@login_required
@require_GET
def dataset_download(request: HttpRequest, project: str, slug: str, number: int) -> FileResponse:
    """The rows as JSON lines; masked once a check has found personal data, since a file goes anywhere."""
    dataset = _find_dataset(request, project, slug)
    version = get_object_or_404(DatasetVersion, dataset=dataset, number=number)
    if mask := find_mask(version):
        masked = tempfile.TemporaryFile()  # noqa: SIM115 - the response closes it
        masked.writelines(mask_lines(version, mask))
        masked.seek(0)
        name = f"{slug}-{number}-masked.jsonl"
        return FileResponse(masked, as_attachment=True, filename=name, content_type="application/x-ndjson")
    try:
        file = version_path(version).open("rb")
    except (OSError, StoreError) as error:
        raise Http404(f"The rows of {version} are missing from the store.") from error
    return FileResponse(
        file, as_attachment=True, filename=f"{slug}-{number}.jsonl", content_type="application/x-ndjson"
    )


@login_required
@require_http_methods(["GET", "POST"])
def dataset_edit(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    dataset = _find_dataset(request, project, slug)
    require(request.user, "datasets.change", dataset.project)
    initial = {
        "title": dataset.title,
        "description": dataset.description,
        "languages": ", ".join(dataset.languages),
    }
    form = DescribeForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            describe_dataset(dataset, actor=request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return redirect(f"{dataset.get_absolute_url()}?tab=card")
    return render(
        request,
        "datasets/edit.html",
        {"project": dataset.project, "dataset": dataset, "form": form},
        status=_status(form),
    )


@login_required
@require_http_methods(["GET", "POST"])
def dataset_import(request: HttpRequest, project: str) -> HttpResponse:
    """First step: the file."""
    found = get_project(request, project)
    require(request.user, "datasets.change", found)
    dataset = Dataset.objects.filter(project=found, slug=request.GET.get("dataset", "")).first()
    form = UploadForm(request.POST or None, request.FILES or None) if request.method == "POST" else UploadForm()
    if request.method == "POST" and form.is_valid():
        try:
            staged = stage_upload(found, request.user, form.cleaned_data["file"], form.cleaned_data["format"])
        except ImportRefused as refusal:
            form.add_error("file", str(refusal))
        else:
            return _open_second_step(request, form, staged, found, dataset)
    return render(
        request,
        "datasets/upload.html",
        {"project": found, "form": form, "dataset": dataset},
        status=_status(form),
    )


def _open_second_step(
    request: HttpRequest, form: UploadForm, staged: StagedUpload, project: Project, dataset: Dataset | None
) -> HttpResponse:
    """Go on to the columns, unless the file cannot be read at all: then say so beside the field it was chosen in."""
    try:
        names = read_names(staged.path, staged.format)
        problem = "" if names else _explain_empty(staged)
    except ImportRefused as refusal:
        problem = str(refusal)
    if problem:
        remove_staged(staged)
        form.add_error("file", problem)
        context = {"project": project, "form": form, "dataset": dataset}
        return render(request, "datasets/upload.html", context, status=422)
    address = redirect("dataset_import_staged", project.slug, staged.token)
    if dataset:
        address["Location"] += f"?dataset={dataset.slug}"
    return address


def _explain_empty(staged: StagedUpload) -> str:
    """Why a file shows no column: its first bad row, or that it has none."""
    preview = preview_file(staged.path, staged.format, "text", None)
    return str(preview.bad[0]) if preview.bad else "The file holds no rows."


@login_required
@require_http_methods(["GET", "POST"])
def dataset_import_staged(request: HttpRequest, project: str, token: str) -> HttpResponse:
    """Second step: name, columns and rights; shows what the first rows become."""
    found = get_project(request, project)
    require(request.user, "datasets.change", found)
    staged = find_staged(found, request.user, token)
    if staged is None:
        messages.warning(request, "That upload is no longer kept: uploads wait for a day. Choose the file again.")
        return redirect("dataset_import", found.slug)
    names = read_names(staged.path, staged.format)
    initial = _fill_in(found, staged, names, request.GET.get("dataset", ""))
    asked = request.POST.get("kind") or request.GET.get("kind") or initial["kind"]
    kind = asked if asked in Kind.values else initial["kind"]
    changed_kind = request.method == "POST" and request.POST.get("kind_shown") != kind
    detected = preview_file(staged.path, staged.format, kind, None).columns
    sent = request.POST if request.method == "POST" and not changed_kind else None
    if changed_kind:
        initial = _keep_typed(request.POST)
    form = ImportForm(sent, initial=initial, names=names, kind=kind, detected=detected)
    wants_import = sent is not None and sent.get("act") == "import"
    refusal: ImportRefused | None = None
    given: Any = None
    if sent is not None:
        valid = form.is_valid()
        chosen = form.columns()
        given = {field: chosen.get(field, "") for field in form.mapped}
        if valid and wants_import:
            try:
                version = _import_staged(request, found, staged, form, given)
            except ImportRefused as error:
                refusal = error
                tell_failure(form, error)
            else:
                return _answer_imported(request, staged, version)
    context = {
        "project": found,
        "staged": staged,
        "format": FORMATS[staged.format],
        "form": form,
        "kind": kind,
        "preview": (preview := preview_file(staged.path, staged.format, kind, given)),
        "views": [view_row(kind, number, row) for number, row in preview.rows],
        "refusal": refusal,
        "licences": LICENCES,
        "sources": Source.objects.filter(project=found, withdrawn=None),
        "changed_kind": changed_kind,
    }
    return render(request, "datasets/columns.html", context, status=422 if wants_import else 200)


def _keep_typed(post: QueryDict) -> dict[str, Any]:
    """What was typed before the kind was changed, without its columns: they say nothing about another kind's."""
    typed: dict[str, Any] = {name: value for name, value in post.items() if not name.startswith("column_")}
    return typed | {"uses": post.getlist("uses"), "non_commercial": "non_commercial" in post}


def _fill_in(project: Project, staged: StagedUpload, names: list[str], slug: str) -> dict[str, Any]:
    """First values of the form: those of the dataset that gets a new version, else what the file shows."""
    dataset = Dataset.objects.filter(project=project, slug=slug).first()
    newest = dataset and dataset.versions.order_by("-number").first()
    if dataset and newest:
        return {
            "slug": dataset.slug,
            "title": dataset.title,
            "kind": dataset.kind,
            "description": dataset.description,
            "languages": ", ".join(dataset.languages),
            "licence": newest.licence,
            "uses": newest.uses,
            "non_commercial": newest.non_commercial,
            "source": newest.source,
            "source_name": only.slug if (only := find_only_source(newest)) and not only.is_withdrawn else "",
        }
    return {
        "slug": suggest_slug(staged.name),
        "title": Path(staged.name).stem,
        "kind": guess_kind(names),
        "uses": [Use.TRAIN, Use.DISTIL, Use.EVALUATE],
    }


def _import_staged(
    request: HttpRequest, project: Project, staged: StagedUpload, form: ImportForm, columns: dict[str, Any]
) -> DatasetVersion:
    asked = form.cleaned_data
    fields = ("slug", "title", "kind", "source", "languages", "reason", "source_name")
    rights: dict[str, Any] = {name: asked[name] for name in ("licence", "uses", "non_commercial")}
    if named := Source.objects.filter(project=project, slug=asked["source_name"]).first():
        # Its terms hold: boxes narrow them, and those that were ticked before it was named do not widen them.
        rights["uses"] = [use for use in asked["uses"] if use in named.uses]
    return import_dataset(
        project=project,
        file=staged.path,
        format=staged.format,
        columns=columns,
        description=asked["description"],
        source_facts={name: asked[name] for name in DECLARED},
        actor=request.user,
        **{name: asked[name] for name in fields},
        **rights,
    )


def _answer_imported(request: HttpRequest, staged: StagedUpload, version: DatasetVersion) -> HttpResponse:
    remove_staged(staged)
    if version.unchanged:
        messages.info(
            request,
            f"Rows and rights are exactly those of version {version.number}, so no new version was made.",
        )
    else:
        messages.success(request, f"Imported {version.rows:,} rows as {version.reference}.")
    return redirect(version.dataset.get_absolute_url())


def _find_dataset(request: HttpRequest, project: str, slug: str) -> Dataset:
    found = get_project(request, project)
    dataset = get_object_or_404(Dataset.objects.visible_to(request.user), project=found, slug=slug)
    dataset.project = found
    return dataset


def _choose_version(versions: list[DatasetVersion], asked: str) -> DatasetVersion:
    if not versions:
        raise Http404("The dataset has no version.")
    if not asked:
        return versions[0]
    for version in versions:
        if str(version.number) == asked:
            return version
    raise Http404(f"The dataset has no version {asked}.")


def _status(form: Any) -> int:
    return 422 if form.is_bound else 200
