"""Change on a board: over training, against a baseline on every task, and names that a gate guards."""

import re

import pytest
from django.urls import reverse

from chanote.accounts.services import create_token
from chanote.audit.models import AuditEvent
from chanote.boards.aliases import AliasKept, create_alias, move_alias
from chanote.boards.changes import check_suite, pair_evaluations, read_map
from chanote.boards.models import Alias
from chanote.boards.over_training import read_curve, word_curve
from chanote.boards.selectors import read_board
from chanote.boards.services import update_board
from chanote.boards.statistics.equivalence import Retention
from tests.board_rows import BoardRows, rate
from tests.run_rows import make_run

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
    return BoardRows(project, tmp_path)


@pytest.fixture
def browser(client_of, researcher):
    return client_of(researcher)


def text_of(answer):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.content.decode()))


def read(browser, name, *args, **query):
    answer = browser.get(reverse(f"boards:{name}", args=args), query)
    assert answer.status_code == 200, answer.content[:500]
    return text_of(answer)


@pytest.fixture
def trained(rows):
    """A run scored at three steps; it learns from the first to the second and no more."""
    task = rows.task("law-qa")
    run = make_run(rows.project, state="finished")
    for step, scores in ((0, rate(120, 280)), (50, rate(200, 200)), (100, rate(204, 196))):
        rows.score(f"step-{step}", task, scores, run=run, step=step)
    return task, run


def test_a_curve_says_how_often_was_looked_and_what_that_does_to_the_best(rows, trained):
    task, run = trained
    curve = read_curve(rows.board, task, run)
    assert [(point.step, point.estimate.mean) for point in curve.points] == [(0, 0.3), (50, 0.5), (100, 0.51)]
    assert (curve.looks, curve.best.step) == (3, 100)
    first, last = word_curve(curve)
    assert "Step 100 is better than step 0 by 21 points" in first
    assert "3 checkpoints were looked at on these items." in last
    # All checkpoints share most of their luck, so the best is flattered by less than SE · E[max of 3] = 2.5 · 0.85.
    assert 0 < curve.flattery < 0.025 * 0.8463
    # The band is wider than a single interval: it must hold three points at once.
    single = read_board(rows.board).tables[task.reference].entries[0].estimate
    wide = curve.points[-1].estimate
    assert wide.high - wide.low > (single.high - single.low) * 1.15


def test_later_points_are_corrected_together(rows, trained):
    task, run = trained
    second = read_curve(rows.board, task, run).points[1].against_first
    assert (second.family, second.verdict.value) == (2, "a_better")


def test_the_page_of_a_curve_draws_the_points_and_names_the_looks(browser, rows, trained):
    _, run = trained
    answer = browser.get(reverse("boards:curve", args=[rows.project.slug, "suite"]))
    text = text_of(answer)
    assert "Checkpoints looked at: 3" in text
    assert answer.content.count(b'<circle class="fill-s s1"') == 3
    assert "Step 100 is better than step 0" in text
    assert browser.get(answer.wsgi_request.path, {"run": "99"}).status_code == 404
    assert browser.get(answer.wsgi_request.path, {"task": "nothing@1"}).status_code == 404


def test_a_board_without_a_trained_series_has_no_curve(browser, rows):
    task = rows.task("law-qa")
    rows.score("alone", task, rate(3, 3))
    assert "No curve yet" in read(browser, "curve", rows.project.slug, "suite")
    assert "No curve yet" in read(browser, "curve", rows.project.slug, "suite", task=task.reference)


@pytest.fixture
def suite(rows):
    """Base and tuned on four tasks: kept, lost, undecided, better."""
    kept, lost, unsure, better = (rows.task(name) for name in ("kept", "lost", "unsure", "better"))
    for task, base, tuned in (
        (kept, rate(1400, 600), rate(1400, 600, turned=10)),
        (lost, rate(300, 200), rate(240, 260)),
        (unsure, rate(20, 20), rate(20, 20, turned=4)),
        (better, rate(200, 300), rate(300, 200)),
    ):
        rows.score("base", task, base)
        rows.score("tuned", task, tuned)
    update_board(rows.board, title="Suite", question="", baseline=rows.model("base"))
    return rows


def outcomes(rows):
    content = read_board(rows.board)
    return {
        one.task.slug: one for one in check_suite(pair_evaluations(content, "tuned", "base"), new="tuned", old="base")
    }


