"""The table of runs and the pages of one run as a person sees them."""

import csv
import gzip
import io
import json
import re

import pytest
from django.core.management import call_command

from chanote.accounts.models import Project
from chanote.audit.models import AuditEvent
from chanote.runs.changes import describe_state
from chanote.runs.log_text import clean_text, read_on, read_tail
from chanote.runs.models import Attempt, Run, State
from chanote.runs.pages import guess_language, read_figures
from tests.run_rows import add_attempt, log_values, make_run, save_checkpoint, tell

pytestmark = pytest.mark.django_db
TABS = ("", "charts/", "logs/", "config/", "checkpoints/", "samples/")


@pytest.fixture
def run(project, researcher):
    made = make_run(project, step=20, owner=researcher, name="law-4b")
    log_values(made, {"train/loss": [3.0 - step / 10 for step in range(20)], "system/seconds_per_step": [0.5] * 20})
    return made


def names_in_order(page: str) -> list[str]:
    return re.findall(r'class="name" id="name-\d+"[^>]*>([^<]+)<', page)


def test_the_table_of_runs_costs_the_same_queries_for_one_run_and_for_a_full_page(
    project, researcher, client_of, django_assert_max_num_queries
):
    client = client_of(researcher)
    make_run(project, number=1, state="finished", step=100)
    client.get("/p/law/runs/")
    with django_assert_max_num_queries(12) as few:
        client.get("/p/law/runs/")
    for number in range(2, 60):
        made = make_run(project, number=number, state="finished", step=100)
        log_values(made, {"train/loss": [1.0]})
    with django_assert_max_num_queries(12) as many:
        page = client.get("/p/law/runs/").content.decode()
    assert len(many) == len(few)
    assert len(names_in_order(page)) == 50
    assert "Page 1 of 2" in page


def test_the_facts_say_how_much_of_the_last_step_the_machine_was_idle(run, researcher, client_of):
    client = client_of(researcher)
    before = client.get("/p/law/runs/1/").content.decode()
    assert "% idle" not in before  # a trainer that does not tell it is not idle for no time at all
    log_values(run, {"system/idle_share": [0.1, 0.375]})
    page = client.get("/p/law/runs/1/").content.decode()
    assert '<span data-live="idle">38</span> % idle</small>' in page
    state = describe_state(run, read_figures(run, run.attempts.all(), run.series.all()))
    assert state["texts"]["idle"] == "38"
    charts = client.get("/p/law/runs/1/charts/").content.decode()
    assert "Idle device" in charts


def test_words_and_state_narrow_the_table_and_stand_in_the_address(project, researcher, client_of):
    client = client_of(researcher)
    make_run(project, number=1, state="failed", name="thai-law")
    make_run(project, number=2, state="finished", name="thai-law-again")
    make_run(project, number=3, state="failed", name="german-law")
    assert names_in_order(client.get("/p/law/runs/?q=thai&state=failed").content.decode()) == ["thai-law"]
    assert names_in_order(client.get("/p/law/runs/?q=%233").content.decode()) == ["german-law"]
    assert "No run matches" in client.get("/p/law/runs/?q=nothing").content.decode()


def test_runs_sort_by_their_latest_loss_with_those_without_one_last(project, researcher, client_of):
    for number, loss in ((1, 2.0), (2, 1.0), (3, None), (4, 3.0)):
        made = make_run(project, number=number, state="finished")
        if loss is not None:
            log_values(made, {"train/loss": [9.0, loss]})
    client = client_of(researcher)
    assert names_in_order(client.get("/p/law/runs/?sort=loss").content.decode()) == ["law-2", "law-1", "law-4", "law-3"]
    page = client.get("/p/law/runs/?sort=-loss").content.decode()
    assert names_in_order(page) == ["law-4", "law-1", "law-2", "law-3"]
    assert 'aria-sort="descending"' in page


