"""Watches every request of a test: what it changed in the database, and whether the audit log tells of it.

A test that changes something through a page, the API or the admin without an event fails, whatever it is about.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.test import Client
from django.urls import Resolver404, resolve

from chanote import cli

WRITE = re.compile(r'\s*(INSERT(?: OR \w+)? INTO|REPLACE INTO|UPDATE|DELETE FROM)\s+"?(\w+)"?(.*)', re.DOTALL)
EVENTS = "audit_auditevent"
NO_STATE = {
    "django_session": "who is logged in with which browser",
    "django_cache": "counts of requests",
    "django_admin_log": "the admin's own list of recent acts",
    "axes_accessattempt": "wrong passwords, kept for the lockout",
    "axes_accesslog": "logins, kept for the lockout",
    "axes_accessfailurelog": "wrong passwords, kept for the lockout",
    "api_idempotencykey": "answers that may be asked for twice",
    "audit_auditlink": "the log itself",
    "runs_outboxmessage": "a nudge to a worker, written with the act that is logged",
    "runs_worker": "heartbeat of a worker",
    "runs_metricseries": "what a run measures, sent by its trainer",
    "runs_metricbatch": "what a run measures, sent by its trainer",
    "runs_metricchunk": "what a run measures, sent by its trainer",
    "tools_toolcall": "what a policy did with its tools, sent by its trainer",
}
"""Table → why a change of it is no change of the product's state."""
DERIVED = {
    "runs_rolloutrow": "list of rollouts, made of their files",
    "runs_rollouttext": "list of rollouts, made of their files",
    "runs_rolloutprompt": "list of rollouts, made of their files",
    "runs_rolloutfile": "list of rollouts, made of their files",
    "boards_standing": "statistics of a board, made of its scores",
    "boards_itemset": "names of items, made of the scores that have them",
    "review_pick": "the inbox, made of rollouts by rules",
    "review_storedprompt": "the inbox, made of rollouts by rules",
    "review_siftedstep": "the inbox, made of rollouts by rules",
}
"""Table → of what it can be made again at any time."""
SEEN_ONLY = {"accounts_user": '"last_login"', "accounts_apitoken": '"last_used"'}
"""Table → the one column that says when somebody was last seen."""


TOLD: set[tuple[str, str]] = set()
"""Address and method of every request so far that the audit log told of."""


def find_name(asked: str) -> str:
    """Name of the address of `METHOD /path`, such as `api:runs`."""
    try:
        match = resolve(asked.partition(" ")[2])
    except Resolver404:
        return ""
    return match.view_name or match.route


def find_change(sql: str) -> str:
    """The table whose state a statement changes; empty when it changes none."""
    found = WRITE.match(sql)
    if found is None:
        return ""
    verb, table, rest = found.groups()
    if table in NO_STATE or table in DERIVED:
        return ""
    if verb == "UPDATE" and table in SEEN_ONLY:
        columns = re.findall(r'("\w+") = ', rest.partition(" WHERE ")[0])
        if columns == [SEEN_ONLY[table]]:
            return ""
    return table


class Watch:
    """Tables that were changed while it looked, and whether events were written."""

    def __init__(self) -> None:
        self.changed: set[str] = set()
        self.told = False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        answer = execute(sql, params, many, context)
        table = find_change(sql)
        # A conditional UPDATE or DELETE that met no row has changed nothing; SQLite counts no inserted rows here.
        if table and (sql.lstrip().startswith("INSERT") or context["cursor"].rowcount != 0):
            if table == EVENTS:
                self.told = True
            else:
                self.changed.add(table)
        return answer


@contextmanager
def watch_changes(what: str) -> Iterator[Watch]:
    """Fail when something changes within and no event tells of it."""
    watch = Watch()
    with connection.execute_wrapper(watch):
        yield watch
    assert watch.told or not watch.changed, f"{what} changed {sorted(watch.changed)} and the audit log tells nothing"


@contextmanager
def watch_requests() -> Iterator[None]:
    """All requests of test clients, also those of the REST framework, and commands given in this process."""
    ask, do = Client.request, cli._act

    def request(client: Client, **asked: Any) -> Any:
        what = f"{asked.get('REQUEST_METHOD')} {asked.get('PATH_INFO')}"
        watch = Watch()
        with connection.execute_wrapper(watch):
            answer = ask(client, **asked)
        if answer.status_code < 400:
            told = watch.told or not watch.changed
            assert told, f"{what} changed {sorted(watch.changed)} and the audit log tells nothing"
            if watch.told:
                TOLD.add((find_name(what), str(asked.get("REQUEST_METHOD"))))
        return answer

    def act(args: Any) -> Any:
        with watch_changes(f"chanote {args.noun}"):
            return do(args)

    Client.request, cli._act = request, act  # type: ignore[method-assign]
    try:
        yield
    finally:
        Client.request, cli._act = ask, do  # type: ignore[method-assign]