def test_forgetting_is_told_from_not_knowing(suite):
    found = outcomes(suite)
    assert {name: one.outcome for name, one in found.items()} == {
        "kept": Retention.KEPT,
        "lost": Retention.LOST,
        "unsure": Retention.UNDECIDED,
        "better": Retention.KEPT,
    }
    assert found["kept"].sentence.startswith(
        "tuned has kept kept@1: with 95 % it is less than 2 points worse than base"
    )
    assert found["lost"].sentence.startswith("tuned has lost 12 points on lost@1 against base")
    assert found["unsure"].sentence.startswith("Undecided on unsure@1: 40 items allow a loss down to \u2212")


def test_the_claims_on_a_suite_are_corrected_for_its_tasks(rows):
    task = rows.task("one")
    rows.score("base", task, rate(900, 600))
    rows.score("tuned", task, rate(878, 622))
    alone = outcomes(rows)["one"]
    for number in range(30):
        other = rows.task(f"other-{number}")
        rows.score("base", other, rate(20, 20))
        rows.score("tuned", other, rate(20, 20, turned=3))
    among = outcomes(rows)["one"]
    assert among.check.p_worse == pytest.approx(min(1, 31 * alone.check.p_worse))


def test_less_bits_per_byte_is_no_forgetting(rows):
    task = rows.task("ppl", output_type="loglikelihood_rolling", metric="perplexity")
    rows.score("base", task, [2.0 + n / 1000 for n in range(400)])
    rows.score("tuned", task, [1.5 + n / 1100 for n in range(400)])
    one = outcomes(rows)["ppl"]
    assert (one.outcome, one.check.delta > 0.4) == (Retention.KEPT, True)


def test_the_map_marks_what_changed_and_leaves_noise_plain(suite):
    found = read_map(read_board(suite.board))
    marked = {task.slug: cell for task, cell in zip(found.tasks, found.rows["tuned"], strict=True)}
    assert {name: cell.is_marked for name, cell in marked.items()} == {
        "kept": False,
        "lost": True,
        "unsure": False,
        "better": True,
    }
    assert (marked["lost"].is_better, marked["better"].is_better) == (False, True)
    assert marked["lost"].delta == "\u221212"
    assert found.cells == 4


def test_the_page_of_changes_shows_map_and_what_was_kept(browser, suite):
    text = read(browser, "changes", suite.project.slug, "suite", model="tuned")
    assert "What tuned kept and lost" in text
    assert "tuned has lost 12 points on lost@1 against base" in text
    assert "at most one in twenty is expected to be false" in text
    assert "One training run each" in text
    other = browser.get(reverse("boards:changes", args=[suite.project.slug, "suite"]), {"model": "nobody"})
    assert other.status_code == 404


def test_a_board_without_baseline_or_scores_says_what_to_do(browser, rows):
    assert "Nothing scored yet" in read(browser, "changes", rows.project.slug, "suite")
    rows.score("alone", rows.task("law-qa"), rate(3, 3))
    assert "Choose the model that the others are held against" in read(browser, "changes", rows.project.slug, "suite")


@pytest.fixture
def candidate(suite):
    return create_alias(project=suite.project, name="candidate", guard=suite.board)


def test_a_model_that_is_worse_on_the_guard_suite_does_not_become_candidate(suite, candidate):
    with pytest.raises(AliasKept, match="tuned has lost 12 points on lost@1 against base"):
        move_alias(candidate, suite.model("tuned"))
    candidate.refresh_from_db()
    assert candidate.model is None
    refusal = AuditEvent.objects.get(verb="alias.kept")
    assert refusal.detail["model"] == "tuned"
    assert "lost 12 points" in refusal.detail["reason"]


def test_a_model_that_is_not_surely_worse_becomes_candidate(suite, candidate, researcher):
    for task in suite.board.evaluations.values_list("task__slug", flat=True).distinct():
        scores = {"kept": rate(1395, 605), "lost": rate(300, 200, turned=5), "unsure": rate(19, 21)}
        suite.score("careful", suite.task(task), scores.get(task, rate(250, 250)))
    report = move_alias(candidate, suite.model("careful"), actor=researcher)
    candidate.refresh_from_db()
    assert (candidate.model.slug, report.against) == ("careful", "base")
    moved = AuditEvent.objects.get(verb="alias.moved")
    assert (moved.actor, moved.detail["before"], moved.detail["model"]) == (researcher, "", "careful")
    # From now on the candidate itself is the one to hold: base is not worse than it by much, tuned still is.
    with pytest.raises(AliasKept, match="against careful"):
        move_alias(candidate, suite.model("tuned"))