def test_only_a_page_with_an_active_run_refreshes_itself(project, researcher, client_of, run):
    client = client_of(researcher)
    assert 'hx-trigger="every 5s"' in client.get("/p/law/runs/").content.decode()
    Run.objects.filter(pk=run.pk).update(state=State.FINISHED)
    assert 'hx-trigger="every 5s"' not in client.get("/p/law/runs/").content.decode()


def test_a_refresh_brings_the_rows_alone(researcher, client_of, run):
    page = client_of(researcher).get("/p/law/runs/", headers={"HX-Request": "true"}).content.decode()
    assert page.lstrip().startswith("<tbody")
    assert "20 %" in page


def test_an_empty_project_says_what_to_do_first(project, researcher, client_of):
    page = client_of(researcher).get("/p/law/runs/").content.decode()
    assert "Nothing has run here yet" in page
    assert "/p/law/recipes/" in page


def test_the_exported_table_holds_every_filtered_run_unrounded_and_no_formula(project, researcher, client_of):
    made = make_run(project, number=1, state="finished", step=100, name="=cmd()", owner=researcher)
    log_values(made, {"train/loss": [1.23456789]})
    make_run(project, number=2, state="failed")
    client = client_of(researcher)
    rows = list(csv.DictReader(io.StringIO(client.get("/p/law/runs/table.csv?state=finished").content.decode())))
    assert [row["number"] for row in rows] == ["1"]
    assert rows[0]["name"] == "'=cmd()"
    assert rows[0]["loss"] == "1.23456789"
    assert rows[0]["datasets"] == "laws@3 questions@1"
    answer = json.loads(client.get("/p/law/runs/table.json").content)
    assert [(row["number"], row["method"]) for row in answer] == [(2, "cpt → sft"), (1, "cpt → sft")]


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_opens_in_every_state_and_without_any_data(project, researcher, client_of, tab):
    client = client_of(researcher)
    for number, state in enumerate(State.values, start=1):
        make_run(project, number=number, state=state, snapshot={}, total_steps=0)
        assert client.get(f"/p/law/runs/{number}/{tab}").status_code == 200


@pytest.mark.parametrize("tab", [*TABS, "curves/", "live/now/", "logs/text/", "config.yaml", "cancel/"])
def test_a_stranger_learns_nothing_of_a_run(run, stranger, client_of, tab):
    assert client_of(stranger).get(f"/p/law/runs/1/{tab}").status_code == 404


def test_a_run_is_not_found_through_another_project_of_the_same_person(run, researcher, client_of):
    from chanote.accounts.models import Membership

    other = Project.objects.create(slug="other", name="Other")
    Membership.objects.create(user=researcher, project=other, role="admin")
    assert client_of(researcher).get("/p/other/runs/1/").status_code == 404


def test_no_page_of_a_run_has_inline_script_or_style(run, researcher, client_of):
    client = client_of(researcher)
    for tab in TABS:
        page = client.get(f"/p/law/runs/1/{tab}").content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)", page)
        assert not re.search(r"\sstyle=|\son\w+=", page)


def test_the_head_shows_progress_and_the_time_left_at_the_latest_speed(run, researcher, client_of):
    page = client_of(researcher).get("/p/law/runs/1/").content.decode()
    assert '<span data-live="step">20</span> <small>of 100</small>' in page
    assert '<span data-live="left">40 s</span>' in page  # 80 steps of half a second
    assert '<span data-live="loss" id="live-loss">1.1000</span>' in page


def test_the_stage_strip_tells_done_running_and_planned(run, researcher, client_of):
    tell(run, "stage_started", stage=0, kind="cpt", name="read-laws", first_step=1, steps=50, notes={})
    tell(run, "stage_finished", stage=0, step=50)
    tell(run, "stage_started", stage=1, kind="sft", name="answer", first_step=51, steps=50, notes={})
    tell(run, "phase_progressed", stage=1, phase="tokenising", done=1200, total=5000)
    page = client_of(researcher).get("/p/law/runs/1/").content.decode()
    strip = page[page.index('<ol class="stages">') :].partition("</ol>")[0]
    text = " ".join(re.sub(r"<[^>]+>", " ", strip).split())
    assert "read-laws cpt Finished from step 1, 50 steps" in text
    assert "answer sft Running from step 51, 50 steps, tokenising 1,200 of 5,000" in text
    assert text.endswith("evaluate Planned no steps")


