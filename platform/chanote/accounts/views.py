"""Pages of login, of one's own account, of a project's members, and of a new project."""

from typing import Any

from django.contrib import messages
from django.contrib.auth import views as auth
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse_lazy
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from chanote.accounts.forms import LoginForm, MemberForm, OwnPasswordForm, ProjectForm, TokenForm
from chanote.accounts.models import ApiToken, Membership, Role
from chanote.accounts.roles import may, require
from chanote.accounts.services import (
    MembershipRefused,
    create_project,
    create_token,
    remove_member,
    revoke_token,
    set_reviews_data,
    set_role,
)
from chanote.web.projects import get_project


class Login(auth.LoginView):
    template_name = "accounts/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True


class PasswordChange(auth.PasswordChangeView):
    template_name = "accounts/password.html"
    form_class = OwnPasswordForm
    success_url = reverse_lazy("home")

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        messages.success(self.request, "Your password is changed.")
        return response


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """One's roles and tokens. The text of a new token is in the answer to its form and nowhere else."""
    form = TokenForm(request.POST or None)
    text = ""
    if request.method == "POST" and form.is_valid():
        try:
            _, text = create_token(request.user, **form.cleaned_data)  # type: ignore[arg-type]
        except ValidationError as error:
            form.add_error(None, error)
        else:
            form = TokenForm()
    tokens = ApiToken.objects.filter(user=request.user.pk).order_by("-created")
    memberships = Membership.objects.filter(user=request.user.pk).select_related("project").order_by("project__name")
    context = {
        "form": form,
        "text": text,
        "tokens": tokens,
        "now": timezone.now(),
        "memberships": memberships,
    }
    return render(request, "accounts/profile.html", context, status=_status(form))


@login_required
@require_POST
def token_revoke(request: HttpRequest) -> HttpResponse:
    token = get_object_or_404(ApiToken, user=request.user, name=request.POST.get("name", ""))
    revoke_token(token, actor=request.user)
    messages.success(request, f"The token {token.name} is revoked. Programs that use it are refused from now on.")
    return redirect("profile")


@login_required
@require_http_methods(["GET", "POST"])
def members(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    if request.method == "POST":
        require(request.user, "projects.administer", found)
    form = MemberForm(request.POST or None, project=found)
    if request.method == "POST" and form.is_valid():
        user, role = form.cleaned_data["user"], form.cleaned_data["role"]
        set_role(user=user, project=found, role=role, actor=request.user)
        messages.success(request, f"{user.username} is now {role} in {found.name}.")
        return redirect("members", found.slug)
    context = {
        "project": found,
        "form": form,
        "roles": Role.choices,
        "memberships": found.memberships.select_related("user").order_by("user__username"),
        "may_change": may(request.user, "projects.administer", found),
    }
    return render(request, "accounts/members.html", context, status=_status(form))


@login_required
@require_POST
def member_change(request: HttpRequest, project: str, user: int) -> HttpResponse:
    """Change a member's role, or end the membership when the form says `remove`."""
    found = get_project(request, project)
    require(request.user, "projects.administer", found)
    membership = get_object_or_404(found.memberships.select_related("user"), user=user)
    name = membership.user.username
    try:
        if "remove" in request.POST:
            remove_member(membership, actor=request.user)
            messages.success(request, f"{name} is no longer a member of {found.name}.")
        else:
            role = request.POST.get("role", "")
            set_role(user=membership.user, project=found, role=role, actor=request.user)
            messages.success(request, f"{name} is now {role} in {found.name}.")
    except MembershipRefused as error:
        messages.error(request, str(error))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect("members", found.slug) if may(request.user, "projects.view", found) else redirect("home")


@login_required
@require_POST
def project_reviews(request: HttpRequest, project: str) -> HttpResponse:
    """Say whether only approved versions may train; drafts that train today are refused from then on, or let pass."""
    found = get_project(request, project)
    require(request.user, "projects.administer", found)
    reviews = request.POST.get("reviews_data") == "yes"
    set_reviews_data(found, reviews, actor=request.user)
    word = "Only approved versions may train from now on." if reviews else "Drafts may train from now on as well."
    messages.success(request, word)
    return redirect("members", found.slug)


@login_required
@require_http_methods(["GET", "POST"])
def project_new(request: HttpRequest) -> HttpResponse:
    if not request.user.is_superuser:
        raise Http404
    form = ProjectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            project = create_project(owner=request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            messages.success(request, f"The project {project.name} is made. You are its admin.")
            return redirect("project", project.slug)
    return render(request, "accounts/project_new.html", {"form": form}, status=_status(form))


def _status(form: Any) -> int:
    return 422 if form.is_bound and form.errors else 200
