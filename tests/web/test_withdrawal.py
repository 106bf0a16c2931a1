"""Withdrawing a source or a row: what used it is found, nothing uses it any more, training goes on without it."""

import pytest
from django.core.exceptions import PermissionDenied

from chanote.accounts.services import create_token
from chanote.audit.models import AuditEvent
from chanote.audit.services import record
from chanote.boards.models import Board, Evaluation, Task
from chanote.cli import main
from chanote.datasets.making import make_version, read_sourced_rows
from chanote.datasets.models import DatasetVersion
from chanote.datasets.storage import open_rows
from chanote.errands.doing import do_here
from chanote.errands.models import Errand
from chanote.recipes.yaml_text import parse_yaml
from chanote.rights.exceptions import RightsRefused
from chanote.rights.impact import find_impact_of_row, find_impact_of_source
from chanote.rights.models import Source, WithdrawnRow
from chanote.rights.retraining import draft_without, start_retraining
from chanote.rights.rows import mark_row
from chanote.rights.withdrawal import withdraw_row, withdraw_source
from chanote.runs.freezing import LaunchRefused
from chanote.runs.services import launch_run
from tests.rights_rows import make_source, make_texts, train_model, write_text_recipe
from tests.run_rows import make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def court(project):
    return make_source(project)


@pytest.fixture
def mixed(project, court):
    return make_texts(project, [(make_source(project, "free"), 3), (court, 2), (None, 1)])


def test_the_impact_of_a_source_reaches_from_rows_to_boards(project, court, mixed, client_of, viewer):
    merged = make_version(
        project=project, slug="merged", kind="text", rows=read_sourced_rows(mixed, 2), drawn_from=[mixed],
        operation={"name": "merge"}, reason="", actor=None,
    )  # fmt: skip
    apart = make_version(
        project=project, slug="apart", kind="text", rows=read_sourced_rows(mixed, 0, 3), drawn_from=[mixed],
        operation={"name": "sample"}, reason="", actor=None,
    )  # fmt: skip
    model = train_model(project, "reader", on=merged)
    student = train_model(project, "student", teacher=model, number=2)
    child = train_model(project, "child", base=student, number=3)
    train_model(project, "free-reader", on=apart, number=4)
    task = Task.objects.create(project=project, slug="qa", definition={}, sha256="a" * 64, dataset_version=mixed)
    other = Task.objects.create(project=project, slug="other", definition={}, sha256="b" * 64, dataset_version=apart)
    board = Board.objects.create(project=project, slug="law", title="Law")
    for one, on in ((child, other), (model, task)):
        made = Evaluation.objects.create(
            project=project, task=on, model=one, settings_sha256="", harness="", samples_sha256="", samples_path="",
            count=1,
        )  # fmt: skip
        made.boards.add(board)
    record("model.exported", student, actor=viewer)

    impact = find_impact_of_source(court)
    assert [(hit.version.reference, hit.rows) for hit in impact.versions] == [
        ("merged@1", "rows 2 to 3"), ("mixed@1", "rows 4 to 5"),
    ]  # fmt: skip
    assert impact.made_from == [apart]
    assert {(hit.run.number, tuple(hit.how)) for hit in impact.runs} == {
        (1, ("trained",)), (2, ("taught",)), (3, ("started",)),
    }  # fmt: skip
    assert [one.slug for one in impact.models] == ["child", "reader", "student"]
    assert len(impact.checkpoints) == 3
    assert (impact.tasks, impact.boards) == ([task], [board])
    assert {one.model.slug for one in impact.evaluations} == {"child", "reader"}
    assert [event.verb for event in impact.exports] == ["model.exported"]
    page = client_of(viewer).get("/p/law/rights/sources/court/").content.decode()
    for words in (
        "merged@1",
        "rows 2 to 3",
        "child",
        "learned from a teacher that learned from them",
        "model.exported",
    ):
        assert words in page


def test_a_run_that_only_measured_made_no_model_of_them(project, court, mixed):
    make_run(
        project,
        snapshot={
            "recipe": {"stages": [{"kind": "sft", "data": [], "held_out": [{"dataset": "mixed@1"}]}]},
            "datasets": {"mixed@1": {"sha256": mixed.sha256, "rows": 6}},
            "tasks": {},
        },
    )
    impact = find_impact_of_source(court)
    assert [(hit.how, hit.learned) for hit in impact.runs] == [(["measured"], False)]
    assert impact.models == impact.checkpoints == []


