"""Pages of login, of one's own account, and of a project's members."""

from django.contrib.auth import views as auth
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse_lazy

from chanote.web.projects import get_project


class Login(auth.LoginView):
    template_name = "accounts/login.html"


class PasswordChange(auth.PasswordChangeView):
    template_name = "accounts/password.html"
    success_url = reverse_lazy("home")


@login_required
def profile(request: HttpRequest) -> HttpResponse:
    return render(request, "accounts/profile.html")


@login_required
def members(request: HttpRequest, project: str) -> HttpResponse:
    return render(request, "accounts/members.html", {"project": get_project(request, project)})
