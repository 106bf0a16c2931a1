"""Pages of custody: what waits in quarantine, what left the house, and whose keys count."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from chanote.accounts.models import Project
from chanote.accounts.roles import may, require
from chanote.custody.bundle.keys import name_key, write_public_key
from chanote.custody.exporting import ExportRefused
from chanote.custody.forms import DecisionForm, ExportForm, KeyForm, UploadForm
from chanote.custody.models import BundleExport, Package, State, TrustedKey
from chanote.custody.packages import PackageRefused, tell_package
from chanote.custody.quarantine import accept_package, receive_package, reject_package
from chanote.custody.selectors import find_export, find_package
from chanote.custody.services import start_export
from chanote.custody.signing import find_own_public_key
from chanote.custody.trust import distrust_key, find_key_owner, trust_key
from chanote.errands.models import Errand
from chanote.web.numbers import read_key
from chanote.web.projects import get_project
from chanote.web.streaming import StreamedFile

PER_PAGE = 50


@login_required
@require_http_methods(["GET", "POST"])
def quarantine(request: HttpRequest, project: str) -> HttpResponse:
    """Packages of the project, and the way in for another."""
    found = get_project(request, project)
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST":
        require(request.user, "custody.release", found)
        if form.is_valid():
            try:
                package = receive_package(project=found, file=form.cleaned_data["file"].file, actor=request.user)
            except PackageRefused as refused:
                _add_problems(form, refused)
            else:
                messages.success(request, f"{package.name} waits in quarantine until somebody else decides about it.")
                return redirect(package)
    packages = Package.objects.filter(project=found).select_related("uploaded_by", "decided_by", "project")
    page = Paginator(packages, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "project": found,
        "page": page,
        "form": form,
        "owners": {one.pk: find_key_owner(found, one.key) for one in page.object_list},
        "may_release": may(request.user, "custody.release", found),
    }
    return render(request, "custody/quarantine.html", context, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "POST"])
def package(request: HttpRequest, project: str, number: int) -> HttpResponse:
    """One package: what it says of itself, what of it is inside already, and the decision."""
    found = get_project(request, project)
    one = find_package(found, number)
    form = DecisionForm(request.POST if request.POST.get("do") in ("accept", "reject") else None)
    key_form = KeyForm(request.POST if request.POST.get("do") == "trust" else None)
    if request.method == "POST":
        answer = _decide(request, one, form, key_form)
        if answer is not None:
            return answer
    sources, version = tell_package(one)
    context = {
        "project": found,
        "package": one,
        "told": one.manifest.get("dataset", {}),
        "version": version,
        "sources": sources,
        "owner": find_key_owner(found, one.key),
        "form": form,
        "key_form": key_form,
        "is_mine": one.uploaded_by_id == request.user.pk,
        "waits": one.state == State.WAITING,
        "errand": Errand.objects.filter(
            project=found, subject_kind="package", subject_id=str(one.pk), kind="custody.release"
        ).first(),
        "may_release": may(request.user, "custody.release", found),
        "may_trust": may(request.user, "custody.trust", found),
    }
    return render(request, "custody/package.html", context, status=422 if form.errors or key_form.errors else 200)


def _decide(request: HttpRequest, one: Package, form: DecisionForm, key_form: KeyForm) -> HttpResponse | None:
    """Do what the form asks; None where it must be shown again."""
    act = request.POST.get("do", "")
    shown: Any = key_form if act == "trust" else form
    try:
        if act == "trust":
            # The key is the package's; a form cannot slip in another.
            owner = request.POST.get("owner", "")
            trust_key(project=one.project, key=one.key, owner=owner, actor=request.user)
            messages.success(request, f"Packages under this key are taken from now on, as those of {owner.strip()}.")
            return redirect(one)
        if act in ("accept", "reject"):
            require(request.user, "custody.release", one.project)
            if not form.is_valid():
                return None
            decide: Any = accept_package if act == "accept" else reject_package
            decide(one, reason=form.cleaned_data["reason"], actor=request.user)
            return redirect(one)
    except PackageRefused as refused:
        shown.is_valid()
        _add_problems(shown, refused)
        return None
    require(request.user, "custody.release", one.project)
    messages.error(request, "Nothing was done: the form names none of accept, reject and trust.")
    return redirect(one)


@login_required
@require_GET
def bundles(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    exports = BundleExport.objects.filter(project=found).select_related("created_by")
    page = Paginator(exports, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "project": found,
        "page": page,
        "form": ExportForm(),
        "may_export": may(request.user, "custody.export", found),
    }
    return render(request, "custody/bundles.html", context)


@login_required
@require_GET
def download(request: HttpRequest, project: str, number: int) -> StreamedFile:
    """A bundle that was made here, block by block however large it is."""
    found = get_project(request, project)
    require(request.user, "custody.export", found)
    export = find_export(found, number)
    try:
        if export.file is None:
            raise FileNotFoundError
        file = export.file.open("rb")
    except OSError as error:
        raise Http404("The file of this bundle is not here.") from error
    name = export.name.replace("@", "-")
    return StreamedFile(file, as_attachment=True, filename=f"{found.slug}-{name}.tar", content_type="application/x-tar")


@login_required
@require_POST
def export(request: HttpRequest, project: str) -> HttpResponse:
    """The button on a model's or a dataset's page."""
    found = get_project(request, project)
    require(request.user, "custody.export", found)
    try:
        errand = start_export(
            project=found, kind=request.POST.get("kind", ""), name=request.POST.get("name", ""), actor=request.user
        )
    except (ExportRefused, PackageRefused) as refused:
        for problem in refused.problems:
            messages.error(request, problem.message)
        return redirect("bundles", found.slug)
    return redirect(errand)


@login_required
@require_http_methods(["GET", "POST"])
def keys(request: HttpRequest, project: str) -> HttpResponse:
    """The installation's own key, and those of others that the project takes packages from."""
    found = get_project(request, project)
    form = KeyForm(request.POST if request.POST.get("do") == "trust" else None)
    if request.method == "POST":
        require(request.user, "custody.trust", found)
        if _change_keys(request, found, form):
            return redirect("custody_keys", found.slug)
    own = find_own_public_key()
    context = {
        "project": found,
        "own": {"key": own.hex(), "fingerprint": name_key(own), "pem": write_public_key(own)} if own else None,
        "keys": TrustedKey.objects.filter(project=found).select_related("accepted_by"),
        "form": form,
        "may_trust": may(request.user, "custody.trust", found),
    }
    return render(request, "custody/keys.html", context, status=422 if form.errors else 200)