def test_charts_mark_borders_of_stages_checkpoints_and_later_attempts(run, researcher, client_of):
    tell(run, "stage_started", stage=1, kind="sft", name="answer", first_step=11, steps=50, notes={})
    tell(run, "checkpoint_saved", stage=0, step=10, path="x", sha256="c" * 64, bytes=1, stage_finished=True)
    Attempt.objects.filter(run=run).update(state="failed")
    add_attempt(run, number=2)
    tell(
        run,
        "attempt_started",
        pid=1,
        hostname="h",
        device="cpu",
        threads=1,
        packages={},
        hardware={},
        resumed_from_step=10,
    )
    page = client_of(researcher).get("/p/law/runs/1/charts/").content.decode()
    marks = json.loads(re.search(r'data-marks="([^"]*)"', page)[1].replace("&quot;", '"'))
    assert [(mark["step"], mark["kind"], mark["label"]) for mark in marks] == [
        (10, "checkpoint", ""),
        (10, "attempt", "attempt 2"),
        (11, "stage", "answer"),
    ]


def test_charts_can_be_read_without_script(run, researcher, client_of):
    page = client_of(researcher).get("/p/law/runs/1/charts/").content.decode()
    assert page.count('<svg class="chart"') == 2
    assert 'aria-label="Loss by optimiser step; the numbers stand below"' in page
    # The axis runs to the planned last step 100, so step 20 of the curve ends at a fifth of its width.
    path = re.search(r'<path class="ln-s s1" d="(M[^"]+)"', page)[1]
    last_x = float(path.split("L")[-1].split()[0])
    assert last_x == pytest.approx(44 + (488 - 44) * 0.2, abs=0.1)


def test_a_curve_of_values_that_are_not_finite_says_so(project, researcher, client_of):
    made = make_run(
        project, state="failed", step=2, fault="The loss became infinite at step 2; lower the learning rate."
    )
    log_values(made, {"train/loss": [float("nan"), float("inf")]})
    page = client_of(researcher).get("/p/law/runs/1/").content.decode()
    assert "no finite value yet" in page
    assert "The latest value of loss, at step 2, is not a finite number." in page
    assert "The loss became infinite at step 2; lower the learning rate." in page


def test_curves_keep_extremes_and_answer_unchanged_with_304(run, researcher, client_of):
    log_values(run, {"train/spiky": [0.0] * 5000 + [99.0] + [0.0] * 4999})
    client = client_of(researcher)
    answer = client.get("/p/law/runs/1/curves/?keys=train/spiky&points=100", headers={"Accept-Encoding": "gzip"})
    curve = json.loads(gzip.decompress(answer.content))["curves"]["train/spiky"]
    assert len(curve["steps"]) <= 100
    assert max(curve["high"]) == 99.0
    assert curve["count"] == 10_000
    again = client.get(
        "/p/law/runs/1/curves/?keys=train/spiky&points=100",
        headers={"Accept-Encoding": "gzip", "If-None-Match": answer["ETag"]},
    )
    assert again.status_code == 304
    since = client.get("/p/law/runs/1/curves/?keys=train/loss&since=18").json()["curves"]["train/loss"]
    assert since["steps"] == [18, 19, 20]


