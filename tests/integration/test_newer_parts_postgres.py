"""Curation, rights, checks, custody, errands and boards on PostgreSQL: what its stricter server must take as well."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from curated_rows import EVERY_POINT, sections, take
from django.core.management import call_command
from django.db import IntegrityError, connection, connections, transaction
from django.utils import timezone

from chanote.accounts.models import Membership, Project, User
from chanote.boards.aliases import create_alias, move_alias
from chanote.boards.imports import import_results
from chanote.boards.models import Sample
from chanote.boards.models import Standing as BoardStanding
from chanote.boards.selectors import describe_board, read_board
from chanote.boards.services import create_board, update_board
from chanote.boards.snapshots import freeze_board
from chanote.checks.checkers import CHECKS
from chanote.checks.running import run_checks
from chanote.curation.changes import apply_changes, find_change_set, record_change, replay_version
from chanote.curation.models import Change, Standing, State
from chanote.curation.queue import accept_row
from chanote.curation.services import CurationRefused, add_comment, ask_for_review, sign_version
from chanote.datasets.storage import open_rows
from chanote.errands.leases import claim
from chanote.errands.models import Errand
from chanote.rights.exceptions import request_exception
from chanote.rights.impact import find_impact_of_source
from chanote.rights.models import SourceSpan
from chanote.rights.withdrawal import withdraw_row, withdraw_source
from tests import harness_files as files
from tests.board_rows import BoardRows, rate
from tests.rights_rows import approve, make_source, make_texts, train_model

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(180)]


@pytest.fixture
def law(on_postgres: Any, settings: Any, tmp_path: Any, request: pytest.FixtureRequest) -> tuple[Project, Any]:
    """A project of this test alone and its people by role."""
    settings.HOME = tmp_path / "own"
    settings.HOME.mkdir()
    slug = f"law-{abs(hash(request.node.name)) % 10**8}"
    project = Project.objects.create(slug=slug, name="Law")

    def person(name: str, role: str = "curator") -> User:
        user, made = User.objects.get_or_create(username=f"{name}-{slug}")
        if made:
            Membership.objects.create(user=user, project=project, role=role)
        return user

    return project, person


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Every act in a thread and a connection of its own, all let go together; answers or what they raised."""
    own = connections["default"]
    start = threading.Barrier(len(acts))
    answers: list[Any] = [None] * len(acts)

    def do(place: int) -> None:
        connections["default"] = type(own)({**own.settings_dict}, "default")
        start.wait(60)
        try:
            answers[place] = acts[place]()
        except Exception as error:
            answers[place] = error
        finally:
            connections["default"].close()

    threads = [threading.Thread(target=do, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def refuse(constraint: str, table: str, row: Any, **values: Any) -> None:
    """Past every service: the server keeps the row as it is and names the constraint."""
    columns = ", ".join(f"{column} = %s" for column in values)
    statement = f"UPDATE {table} SET {columns} WHERE id = %s"  # noqa: S608 (columns are named by this file)
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, [*values.values(), row.pk])


def test_no_migration_is_missing(on_postgres):
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    call_command("migrate", check_unapplied=True, verbosity=0)


def test_the_server_itself_refuses_states_that_cannot_be(law, tmp_path):
    project, person = law
    version = take(project, sections(3), actor=person("importer"))
    standing = ask_for_review(version, restricted=True, actor=person("asker"))
    sign_version(version, checklist=EVERY_POINT, actor=person("first"))
    refuse("standing_state_known", "curation_standing", standing, state="blessed")
    refuse("standing_first_by_is_not_asked_by", "curation_standing", standing, first_by_id=person("asker").pk)
    refuse("standing_second_by_is_not_first_by", "curation_standing", standing, second_by_id=person("first").pk)
    refuse("standing_restricted_is_signed_twice", "curation_standing", standing, state="restricted")
    refuse("standing_draft_is_unsigned", "curation_standing", standing, state="draft")
    (result,) = run_checks(version, ["duplicates"], actor=None, scratch=tmp_path / "scratch")
    refuse("found_rows_are_rows", "checks_checkresult", result, found_rows=4)
    closed = make_texts(project, [(make_source(project, "closed", uses=["evaluate"]), 2)], slug="closed")
    (span,) = SourceSpan.objects.filter(version=closed)
    refuse("span_holds_rows", "rights_sourcespan", span, stop=0)
    errand = Errand.objects.create(project=project, kind="checks", title="t", config={})
    refuse("errand_state_known", "errands_errand", errand, state="lost")
    errand.delete()
    until = timezone.localdate() + timedelta(days=5)
    asked = request_exception(
        project=project, subject=closed, use="train", reason="A study.", until=until, actor=person("asker")
    )
    own = {"state": "approved", "decided_by_id": person("asker").pk}
    refuse("exception_decided_by_somebody_else", "rights_exceptionrequest", asked, **own)
    assert approve(project, closed, "distil", asks=person("asker"), decides=person("first")).state == "approved"


def test_of_two_reviewers_both_sign_and_of_one_twice_one_counts(law):
    project, person = law
    first, second = person("first"), person("second")
    versions = [take(project, sections(3), actor=person("importer"), slug=slug) for slug in ("both", "one")]
    for version in versions:
        ask_for_review(version, restricted=True, actor=person("asker"))

    def sign(version: Any, who: User) -> Callable[[], Any]:
        return lambda: sign_version(version, checklist=EVERY_POINT, actor=who)

    answers = at_once(sign(versions[0], first), sign(versions[0], second), *[sign(versions[1], first)] * 3)
    assert not any(isinstance(one, Exception) for one in answers[:2]), answers
    assert [type(one) for one in answers[2:]].count(CurationRefused) == 2, answers
    both, one = (Standing.objects.get(version=version) for version in versions)
    assert (both.state, {both.first_by, both.second_by}) == (State.RESTRICTED, {first, second})
    assert (one.state, one.first_by, one.second_by, one.signatures.count()) == ("in_review", first, None, 1)


def test_rows_are_changed_by_two_at_once_and_become_one_version(law):
    project, person = law
    mali = person("mali")
    version = take(project, sections(8), actor=mali)
    operations = [
        {"op": "edit", "row": 1, "content": {"text": "มาตรา ๑"}},
        {"op": "reject", "rows": [[3, 4]], "why": "empty"},
        {"op": "split", "row": 5, "contents": [{"text": "5a"}, {"text": "5b"}]},
        {"op": "flag", "rows": [[7, 8]], "flag": "needs-source"},
    ]
    answers = at_once(*(lambda one=one: record_change(version, one, actor=mali) for one in operations))
    assert not any(isinstance(one, Exception) for one in answers), answers
    draft = find_change_set(version, mali)
    assert sorted(Change.objects.filter(change_set=draft).values_list("number", flat=True)) == [1, 2, 3, 4]
    # A text that PostgreSQL stores nowhere is refused with a sentence, not with a broken page.
    with pytest.raises(CurationRefused, match="NUL"):
        record_change(version, {"op": "edit", "row": 2, "content": {"text": "a\0b"}}, actor=mali)
    accept_row(version, 2, actor=mali)
    add_comment(version, text="Looks right", row=2, actor=mali)
    made = apply_changes(draft, reason="first look", actor=mali)
    assert [row["text"] for row in open_rows(made)][:4] == ["มาตรา ๑", sections(2)[1]["text"], "5a", "5b"]
    assert replay_version(made) == made.sha256


def test_checks_are_kept_once_and_counted(law, tmp_path):
    project, person = law
    rows = [{"text": "โทร 081-234-5678 ครับ"}, {"text": "ไม่มีอะไรเลย"}, {"text": "ไม่มีอะไรเลย"}]
    version = take(project, rows, slug="talks", languages=["th"], actor=person("mali"))
    found = run_checks(version, list(CHECKS), actor=person("mali"), scratch=tmp_path / "s")
    again = run_checks(version, list(CHECKS), actor=person("mali"), scratch=tmp_path / "s2")
    assert [one.pk for one in again] == [one.pk for one in found]
    assert {one.check_name for one in found} == set(CHECKS)
    assert any(one.found_rows for one in found)


def test_a_source_is_withdrawn_with_all_that_came_of_it(law):
    project, person = law
    court = make_source(project)
    mixed = make_texts(project, [(make_source(project, "free"), 3), (court, 2), (None, 1)])
    reader = train_model(project, "reader", on=mixed)
    impact = find_impact_of_source(court)
    assert [one.version for one in impact.versions] == [mixed]
    assert reader in impact.models
    admin = person("admin", "admin")
    assert withdraw_row(mixed, 2, reason="A person asked", actor=admin).pk
    assert withdraw_source(court, reason="The court took it back", actor=admin).withdrawn


def test_an_errand_is_claimed_by_one_of_many(law, settings):
    settings.ERRAND_SLOTS = 50
    project, _ = law
    errand = Errand.objects.create(project=project, kind="checks", title="t", config={})
    claimed = [one for one in at_once(*[lambda: claim(errand.pk)] * 6) if one is not None]
    assert [(one.pk, one.fence) for one in claimed] == [(errand.pk, 1)]
    errand.delete()


def test_a_board_keeps_its_statistics_guards_a_name_and_freezes(law, tmp_path):
    project, person = law
    rows = BoardRows(project, tmp_path)
    task = rows.task("law-qa")
    for model, right in {"base": 220, "better": 300, "worse": 120}.items():
        rows.score(model, task, rate(right, 400 - right))
    update_board(rows.board, title="Suite", question="", baseline=rows.model("base"))
    described = describe_board(read_board(rows.board))
    kept = BoardStanding.objects.filter(task=task)
    assert kept.count() == 1
    pages = at_once(*[lambda: describe_board(read_board(rows.board))] * 3)
    assert pages == [described] * 3
    assert kept.count() == 1
    alias = create_alias(project=project, name="candidate", guard=rows.board, actor=person("mali"))
    move_alias(alias, rows.model("better"), actor=person("mali"))
    alias.refresh_from_db()
    assert alias.model == rows.model("better")
    frozen = at_once(*[lambda: freeze_board(rows.board, reason="For the report")] * 2)
    assert sorted(one.number for one in frozen) == [1, 2]
    assert frozen[0].sha256 == frozen[1].sha256


def test_results_of_others_are_imported_once(law):
    project, person = law
    board = create_board(project=project, slug="outside", title="Outside")
    data = files.lm_eval_samples([1.0] * 61 + [0.0] * 39)
    name = "samples_gsm8k_2026-01-02T03-04-05.678901.jsonl"
    mali = person("mali", "researcher")
    imported = at_once(*[lambda: import_results(board=board, name=name, data=data, model="here", actor=mali)] * 2)
    assert imported[0] == imported[1]
    assert Sample.objects.filter(evaluation__project=project).count() == 100
