"""Celery application. Messages are nudges only: what is to be done always stands in the database."""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chanote.settings")
TRANSPORT_ALIASES["filesystem"] = "chanote.runs.broker:Transport"
app = Celery("chanote")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