def test_withdrawing_needs_a_reason_and_a_role_and_stays(project, court, mixed, viewer, researcher, curator, client_of):
    with pytest.raises(RightsRefused, match="Say why"):
        withdraw_source(court, reason=" ", actor=curator)
    with pytest.raises(PermissionDenied):
        withdraw_source(court, reason="So.", actor=viewer)
    client_of(curator).post("/p/law/rights/sources/court/withdraw/", {"reason": "The owner objects."})
    court.refresh_from_db()
    assert (court.withdrawal_reason, court.withdrawn_by) == ("The owner objects.", curator)
    assert AuditEvent.objects.get(verb="source.withdrawn").detail["used_by"]["versions"] == 1
    with pytest.raises(RightsRefused, match="withdrawn already; it stays so"):
        withdraw_source(court, reason="Again.", actor=curator)
    assert "Withdrawn by curator" in client_of(viewer).get("/p/law/rights/sources/court/").content.decode()
    page = client_of(viewer).get("/p/law/datasets/mixed/").content.decode()
    assert "the source court was withdrawn" in page
    assert 'href="/p/law/rights/rows/mixed/1/5/">What used it<span class="vh">: row 5</span>' in page


def test_training_again_without_it_makes_a_version_and_a_draft_that_names_it(
    project, court, mixed, researcher, curator, client_of
):
    revision = write_text_recipe(project, researcher, "mixed@1")
    run = launch_run(revision=revision, owner=researcher)
    withdraw_source(court, reason="The owner objects.", actor=curator)
    run.refresh_from_db()
    assert (run.state, run.fault) == (
        "cancelled",
        "The source court was withdrawn. Withdrawn by curator.",
    ), "it waited for them"
    page = client_of(researcher).get(f"/p/law/runs/{run.number}/").content.decode()
    assert "<strong>The run was cancelled.</strong> The source court was withdrawn." in page
    with pytest.raises(LaunchRefused, match="rows 4 to 5 of mixed@1 must not be trained on"):
        launch_run(revision=revision, owner=researcher)

    asked = [client_of(researcher).post("/p/law/rights/sources/court/retrain/", {"recipe": "reads"}) for _ in "12"]
    errand = Errand.objects.get()
    assert {answer["Location"] for answer in asked} == {f"/p/law/errands/{errand.pk}/"}, "asked twice, done once"
    assert do_here(errand).result["link"] == "/p/law/recipes/reads/"
    told = client_of(researcher).get(asked[0]["Location"]).content.decode()
    assert "Revision 2 is a draft. Look at it, then launch it." in told
    made = DatasetVersion.objects.get(dataset__slug="mixed", number=2)
    assert [row["text"][-10:] for row in open_rows(made)] == [
        row["text"][-10:] for place, row in enumerate(open_rows(mixed)) if place not in (3, 4)
    ]
    assert made.operation == {"name": "without", "of": "mixed@1", "sources": ["court"], "rows": []}
    assert (made.reason, list(made.drawn_from.all())) == ("mixed@1 without source court", [mixed])
    draft = revision.recipe.revisions.first()
    assert (draft.number, draft.message) == (2, "Draft without withdrawn rows: mixed@1 by mixed@2")
    assert parse_yaml(draft.yaml).data["stages"][0]["data"] == [{"dataset": "mixed@2"}]
    assert "# Kept: why this recipe is" in draft.yaml
    assert "# kept too" in draft.yaml
    assert launch_run(revision=draft, owner=researcher).snapshot["datasets"].keys() == {"mixed@2"}
    with pytest.raises(RightsRefused, match="No dataset that reads names holds such rows"):
        draft_without(revision.recipe, actor=researcher)
    again = do_here(start_retraining(revision.recipe, actor=researcher))
    assert (again.state, again.fault) == ("failed", "No dataset that reads names holds such rows; launch it as it is.")


def test_a_killed_draft_goes_on_with_what_it_has_made_and_drafts_once(project, court, mixed, researcher, monkeypatch):
    recipe = write_text_recipe(project, researcher, "mixed@1").recipe
    errand = start_retraining(recipe, sources=[court], actor=researcher)

    def die(**given):
        raise SystemExit("killed")

    with monkeypatch.context() as killed:
        killed.setattr("chanote.rights.retraining.save_revision", die)
        with pytest.raises(SystemExit):
            do_here(errand)
    for killed_after_the_draft in (False, True):
        Errand.objects.filter(pk=errand.pk).update(state="queued", lease_until=None)
        ended = do_here(errand)
        assert (ended.state, ended.result["revision"]) == ("finished", 2), killed_after_the_draft
    assert (recipe.revisions.count(), mixed.dataset.versions.count()) == (2, 2)