def _change_keys(request: HttpRequest, project: Project, form: KeyForm) -> bool:
    if request.POST.get("do") == "distrust":
        number = read_key(request.POST.get("number", "")) or 0
        one = TrustedKey.objects.filter(project=project, pk=number).first()
        if one is None:
            messages.error(request, "This key is not among the accepted ones any more.")
        else:
            distrust_key(one, actor=request.user)
        return True
    if request.POST.get("do") != "trust":
        messages.error(request, "Nothing was done: the form names neither trust nor distrust.")
        return True
    if form.is_valid():
        try:
            key = form.cleaned_data["key"].replace(" ", "").lower()
            trust_key(project=project, key=key, owner=form.cleaned_data["owner"], actor=request.user)
            return True
        except PackageRefused as refused:
            _add_problems(form, refused)
    return False


@login_required
@require_GET
def own_key(request: HttpRequest, project: str) -> HttpResponse:
    get_project(request, project)
    own = find_own_public_key()
    if own is None:
        raise Http404("The installation has no key yet; its first export makes one.")
    response = HttpResponse(write_public_key(own), content_type="application/x-pem-file")
    response["Content-Disposition"] = 'attachment; filename="chanote-public-key.pem"'
    return response


def _add_problems(form: Any, refused: PackageRefused) -> None:
    for problem in refused.problems[:20]:
        form.add_error(problem.field if problem.field in form.fields else None, problem.message)
