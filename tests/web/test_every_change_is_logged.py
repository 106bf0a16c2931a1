"""Every way of changing something, in the table of addresses, the admin and the command line, is in the audit log.

What a request changes is watched in all tests of this folder (see conftest.py); here is the list of ways, held to what
there is: a new one without a test that shows its event fails.
"""

import argparse
import ast
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.test import RequestFactory
from django.urls import reverse
from django.utils import timezone

from chanote.accounts.models import Membership, User
from chanote.accounts.services import create_token
from chanote.audit.models import AuditEvent
from chanote.boards.models import Board
from chanote.cli import build_parser, main
from chanote.models.models import Model
from tests.audited_requests import TOLD, find_change, watch_changes
from tests.custody_world import add_version, write_model
from tests.run_rows import make_run, save_checkpoint
from tests.written_addresses import list_writing_addresses

pytestmark = pytest.mark.django_db

TESTS = Path(__file__).resolve().parents[1]
NOTHING_TO_TELL = {
    "login": "a session",
    "dataset_import": "keeps a file until its columns are named; dataset_import_staged tells",
    "logout": "a session",
    "api:check_recipe": "says what is wrong with a text and keeps nothing",
    "api:plan_mixtures": "says how a text's mixtures would be drawn and keeps nothing",
    "api:run_metrics": "what a run measures, in its own records",
    "api:run_tool_calls": "what a policy did with its tools, in its own records",
    "api:": "answers that there is nothing",
    "run_live": "tells what happens and changes nothing",
    "playground": "tries tools and keeps nothing",
    "chat_answer": "tries a model and keeps nothing",
}
"""Name of an address → why no event follows from it."""


SAME_SERVICE = {
    "recipe_launch": "api:runs",
    "api:retrain": "source_retrain",
    "api:source_retrain": "source_retrain",
}
"""Name of an address → the one whose event shows that the service they share tells of it."""


def test_every_address_that_writes_was_seen_to_tell_of_it(all_of_them):
    addresses = list_writing_addresses()
    names = {name for name, _ in addresses}
    assert {*NOTHING_TO_TELL, *SAME_SERVICE, *SAME_SERVICE.values()} <= names, (
        "an address is gone; take it out of the list"
    )
    assert len(addresses) > 60
    if all_of_them:
        shown = {name for name, _ in TOLD}
        silent = {one for one in addresses - TOLD if one[0] not in NOTHING_TO_TELL}
        silent -= {one for one in silent if SAME_SERVICE.get(one[0]) in shown}
        assert silent == set(), "no test of this folder made these addresses write an event; add one"


def test_a_change_without_an_event_is_noticed(project, client_of, researcher, monkeypatch):
    """The watch itself: an address that forgets its event fails the test that uses it."""
    monkeypatch.setattr("chanote.models.services.record", lambda *_, **__: None)
    model = Model.objects.create(project=project, slug="m", origin="directory", location="x", sha256="a" * 64)
    address = reverse("model_edit", args=[project.slug, model.slug])
    with pytest.raises(AssertionError, match="the audit log tells nothing"):
        client_of(researcher).post(address, {"title": "new", "licence": "MIT", "description": "", "uses": ["train"]})


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ('INSERT INTO "runs_run" ("id") VALUES (1)', "runs_run"),
        ('INSERT OR IGNORE INTO "boards_evaluation_boards" ("id") VALUES (1)', "boards_evaluation_boards"),
        ('UPDATE "accounts_user" SET "last_login" = %s WHERE "accounts_user"."id" = %s', ""),
        ('UPDATE "accounts_user" SET "is_superuser" = %s, "last_login" = %s WHERE 1', "accounts_user"),
        ('DELETE FROM "django_session" WHERE 1', ""),
        ('SELECT 1 FROM "runs_run"', ""),
    ],
)
def test_what_the_watch_counts_as_a_change(statement, table):
    assert find_change(statement) == table