def test_what_would_leave_nothing_is_told(project, court, researcher, curator):
    make_texts(project, [(court, 2)])
    revision = write_text_recipe(project, researcher)
    withdraw_source(court, reason="So.", actor=curator)
    with pytest.raises(RightsRefused, match="Nothing of mixed@1 is left without source court"):
        draft_without(revision.recipe, actor=researcher)
    assert revision.recipe.revisions.count() == 1


class TestRows:
    def test_a_row_is_found_wherever_it_stands_under_whatever_number(self, project, mixed):
        copy = make_version(
            project=project, slug="copy", kind="text", rows=list(read_sourced_rows(mixed))[::-1], drawn_from=[mixed],
            operation={"name": "turn"}, reason="", actor=None,
        )  # fmt: skip
        assert copy.rows == 6
        impact = find_impact_of_row(project, mark_row(mixed, 5))
        assert [(hit.version.reference, hit.rows) for hit in impact.versions] == [
            ("copy@1", "row 2"), ("mixed@1", "row 5"),
        ]  # fmt: skip

    def test_training_again_leaves_out_the_row_and_keeps_the_rest(self, project, mixed, researcher, curator, client_of):
        revision = write_text_recipe(project, researcher)
        page = "/p/law/rights/rows/mixed/1/5/"
        assert "Withdraw the row" in client_of(curator).get(page).content.decode()
        assert client_of(curator).post(page, {"reason": "A name is in it."})["Location"] == page
        assert WithdrawnRow.objects.get().number == 5
        assert "section 5" not in str(WithdrawnRow.objects.values()), "its text is not kept"
        with pytest.raises(LaunchRefused, match="row 5 of mixed@1 was withdrawn"):
            launch_run(revision=revision, owner=researcher)
        client_of(researcher).post(page, {"recipe": "reads"})
        do_here(Errand.objects.get())
        made = DatasetVersion.objects.get(dataset__slug="mixed", number=2)
        assert (made.rows, made.operation["rows"]) == (5, [5])
        assert launch_run(revision=revision.recipe.revisions.first(), owner=researcher)

    def test_a_row_that_is_none_is_told(self, mixed, curator, client_of):
        with pytest.raises(RightsRefused, match="has rows 1 to 6; 7 is none"):
            withdraw_row(mixed, 7, reason="So.", actor=curator)
        assert client_of(curator).get("/p/law/rights/rows/mixed/1/7/").status_code == 404
        withdraw_row(mixed, 2, reason="So.", actor=curator)
        with pytest.raises(RightsRefused, match="withdrawn already, as row 2 of mixed@1"):
            withdraw_row(mixed, 2, reason="So.", actor=curator)


def test_rest_and_the_command_line_do_the_same(project, court, mixed, researcher, curator, client_of, capsys):
    write_text_recipe(project, researcher)
    _, token = create_token(curator, "t", ["rights:read", "rights:write"], 1)
    base, headers = "/api/v1/projects/law/", {"Authorization": f"Bearer {token}"}
    client = client_of(curator)
    found = client.get(f"{base}sources/court/impact/", headers=headers).json()
    assert found["versions"] == [{"version": "mixed@1", "rows": "rows 4 to 5"}]
    row = client.get(f"{base}datasets/mixed/versions/1/rows/5/impact/", headers=headers).json()
    assert row["versions"] == [{"version": "mixed@1", "rows": "row 5"}]
    body = {"reason": "Over."}
    answer = client.post(f"{base}sources/court/withdraw/", body, "application/json", headers=headers)
    assert (answer.status_code, answer.json()["withdrawal_reason"]) == (200, "Over.")
    assert client.post(f"{base}sources/court/withdraw/", body, "application/json", headers=headers).status_code == 409
    common = ["--project", "law", "--as"]
    assert main(["rights", "check", "mixed@1", "train", *common, "curator"]) == 4
    assert "rows 4 to 5 of mixed@1 must not be trained on" in capsys.readouterr().err
    assert main(["rights", "withdraw", "mixed@1#1", "--reason", "Named.", *common, "curator"]) == 0
    assert main(["rights", "impact", "court", "--json", *common, "curator"]) == 0
    assert main(["rights", "retrain", "reads", *common, "researcher"]) == 0
    assert "mixed@2" in capsys.readouterr().out
    assert DatasetVersion.objects.get(dataset__slug="mixed", number=2).rows == 3


def test_the_list_of_sources_costs_the_same_however_many(project, viewer, client_of, django_assert_max_num_queries):
    for number in range(12):
        make_texts(project, [(make_source(project, f"source-{number}"), 1)], slug=f"texts-{number}")
    client = client_of(viewer)
    client.get("/p/law/rights/")
    with django_assert_max_num_queries(16):
        page = client.get("/p/law/rights/").content.decode()
    assert page.count("</tr>") == 13
    assert Source.objects.count() == 12
