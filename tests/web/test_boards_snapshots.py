"""Frozen boards: later scores change nothing in them, and what is carried away can be checked by its hash."""

import csv
import hashlib
import io
import json
import re

import pytest
from django.urls import reverse

from chanote.accounts.services import create_token
from chanote.audit.models import AuditEvent
from chanote.boards.aliases import create_alias
from chanote.boards.models import Snapshot
from chanote.boards.services import BoardError
from chanote.boards.snapshots import escape_latex, freeze_board
from chanote.cli import main
from chanote.commands.answers import REFUSED
from tests.board_rows import BoardRows, rate

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def plain_static(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture
def rows(project, tmp_path):
    found = BoardRows(project, tmp_path)
    task = found.task("law-qa")
    found.score("trained", task, rate(300, 100))
    found.score("base_model", task, rate(220, 180))
    return found


@pytest.fixture
def browser(client_of, researcher):
    return client_of(researcher)


def text_of(answer):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.content.decode()))


def address(name, *rest):
    return reverse(f"boards:{name}", args=["law", "suite", *rest])


def test_later_scores_change_the_board_but_not_its_snapshot(rows, researcher):
    first = freeze_board(rows.board, reason="For the report", actor=researcher)
    rows.score("third", rows.task("law-qa"), rate(390, 10))
    second = freeze_board(rows.board)
    first.refresh_from_db()
    assert (first.number, second.number) == (1, 2)
    assert [one["model"] for one in first.content["tables"][0]["models"]] == ["trained", "base_model"]
    assert [one["model"] for one in second.content["tables"][0]["models"]] == ["third", "trained", "base_model"]
    assert first.sha256 != second.sha256
    event = AuditEvent.objects.filter(verb="board.frozen").order_by("pk").first()
    assert (event.actor, event.detail) == (researcher, {"sha256": first.sha256, "reason": "For the report"})


def test_the_same_board_freezes_to_the_same_hash(rows):
    assert freeze_board(rows.board).sha256 == freeze_board(rows.board).sha256


def test_nothing_scored_is_nothing_to_freeze(project, tmp_path, browser):
    empty = BoardRows(project, tmp_path)
    with pytest.raises(BoardError, match="holds no score yet"):
        freeze_board(empty.board)
    answer = browser.post(address("snapshots"), {"reason": ""})
    assert answer.status_code == 422
    assert "there is nothing to freeze" in text_of(answer)


def test_the_json_has_the_hash_that_is_cited(browser, rows):
    made = browser.post(address("snapshots"), {"reason": "For the report"})
    assert made.status_code == 302
    page = text_of(browser.get(made["Location"]))
    body = browser.get(address("snapshot_export", 1, "json")).content
    sha256 = hashlib.sha256(body).hexdigest()
    assert f"snapshot 1, {Snapshot.objects.get().created:%Y-%m-%d}" in page
    assert f"sha-256 {sha256}" in page
    assert json.loads(body)["tables"][0]["comparisons"][0]["verdict"] == "a_better"
    assert "For the report" in text_of(browser.get(address("snapshots")))


def test_the_csv_is_unrounded_and_names_the_hash(browser, rows):
    made = freeze_board(rows.board)
    found = list(csv.DictReader(io.StringIO(browser.get(address("snapshot_export", 1, "csv")).content.decode())))
    assert [(one["model"], float(one["estimate"]), one["rank_best"]) for one in found] == [
        ("trained", 0.75, "1"),
        ("base_model", 0.55, "2"),
    ]
    assert {one["snapshot_sha256"] for one in found} == {made.sha256}


def test_the_latex_is_rounded_escaped_and_bold_only_for_a_sure_winner(browser, rows):
    freeze_board(rows.board)
    text = browser.get(address("snapshot_export", 1, "tex")).content.decode()
    assert r"trained & \textbf{75} & 71--79 & 1 & a \\" in text
    assert r"base\_model & 55 & 50--60 & 2 & b \\" in text
    assert r"95~\% interval" in text
    assert r"One training run each" in text
    assert all(ord(character) < 128 or character in "\u201c\u201d" for character in text)
    assert escape_latex("50 % of a_b & \\x") == r"50 \% of a\_b \& \textbackslash{}x"


def test_an_unknown_form_or_number_is_not_found(browser, rows):
    freeze_board(rows.board)
    assert browser.get(address("snapshot_export", 1, "exe")).status_code == 404
    assert browser.get(address("snapshot", 9)).status_code == 404


def test_a_viewer_reads_snapshots_and_makes_none(client_of, viewer, rows):
    freeze_board(rows.board)
    reader = client_of(viewer)
    assert reader.get(address("snapshot", 1)).status_code == 200
    assert reader.post(address("snapshots"), {"reason": ""}).status_code == 403
    assert "Freeze the board as it stands" not in text_of(reader.get(address("snapshots")))


def test_snapshots_over_rest(client, researcher, rows):
    _, token = create_token(researcher, name="t", scopes=["boards:read", "boards:write"], days=1)
    headers = {"Authorization": f"Bearer {token}"}
    base = "/api/v1/projects/law/boards/suite/snapshots/"
    made = client.post(base, {"reason": "Paper"}, content_type="application/json", headers=headers)
    assert made.status_code == 201
    found = client.get(made["Location"], headers=headers).json()
    canonical = json.dumps(found["content"], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(canonical.encode()).hexdigest() == found["sha256"]
    assert [one["number"] for one in client.get(base, headers=headers).json()["results"]] == [1]


def test_freezing_and_pointing_on_the_command_line(rows, researcher, capsys):
    words = ["--project", "law", "--as", "researcher", "--json"]
    assert main(["board", "freeze", "suite", "--reason", "Paper", *words]) == 0
    assert json.loads(capsys.readouterr().out)["snapshot"] == 1
    create_alias(project=rows.project, name="candidate", guard=rows.board)
    assert main(["board", "point", "candidate", "trained", *words]) == 0
    capsys.readouterr()
    assert main(["board", "point", "candidate", "base_model", *words]) == REFUSED
    assert "base_model has lost 20 points on law-qa@1 against trained" in json.loads(capsys.readouterr().out)["error"]