@pytest.mark.parametrize(
    ("state", "closed"),
    [
        ("queued", {"stop", "resume", "retry"}),
        ("running", {"resume", "retry"}),
        ("stopping", {"stop", "resume", "retry"}),
        ("finished", {"stop", "cancel", "resume", "retry"}),
        ("failed", {"stop", "cancel", "resume"}),
        ("cancelled", {"stop", "cancel", "resume"}),
    ],
)
def test_a_button_that_the_state_forbids_is_closed_and_says_why(project, researcher, client_of, state, closed):
    make_run(project, state=state)
    page = client_of(researcher).get("/p/law/runs/1/").content.decode()
    found = re.findall(r'<button[^>]*aria-disabled="true" title="([^"]+)" data-verb="(\w+)"', page)
    assert {verb for _, verb in found} == closed
    assert all(reason.endswith((".", "!")) for reason, _ in found)


def test_a_viewer_sees_every_button_closed_and_may_not_post(run, viewer, client_of):
    client = client_of(viewer)
    page = client.get("/p/law/runs/1/").content.decode()
    assert page.count("Your role in this project does not allow it") == 8  # title and spoken text of four buttons
    assert client.post("/p/law/runs/1/cancel/", {"reason": "x"}).status_code == 403
    run.refresh_from_db()
    assert run.state == State.RUNNING


def test_cancelling_asks_first_and_records_the_reason(project, researcher, client_of):
    made = make_run(project, state="queued")
    client = client_of(researcher)
    assert "Cancel law-1?" in client.get("/p/law/runs/1/cancel/").content.decode()
    page = client.post("/p/law/runs/1/cancel/", {"reason": "wrong data"}, follow=True).content.decode()
    made.refresh_from_db()
    assert made.state == State.CANCELLED
    assert AuditEvent.objects.get(object_id=str(made.pk)).detail["reason"] == "wrong data"
    assert "reason: wrong data" in page


def test_a_refused_action_says_why_on_the_page(project, researcher, client_of):
    make_run(project, state="finished")
    page = client_of(researcher).post("/p/law/runs/1/stop/", follow=True).content.decode()
    assert "law-1 has ended (finished) and cannot be stopped." in page


def test_resuming_from_a_chosen_checkpoint_queues_an_attempt_from_there(project, researcher, client_of, tmp_path):
    made = make_run(project, state="stopped", step=40)
    early, _late = save_checkpoint(made, 20, tmp_path), save_checkpoint(made, 40, tmp_path)
    client = client_of(researcher)
    assert client.get("/p/law/runs/1/checkpoints/").content.decode().count("Resume from here</button>") == 2
    client.post("/p/law/runs/1/resume/", {"checkpoint": early.pk})
    attempt = made.attempts.get(number=2)
    assert attempt.resume_from == early
    assert attempt.state == State.QUEUED


def test_a_checkpoint_of_another_run_is_not_found(project, researcher, client_of, tmp_path):
    make_run(project, number=1, state="stopped")
    other = save_checkpoint(make_run(project, number=2, state="stopped"), 5, tmp_path)
    assert client_of(researcher).post("/p/law/runs/1/resume/", {"checkpoint": other.pk}).status_code == 404


def test_an_action_does_not_send_the_browser_to_another_site(project, researcher, client_of):
    make_run(project, state="finished")
    answer = client_of(researcher).post("/p/law/runs/1/stop/", {"next": "https://evil.example/"})
    assert answer["Location"] == "/p/law/runs/1/"


def test_samples_grey_out_masked_tokens_and_name_the_language(run, researcher, client_of):
    row = [{"text": "<b>ถาม", "trained": False}, {"text": "ตอบ", "trained": True}]
    tell(run, "batch_seen", stage=1, step=51, rows=[row])
    page = client_of(researcher).get("/p/law/runs/1/samples/").content.decode()
    assert '<span class="is-masked"><span class="tok">&lt;b&gt;ถาม</span></span>' in page
    assert '<span class="is-trained"><span class="tok">ตอบ</span></span>' in page
    assert 'class="card-body tokens" lang="th"' in page
    assert "2 tokens, 1 trained" in page


@pytest.mark.parametrize(("text", "language"), [("มาตรา 5", "th"), ("제5조", "ko"), ("Section 5", ""), ("123", "")])
def test_the_language_of_a_row_is_guessed_by_its_letters(text, language):
    assert guess_language(text) == language


