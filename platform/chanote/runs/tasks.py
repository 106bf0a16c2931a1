"""Celery tasks. A message is a nudge: what is to be done stands in the database."""

from chanote.celery import app
from chanote.runs.launching import start_attempt


@app.task(name="chanote.execute_attempt")
def execute_attempt(attempt_id: int) -> None:
    start_attempt(attempt_id)