@pytest.mark.parametrize("prefix", ["", "api:"])
def test_acts_on_runs_are_told_from_pages_and_over_rest(prefix, project, project_admin, client_of, tmp_path):
    client = client_of(project_admin)
    acts: list[tuple[str, str, dict[str, Any]]] = [
        ("stop", "running", {}),
        ("cancel", "running", {"reason": "enough"}),
        ("resume", "stopped", {}),
        ("retry", "failed", {}),
        ("move", "queued", {"position": 1}),
    ]
    for number, (verb, state, body) in enumerate(acts, start=1):
        run = make_run(project, number=number, state=state)
        save_checkpoint(run, 10, tmp_path)
        address = reverse(f"{prefix}run_{verb}", args=[project.slug, number])
        kind = {"content_type": "application/json"} if prefix else {}
        answer = client.post(address, body, **kind)
        assert answer.status_code in (200, 201, 202, 302), (verb, answer.content)
        assert AuditEvent.objects.filter(object_kind="run", object_id=str(run.pk)).exists(), verb


def test_models_and_boards_over_rest_are_told(project, researcher, client_of, tmp_path):
    client = client_of(researcher)
    place = str(write_model(tmp_path / "model"))
    body = {"slug": "m", "path": place, "licence": "MIT"}
    answer = client.post(reverse("api:models", args=[project.slug]), body, content_type="application/json")
    assert answer.status_code == 201, answer.content
    board = Board.objects.create(project=project, slug="main", title="Main", question="Which?")
    address = reverse("api:board", args=[project.slug, board.slug])
    assert client.patch(address, {"title": "Other"}, content_type="application/json").status_code == 200
    assert {"model.registered", "board.changed"} <= set(AuditEvent.objects.values_list("verb", flat=True))


def test_rights_are_told_over_rest_and_from_pages(project, curator, project_admin, client_of):
    asking, deciding = client_of(curator), client_of(project_admin)
    version = add_version(project, uses=["evaluate"])

    def send(client: Any, method: str, name: str, body: dict[str, Any], *places: Any) -> Any:
        address = reverse(name, args=[project.slug, *places])
        form = name.startswith("api:")
        answer = (
            client.generic(method, address, json.dumps(body), "application/json")
            if form
            else client.post(address, body)
        )
        assert answer.status_code < 400, (name, answer.content[:300])
        return answer

    send(asking, "POST", "api:sources", {"slug": "court", "licence": "MIT", "uses": ["train"]})
    send(asking, "PATCH", "api:source", {"owner": "The court", "reason": "They said so."}, "court")
    send(asking, "POST", "source_new", {"slug": "press", "title": "Press", "licence": "MIT", "uses": ["train"]})
    send(asking, "POST", "source_edit", {"title": "Papers", "licence": "MIT", "reason": "Its name."}, "press")
    send(deciding, "POST", "purpose", {"commercial": "yes"})
    until = (timezone.localdate() + timedelta(days=5)).isoformat()
    body = {"version": version.reference, "use": "train", "reason": "A study.", "until": until}
    number = send(asking, "POST", "api:exceptions", body).json()["id"]
    send(deciding, "POST", "api:exception_approve", {}, number)
    send(deciding, "POST", "api:exception_revoke", {"reason": "Over."}, number)
    send(deciding, "POST", "api:row_withdraw", {"reason": "Named."}, "laws", 1, 1)
    told = set(AuditEvent.objects.values_list("verb", flat=True))
    assert len([verb for verb in told if verb.startswith(("source.", "exception.", "row.", "project."))]) >= 6, told


def test_a_bundle_over_rest_is_told(project, researcher, client_of):
    add_version(project)
    body = {"kind": "dataset", "name": "laws@1"}
    answer = client_of(researcher).post(reverse("api:bundles", args=[project.slug]), body, "application/json")
    assert answer.status_code == 202, answer.content
    assert AuditEvent.objects.filter(verb="errand.started").exists()


def list_admin_acts() -> set[tuple[str, str]]:
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_staff=True, is_active=True)
    return {
        (model._meta.label_lower, act)
        for model, page in admin.site._registry.items()
        for act in ("add", "change", "delete")
        if getattr(page, f"has_{act}_permission")(request)
    }


@pytest.fixture
def root(client_of):
    return client_of(User.objects.create(username="root", is_superuser=True, is_staff=True))


def post_admin(client: Any, label: str, act: str, pk: Any = None, **fields: Any) -> Any:
    """Send the admin's form as it shows it, with some fields changed."""
    name = f"admin:{label.replace('.', '_')}_{act}"
    address = reverse(name, args=[] if pk is None else [pk])
    if act == "delete":
        return client.post(address, {"post": "yes"})
    form = client.get(address).context["adminform"].form
    shown = {field.html_name: field.value() for field in form if field.value() is not None}
    return client.post(address, {**shown, **fields})