def test_the_config_page_shows_the_frozen_spec_as_yaml(run, researcher, client_of):
    client = client_of(researcher)
    assert "learning_rate: 0.0001" in client.get("/p/law/runs/1/config/").content.decode()
    assert b"base: base-model" in client.get("/p/law/runs/1/config.yaml").content


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[32mINFO\x1b[0m ok", "INFO ok"),
        ("\x1b]0;title\x07done", "done"),
        ("step 1\rstep 2\rstep 3\nend", "step 3\nend"),
        ("line\r\nnext", "line\nnext"),
        ("bell\x07 nul\x00", "bell nul"),
        ("มาตรา\tหนึ่ง", "มาตรา\tหนึ่ง"),
    ],
)
def test_logs_show_no_terminal_codes(raw, shown):
    assert clean_text(raw) == shown


def test_the_log_page_shows_the_last_5000_lines_escaped_and_can_be_searched(project, researcher, client_of, tmp_path):
    made = make_run(project)
    Attempt.objects.filter(run=made).update(directory=str(tmp_path))
    lines = [f"line {number}" for number in range(6000)] + ["<script>alert(1)</script>"]
    (tmp_path / "stderr.log").write_text("\n".join(lines) + "\n")
    client = client_of(researcher)
    page = client.get("/p/law/runs/1/logs/").content.decode()
    assert "5,000 lines" in page
    assert "line 1000\n" not in page  # 6,001 lines: the last 5,000 begin with line 1001
    assert "line 1001\n" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    found = client.get("/p/law/runs/1/logs/?q=LINE+599").content.decode()
    assert re.findall(r'<li class="ln" value="\d+">([^\n]+)', found) == [
        f"line {number}" for number in range(5990, 6000)
    ]


def test_following_a_log_takes_whole_lines_only_and_starts_over_when_the_file_shrank(project, tmp_path):
    attempt = make_run(project).attempts.get()
    attempt.directory = str(tmp_path)
    log = tmp_path / "stdout.log"
    log.write_text("one\ntwo")
    first = read_on(attempt, "stdout", 0)
    assert (first.lines, first.offset) == (["one"], 4)
    log.write_text("one\ntwo\nthree\n")
    assert read_on(attempt, "stdout", first.offset).lines == ["two", "three"]
    log.write_text("new\n")
    assert read_on(attempt, "stdout", 14).lines == ["new"]
    assert read_tail(attempt, "stderr").exists is False


def test_the_log_page_opens_on_what_was_written_and_on_complaints_first(project, researcher, client_of, tmp_path):
    made = make_run(project)
    Attempt.objects.filter(run=made).update(directory=str(tmp_path))
    client = client_of(researcher)
    (tmp_path / "stderr.log").touch()
    (tmp_path / "stdout.log").write_text("10:00:00 stage 1 (sft) begins\n")
    assert "stage 1 (sft) begins" in client.get("/p/law/runs/1/logs/").content.decode()
    (tmp_path / "stderr.log").write_text("memory is full\n")
    assert "memory is full" in client.get("/p/law/runs/1/logs/").content.decode()
    assert "stage 1 (sft) begins" in client.get("/p/law/runs/1/logs/?stream=stdout").content.decode()


def test_a_log_of_any_other_name_is_not_read(run, researcher, client_of):
    assert client_of(researcher).get("/p/law/runs/1/logs/text/?stream=../../secret-key").status_code == 404


def test_the_admin_shows_runs_but_changes_none(run, client_of, django_user_model):
    client = client_of(django_user_model.objects.create_superuser("root", password="correct horse battery"))
    assert "law-4b" in client.get("/admin/runs/run/").content.decode()
    assert client.post(f"/admin/runs/run/{run.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.get("/admin/runs/run/add/").status_code == 403


def test_the_models_of_runs_have_no_missing_migration():
    call_command("makemigrations", "runs", check=True, dry_run=True, verbosity=0)