def test_a_model_without_a_score_on_the_suite_does_not_pass(suite, candidate):
    suite.score("half", suite.task("kept"), rate(1400, 600))
    with pytest.raises(AliasKept, match=r"half has no score on .*lost@1.*where base has one; evaluate it there first"):
        move_alias(candidate, suite.model("half"))


def test_an_unguarded_first_move_says_that_there_was_nothing_to_hold_it_against(rows):
    alias = create_alias(project=rows.project, name="candidate", guard=rows.board)
    assert move_alias(alias, rows.model("first")).against == ""
    with pytest.raises(AliasKept, match="nothing guards candidate"):
        move_alias(alias, rows.model("second"))


def test_people_move_a_name_on_its_page_and_read_why_it_stays(browser, suite, candidate):
    page = reverse("boards:alias", args=[suite.project.slug, "candidate"])
    refused = browser.post(page, {"model": "tuned"})
    assert refused.status_code == 422
    assert "candidate stays" in text_of(refused)
    assert "tuned has lost 12 points on lost@1" in text_of(refused)
    assert Alias.objects.get().model is None
    moved = browser.post(page, {"model": "base"})
    assert "candidate now points at base" in text_of(moved)
    assert "candidate" in read(browser, "aliases", suite.project.slug)


def test_a_name_is_made_once_and_by_those_who_may(browser, client_of, viewer, suite):
    page = reverse("boards:aliases", args=[suite.project.slug])
    assert browser.post(page, {"name": "production", "guard": suite.board.pk}).status_code == 302
    again = browser.post(page, {"name": "production", "guard": suite.board.pk})
    assert again.status_code == 422
    assert "already has an alias named production" in text_of(again)
    assert browser.post(page, {"name": "No Name", "guard": suite.board.pk}).status_code == 422
    assert client_of(viewer).post(page, {"name": "mine", "guard": suite.board.pk}).status_code == 403
    assert client_of(viewer).get(page).status_code == 200
    move = reverse("boards:alias", args=[suite.project.slug, "production"])
    assert client_of(viewer).post(move, {"model": "base"}).status_code == 403
    assert Alias.objects.count() == 1


@pytest.fixture
def api(client, researcher):
    _, token = create_token(researcher, name="t", scopes=["boards:read", "boards:write"], days=1)

    def ask(method, path, body=None, **query):
        call = getattr(client, method)
        address = f"/api/v1/projects/law/{path}"
        headers = {"Authorization": f"Bearer {token}"}
        if body is None:
            return call(address, query, headers=headers)
        return call(address, body, content_type="application/json", headers=headers)

    return ask


def test_change_over_rest(api, suite):
    found = api("get", "boards/suite/changes/", model="tuned").json()
    assert found["baseline"] == "base"
    assert {one["task"]: one["outcome"] for one in found["kept"]}["lost@1"] == "lost"
    assert len(found["map"]) == 4
    assert api("get", "boards/suite/changes/", model="nobody").status_code == 400
    assert api("post", "aliases/", {"name": "candidate", "guard": "suite"}).status_code == 201
    refused = api("patch", "aliases/candidate/", {"model": "tuned"})
    assert refused.status_code == 422
    assert "tuned has lost 12 points" in refused.content.decode()
    assert api("patch", "aliases/candidate/", {"model": "base"}).json()["model"] == "base"
    assert api("get", "aliases/").json()["results"][0]["guard"] == "suite"
    assert api("post", "aliases/", {"name": "x", "guard": "nothing"}).status_code == 422


def test_a_curve_over_rest(api, rows, trained):
    task, run = trained
    found = api("get", "boards/suite/curve/", task=task.reference, run=run.number).json()
    assert [point["step"] for point in found["points"]] == [0, 50, 100]
    assert (found["looks"], found["best_step"]) == (3, 100)
    assert api("get", "boards/suite/curve/", task="nothing@1", run=run.number).status_code == 404
