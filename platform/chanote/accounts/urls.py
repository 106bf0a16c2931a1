"""Addresses of login, of one's own account, of a project's members, and of a new project."""

from django.contrib.auth import views as auth
from django.urls import path

from chanote.accounts import views

urlpatterns = [
    path("login/", views.Login.as_view(), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("password/", views.PasswordChange.as_view(), name="password_change"),
    path("profile/", views.profile, name="profile"),
    path("profile/tokens/revoke/", views.token_revoke, name="token_revoke"),
    path("projects/new/", views.project_new, name="project_new"),
    path("p/<slug:project>/members/", views.members, name="members"),
    path("p/<slug:project>/members/reviews/", views.project_reviews, name="project_reviews"),
    path("p/<slug:project>/members/<int:user>/", views.member_change, name="member_change"),
]
