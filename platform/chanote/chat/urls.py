"""Addresses of the chat page."""

from django.urls import path

from chanote.chat import views

urlpatterns = [
    path("p/<slug:project>/chat/", views.chat, name="chat"),
    path("p/<slug:project>/chat/answer/", views.answer, name="chat_answer"),
]
