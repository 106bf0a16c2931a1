"""Celery application. Messages are nudges only: what is to be done always stands in the database."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chanote.settings")
app = Celery("chanote")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
