"""Celery task of errands: a nudge."""

from chanote.celery import app
from chanote.errands.launching import start_what_waits


@app.task(name="chanote.start_errands")
def start_errands() -> None:
    start_what_waits()
