"""What a launch allowed is asked again when the run begins: whatever was taken back between refuses the start."""

import sys
import threading
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from chanote.accounts.models import Membership, User
from chanote.audit.models import AuditEvent
from chanote.curation.services import withdraw_version
from chanote.datasets.models import Use
from chanote.rights import withdrawal
from chanote.rights.exceptions import revoke_exception
from chanote.rights.rules import judge_version
from chanote.rights.withdrawal import withdraw_source
from chanote.runs import supervision
from chanote.runs.freezing import LaunchRefused
from chanote.runs.leases import claim
from chanote.runs.models import Attempt, Run, State
from chanote.runs.services import RunRefused, launch_run, resume_run, retry_run
from chanote.runs.supervision import Supervision
from tests.installation import Installation, launch_tiny, losses, make_people, newest
from tests.rights_rows import approve, make_source, make_texts
from tests.run_rows import save_checkpoint
from tests.trainer_runs import REPOSITORY

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def people(installation: Installation, settings) -> dict[str, Any]:
    settings.TRAINER_COMMAND = [sys.executable, str(REPOSITORY / "tests/scripted_trainer.py")]
    project, researcher = make_people()
    curator = User.objects.create(username="curator-of-law")
    Membership.objects.create(user=curator, project=project, role="curator")
    return {"project": project, "researcher": researcher, "curator": curator}


def refused_at_launch(run: Run) -> str:
    """What a person reads who launches the same now."""
    with pytest.raises(LaunchRefused) as refusal:
        launch_run(revision=run.revision, owner=run.owner)
    return str(refusal.value)


def watch(run: Run) -> None:
    """Stay with the attempt as its supervisor does, until the trainer has ended."""
    Supervision(newest(run).pk, claim(newest(run).pk)).watch()
    run.refresh_from_db()


def refuse(run: Run, fence: int) -> Run:
    """Let the attempt begin, which must end it; nothing of it may have been started."""
    assert Supervision(newest(run).pk, fence).enter() is None
    run.refresh_from_db()
    attempt = newest(run)
    assert (run.state, attempt.state, attempt.trainer_pid) == (State.FAILED, State.FAILED, None)
    assert run.fault == attempt.fault
    assert not (Path(attempt.directory) / "stdout.log").exists()
    assert AuditEvent.objects.filter(verb="run.failed", object_id=str(run.pk)).latest("at").detail["fault"] == run.fault
    return run


def test_a_source_withdrawn_after_the_claim_stops_the_start(people):
    court = make_source(people["project"])
    make_texts(people["project"], [(make_source(people["project"], "free"), 3), (court, 2)], slug="texts")
    run = launch_tiny(people["project"], people["researcher"])
    fence = claim(newest(run).pk)
    withdraw_source(court, reason="The owner objects.", actor=people["curator"])
    run = refuse(run, fence)
    assert run.fault.startswith("rows 4 to 5 of texts@1 must not be trained on: the source court was withdrawn on ")
    assert run.fault in refused_at_launch(run)
    with pytest.raises(RunRefused, match="cannot go on: rows 4 to 5 of texts@1 must not be trained on"):
        retry_run(run, actor=people["researcher"])


def test_a_version_withdrawn_by_its_reviewers_after_the_claim_stops_the_start(people):
    version = make_texts(people["project"], [(make_source(people["project"]), 4)], slug="texts")
    run = launch_tiny(people["project"], people["researcher"])
    fence = claim(newest(run).pk)
    withdraw_version(version, reason="Wrong rows.", actor=people["curator"])
    run = refuse(run, fence)
    assert run.fault in refused_at_launch(run)


def test_terms_that_ran_out_in_the_queue_stop_the_start_until_they_are_longer(people):
    court = make_source(people["project"])
    version = make_texts(people["project"], [(court, 4)], slug="texts")
    run = launch_tiny(people["project"], people["researcher"])
    court.expires = date(2020, 1, 31)
    court.save()
    run = refuse(run, claim(newest(run).pk))
    assert run.fault.startswith("the consent for texts@1 ended on 2020-01-31")
    assert run.fault == judge_version(version, Use.TRAIN).refusals[0].message
    court.expires = None
    court.save()
    retry_run(run, actor=people["researcher"])
    watch(run)
    assert run.state == State.FINISHED


def test_a_revoked_exception_stops_start_and_resume_and_loses_nothing(people, tmp_path: Path):
    """A run that ended at step 3 goes on from there once somebody approves again."""
    version = make_texts(people["project"], [(make_source(people["project"], uses=["evaluate"]), 4)], slug="texts")
    given = {"asks": people["researcher"], "decides": people["curator"]}
    exception = approve(people["project"], version, Use.TRAIN, **given)
    run = launch_tiny(people["project"], people["researcher"])
    Attempt.objects.filter(run=run).update(state=State.STOPPED)
    Run.objects.filter(pk=run.pk).update(state=State.STOPPED)
    saved = tmp_path / "checkpoints/step-3"
    saved.mkdir(parents=True)
    save_checkpoint(run, 3, saved)
    resume_run(run, actor=people["researcher"])
    revoke_exception(exception, reason="The study ended.", actor=people["curator"])
    run = refuse(run, claim(newest(run).pk))
    assert "texts@1 is for evaluation only and must not be trained on" in run.fault
    assert run.fault in refused_at_launch(run)
    with pytest.raises(RunRefused, match="cannot go on: texts@1 is for evaluation only"):
        resume_run(run, actor=people["researcher"])
    approve(people["project"], version, Use.TRAIN, **given)
    attempt = resume_run(run, actor=people["researcher"])
    assert (attempt.number, attempt.resume_from.step) == (3, 3)
    watch(run)
    assert (run.state, run.fault) == (State.FINISHED, "")
    assert list(losses(run)) == [4, 5, 6]


def test_a_withdrawal_that_is_being_written_is_waited_for(people, monkeypatch):
    """It began before the start and ends after: the start sees it, whoever is quicker."""
    court = make_source(people["project"])
    make_texts(people["project"], [(court, 4)], slug="texts")
    run = launch_tiny(people["project"], people["researcher"])
    fence = claim(newest(run).pk)
    written, begins = threading.Event(), threading.Event()
    record, write_spec, own = withdrawal.record, supervision.write_spec, connections["default"]

    def record_and_wait(*given: Any, **facts: Any) -> Any:
        written.set()
        assert begins.wait(60)
        return record(*given, **facts)

    def withdraw() -> None:
        connections["default"] = type(own)({**own.settings_dict}, "default")
        try:
            withdraw_source(court, reason="The owner objects.", actor=people["curator"])
        finally:
            connections["default"].close()

    thread = threading.Thread(target=withdraw)

    def write_while_another_withdraws(attempt: Any) -> Path:
        directory = write_spec(attempt)
        thread.start()
        assert written.wait(60)
        begins.set()
        return directory

    monkeypatch.setattr(withdrawal, "record", record_and_wait)
    monkeypatch.setattr(supervision, "write_spec", write_while_another_withdraws)
    assert "the source court was withdrawn" in refuse(run, fence).fault
    thread.join()
