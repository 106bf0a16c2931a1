"""Addresses of the review, below `p/<project>/`."""

from django.urls import path

from chanote.review import views

BASE = "p/<slug:project>/review/"

urlpatterns = [
    path(BASE, views.inbox, name="review"),
    path(f"{BASE}labels/", views.labels, name="review_labels"),
    path(f"{BASE}same-prompt/", views.same_prompt, name="review_same_prompt"),
    path("p/<slug:project>/runs/<int:number>/label/", views.label, name="review_label"),
]
