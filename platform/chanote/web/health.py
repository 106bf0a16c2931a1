"""Is the platform alive, and can it serve? One line per check, for monitors and load balancers."""

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from chanote.runs.queue import silence_allowed, worker_silence

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Check:
    ok: bool
    says: str
    """One sentence: what was found and, if it is not well, the way out."""


@never_cache
@require_safe
def livez(request: HttpRequest) -> JsonResponse:
    """The process answers. Asks nothing of the database, so that a database at rest restarts no web server."""
    return JsonResponse({"ok": True})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Everything that a page needs is there; 503 when not. The worker is told of, but pages do without it."""
    checks = {name: check() for name, check in CHECKS.items()}
    ok = all(check.ok for name, check in checks.items() if name != "worker")
    answer = {"ok": ok, "checks": {name: asdict(check) for name, check in checks.items()}}
    return JsonResponse(answer, status=200 if ok else 503, json_dumps_params={"indent": 1})


def check_database() -> Check:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return Check(False, explain(error, "The database does not answer"))
    return Check(True, f"The database answers ({connection.vendor}).")


def check_migrations() -> Check:
    try:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        return Check(False, explain(error, "The tables cannot be looked at"))
    if plan:
        return Check(False, f"{len(plan)} migrations wait; run `python manage.py migrate`.")
    return Check(True, "All migrations are applied.")


def check_disk() -> Check:
    try:
        free = shutil.disk_usage(settings.HOME).free
    except OSError as error:
        return Check(False, f"The data directory cannot be read: {error.strerror}; set CHANOTE_HOME.")
    needed = settings.MINIMUM_FREE_BYTES
    words = f"{free // 2**20} MB are free, {needed // 2**20} MB are needed"
    return Check(True, f"{words}.") if free >= needed else Check(False, f"{words}; make room.")


def check_broker() -> Check:
    if settings.CELERY_BROKER_URL.startswith("redis"):
        try:
            redis.Redis.from_url(settings.CELERY_BROKER_URL, socket_timeout=2, socket_connect_timeout=2).ping()
        except redis.RedisError as error:
            return Check(False, explain(error, "Redis does not answer at CHANOTE_REDIS_URL"))
        return Check(True, "Redis answers.")
    folder = Path(str(settings.CELERY_BROKER_TRANSPORT_OPTIONS["data_folder_in"]))
    # The folder is made with the first message; until then what matters is that it can be.
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        return Check(False, "The folder for nudges cannot be written; give the web server's user write access to it.")
    return Check(True, "The folder for nudges can be written.")


def check_worker() -> Check:
    try:
        silence = worker_silence()
    except DatabaseError as error:
        return Check(False, explain(error, "The workers cannot be looked at"))
    if silence is None:
        return Check(False, "No worker was ever heard of; runs wait in the queue until one starts.")
    return Check(silence <= silence_allowed(), f"A worker was last heard of {silence} s ago.")


def explain(error: Exception, words: str) -> str:
    """Anybody may ask for this page, so that the details, which name hosts and users, go to the log only."""
    log.error("not_ready", says=words, error=str(error))
    return f"{words}; the log of the web server says why."


CHECKS: dict[str, Callable[[], Check]] = {
    "database": check_database,
    "migrations": check_migrations,
    "disk": check_disk,
    "broker": check_broker,
    "worker": check_worker,
}
