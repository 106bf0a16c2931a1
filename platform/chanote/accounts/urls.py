"""Addresses of login, of one's own account, and of a project's members."""

from django.contrib.auth import views as auth
from django.urls import path

from chanote.accounts import views

urlpatterns = [
    path("login/", views.Login.as_view(), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("password/", views.PasswordChange.as_view(), name="password_change"),
    path("profile/", views.profile, name="profile"),
    path("p/<slug:project>/members/", views.members, name="members"),
]
