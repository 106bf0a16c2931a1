"""An errand whose process the kernel ends: another takes it over, and what comes of it is the same."""

import itertools
import signal
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from chanote.accounts.models import Membership, Project, User
from chanote.audit.models import AuditEvent
from chanote.checks.models import CheckResult
from chanote.checks.running import run_checks
from chanote.checks.services import start_checks
from chanote.datasets.making import make_version
from chanote.datasets.shared.gsm8k import read_problems
from chanote.errands import launching
from chanote.errands.leases import claim
from chanote.errands.models import Errand
from tests.installation import Installation

pytestmark = [pytest.mark.shared_data, pytest.mark.timeout(300)]
CHECKS = ["schema", "languages", "personal"]
FACTS = ("check_name", "check_version", "rows", "found_rows", "counts", "samples", "findings_sha256", "detail_sha256")


def list_facts(results: Any) -> list[tuple[Any, ...]]:
    return sorted(tuple(str(getattr(one, name)) for name in FACTS) for one in results)


def list_files(folder: Path) -> set[str]:
    return {str(one) for one in folder.rglob("*") if one.is_file()}


def test_a_check_of_real_rows_survives_sigkill(installation: Installation, shared_data, tmp_path, monkeypatch):
    parts = Path(settings.HOME) / "checks/parts"
    before = list_files(parts)
    project = Project.objects.create(slug="law", name="Law assistant")
    curator = User.objects.create(username="curator")
    Membership.objects.create(user=curator, project=project, role="curator")
    problems = list(itertools.islice(read_problems(shared_data / "gsm8k", "train"), 2900))
    version = make_version(
        project=project, slug="gsm8k", kind="prompts", rows=((row, None) for row in problems), drawn_from=[],
        operation={"name": "import"}, reason="", uses=["train"], actor=curator,
    )  # fmt: skip
    errand = start_checks(version, CHECKS, actor=curator)
    claimed = claim(errand.pk)
    assert claimed is not None
    launching.start_process(claimed)
    first = launching.PROCESSES[-1]
    installation.wait_for(lambda: list_files(parts) - before, seconds=120, what="no block was read")
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL, "it had not ended by itself"
    errand.refresh_from_db()
    assert errand.is_active
    Errand.objects.filter(pk=errand.pk).update(lease_until="2020-01-01T00:00:00Z")
    launching.take_over_silent()
    installation.wait_for(lambda: not Errand.objects.get(pk=errand.pk).is_active, seconds=200, what="it never ended")
    launching.PROCESSES[-1].wait()
    errand.refresh_from_db()
    log = (errand.directory / "errand.log").read_text()
    assert (errand.state, errand.fault, errand.fence) == ("finished", "", 2), log
    survived = list_facts(CheckResult.objects.filter(version=version))
    assert len(survived) == len(CHECKS)
    assert AuditEvent.objects.filter(verb="dataset.checked").count() == len(CHECKS), "each result is told once"

    CheckResult.objects.all().delete()
    # Where no part is known, all of it is done in one go.
    monkeypatch.setattr(settings, "HOME", tmp_path / "elsewhere")
    for name in ("elsewhere", "scratch"):
        (tmp_path / name).mkdir()
    whole = run_checks(version, CHECKS, actor=curator, scratch=tmp_path / "scratch", processes=1)
    assert survived == list_facts(whole)
    assert errand.result["found_rows"] == {one.check_name: one.found_rows for one in whole}