def test_every_act_in_the_admin_is_told(root, project, researcher, viewer):
    model = Model.objects.create(
        project=project, slug="m", origin="directory", location="x", sha256="a" * 64, licence="MIT"
    )
    version = add_version(project)
    board = Board.objects.create(project=project, slug="main", title="Main", question="Which?")
    token, _ = create_token(researcher, name="old", scopes=["runs:read"], days=1)
    password = "a long enough one 7"
    acts: dict[tuple[str, str], dict[str, Any]] = {
        ("accounts.user", "add"): {"username": "new", "password1": password, "password2": password},
        ("accounts.user", "change"): {"pk": viewer.pk, "first_name": "Mali"},
        ("accounts.project", "add"): {"slug": "tax", "name": "Tax"},
        ("accounts.project", "change"): {"pk": project.pk, "name": "Other"},
        ("accounts.membership", "add"): {"user": None, "project": project.pk, "role": "viewer"},
        ("accounts.membership", "change"): {"pk": Membership.objects.get(user=viewer).pk, "role": "curator"},
        ("accounts.membership", "delete"): {"pk": Membership.objects.get(user=viewer).pk},
        ("accounts.apitoken", "delete"): {"pk": token.pk},
        ("datasets.dataset", "change"): {"pk": version.dataset.pk, "title": "Other", "languages": '["th"]'},
        ("models.model", "change"): {"pk": model.pk, "title": "Other"},
        ("boards.board", "change"): {"pk": board.pk, "title": "Other"},
        ("boards.board", "delete"): {"pk": board.pk},
    }
    assert list_admin_acts() == set(acts), "an act in the admin has no test that shows its event"
    for (label, act), given in acts.items():
        fields = dict(given)
        if fields.get("user", "") is None:
            fields["user"] = User.objects.get(username="new").pk
        before = AuditEvent.objects.count()
        answer = post_admin(root, label, act, **fields)
        assert answer.status_code == 302, (label, act, answer.context["errors"] if answer.context else answer)
        assert AuditEvent.objects.count() > before, (label, act)


READS = {
    "project show",
    "user list", "token list", "dataset list", "dataset show", "model list", "recipe check", "recipe list",
    "recipe show", "toolset list", "toolset show", "toolset corpus", "run list", "run show", "run metrics", "run wait",
    "run logs", "board list", "board show", "errand list", "errand show", "errand wait", "rights sources",
    "rights source", "rights impact", "rights check", "rights exceptions", "audit export", "audit verify",
    "custody list", "verify", "task list", "task library", "dataset builds", "endpoint list",
}  # fmt: skip
"""Commands that change nothing."""
HERE = {
    "user create", "user password", "token create", "token revoke", "dataset import", "model register", "recipe save",
    "custody key",
}  # fmt: skip
"""Commands that the test below gives."""
ELSEWHERE = {
    "project reviews": "web/test_project_reviews.py::test_the_command_shows_and_changes_it",
    "up": "integration/test_up_tools.py",
    "demo": "integration/test_demo_path.py",
    "serve": "integration/test_serve_command.py::test_a_model_is_served_until_it_is_told_to_stop",
    "dataset import-shared": "unit/test_shared_loaders.py",
    "dataset export": "web/test_quarantine.py::test_the_commands_carry_a_dataset_across",
    "dataset import-package": "web/test_quarantine.py::test_the_commands_carry_a_dataset_across",
    "custody trust": "web/test_quarantine.py::test_the_commands_carry_a_dataset_across",
    "custody distrust": "web/test_quarantine.py::test_the_commands_carry_a_dataset_across",
    "custody accept": "web/test_quarantine.py::test_the_commands_carry_a_dataset_across",
    "custody reject": "web/test_quarantine.py::test_a_rejected_package_is_gone_and_stays_known",
    "dataset check": "web/test_check_pages.py",
    "dataset build": "web/test_builds.py",
    "endpoint save": "web/test_builds.py",
    "endpoint remove": "web/test_builds.py",
    "dataset review": "web/test_curation_approval.py",
    "dataset replay": "web/test_row_changes.py",
    "model export": "web/test_model_bundles.py::test_the_command_exports_and_everybody_verifies",
    "toolset save": "unit/test_toolset_command.py::test_a_toolset_is_saved_listed_and_shown",
    "board import": "web/test_boards_imports.py",
    "board freeze": "web/test_boards_snapshots.py",
    "board rejudge": "web/test_boards_judging.py",
    "board votes": "web/test_boards_judging.py",
    "board point": "web/test_boards_changes.py",
    "task add": "web/test_task_command.py",
    "board add": "web/test_boards_agents.py::test_what_was_evaluated_by_hand_is_put_on_a_board_by_a_command",
    "run launch": "unit/test_run_services.py::test_launching_freezes_what_the_result_depends_on",
    "run stop": "unit/test_run_services.py::test_a_running_run_can_be_stopped_once_and_then_cancelled",
    "run cancel": "unit/test_run_services.py::test_a_waiting_run_is_cancelled_at_once_and_cannot_be_stopped",
    "run resume": "unit/test_run_services.py::test_resuming_takes_the_newest_checkpoint_whose_files_are_kept",
    "run retry": "web/test_api_nouns.py::test_a_waiting_run_is_cancelled_once",
    "run reproduce": "integration/test_reproduce_run.py",
    "errand stop": "web/test_errands.py::test_one_that_waits_stops_at_once",
    "errand resume": "web/test_errands.py::test_a_refusal_is_told_in_its_own_words_and_the_work_goes_on_where_it_was",
    "rights withdraw": "web/test_withdrawal.py",
    "rights retrain": "web/test_withdrawal.py",
    "rights ask": "web/test_rights_exceptions.py",
    "rights approve": "web/test_rights_exceptions.py",
    "rights refuse": "web/test_rights_exceptions.py",
    "rights revoke": "web/test_rights_exceptions.py",
    "rights take-back": "web/test_rights_exceptions.py",
}
"""Command → the test of the service that it calls. Those below `web/` are watched too."""


def list_commands(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[str]:
    nouns = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not nouns:
        yield " ".join(words)
    for action in nouns:
        for name, inner in action.choices.items():
            yield from list_commands(inner, (*words, name))


def test_every_command_reads_or_has_a_test_that_shows_its_event():
    commands = set(list_commands(build_parser()))
    assert commands - READS - HERE - set(ELSEWHERE) == set(), "say of a new command where its event is shown"
    for place in [ELSEWHERE[command] for command in commands & set(ELSEWHERE)]:
        name, _, function = place.partition("::")
        tree = ast.parse((TESTS / name).read_text(encoding="utf-8"))
        found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert not function or function in found, place


def test_commands_that_need_no_run_tell(project, project_admin, tmp_path, settings, monkeypatch, capsys):
    monkeypatch.setattr("chanote.cli._set_up_django", lambda **_: None)
    settings.HOME, settings.MINIMUM_FREE_BYTES = tmp_path, 0
    (tmp_path / "rows.jsonl").write_text('{"text": "Section 1"}\n')
    (tmp_path / "recipe.yaml").write_text("base: m\nstages: [{kind: sft, data: [{dataset: rows}], steps: 1}]\n")
    actor = ("--as", "project-admin", "--project", "law")
    model = str(write_model(tmp_path / "model"))
    given = [
        (("user", "create"), ("new",), "user.created"),
        (("user", "password"), ("new",), "password.reset"),
        (("token", "create"), ("t", "--scope", "runs:read"), "token.created"),
        (("token", "revoke"), ("t",), "token.revoked"),
        (("dataset", "import"), (str(tmp_path / "rows.jsonl"), "--kind", "text"), "dataset.version_imported"),
        (("model", "register"), ("m", model), "model.registered"),
        (("recipe", "save"), ("r", str(tmp_path / "recipe.yaml")), "recipe.revised"),
        (("custody", "key"), (), "key.made"),
    ]
    assert {" ".join(command) for command, _, _ in given} == HERE
    for command, words, verb in given:
        with watch_changes(" ".join(command)) as watch:
            assert main([*command, *words, *actor]) == 0, capsys.readouterr()
        assert watch.told, command
        assert AuditEvent.objects.filter(verb=verb).exists(), verb
