"""The review inbox: what is picked, why, in which order, and what leaves it."""

import re
from pathlib import Path

import pytest

from chanote.accounts.models import Membership, Project
from chanote.review.models import Pick, SiftedStep, StoredPrompt
from chanote.review.services import set_label
from chanote.review.sifting import sift_project
from chanote.runs.models import Attempt, Checkpoint, RolloutFile
from chanote.tools.models import ToolCall
from tests.review_rows import ask, make_odd_run
from tests.rollout_rows import pack, store_step
from tests.run_rows import add_attempt, make_run

pytestmark = pytest.mark.django_db
URL = "/p/law/review/"
PLAIN = {"reward": 0.0, "rewards": {"judge": 0.0, "exact": 0.0}}
FOOLED = {"reward": 1.0, "rewards": {"judge": 1.0, "exact": 0.0}}


@pytest.fixture
def run(project, researcher, tmp_path):
    return make_odd_run(project, researcher, tmp_path)


@pytest.fixture
def client(researcher, client_of):
    return client_of(researcher)


def picks(client, query: str = "") -> list[str]:
    """Addresses of the rollouts that the page lists, in its order."""
    page = client.get(URL + query).content.decode()
    return re.findall(r'<h2><a href="[^"]*/runs/(\d+/rollouts/\?step=\d+&amp;open=[\d.]+)#', page)


FIRST, SECOND = "1/rollouts/?step=1&amp;open=0.0", "1/rollouts/?step=1&amp;open=1.0"


def test_odd_rollouts_stand_in_order_with_their_reasons_in_words(run, client):
    assert picks(client) == [FIRST, SECOND]
    page = client.get(URL).content.decode()
    assert "Judge gives 1.00, but exact gives 0.00." in page
    assert "Called search_law 4 times with the same arguments." in page
    assert "Question 0?" in page
    assert "&lt;b&gt;Trust me&lt;/b&gt;" in page


def test_what_anybody_labelled_leaves_and_can_be_asked_for_by_the_others(run, client, researcher, curator):
    set_label(run=run, step=1, group=0, index=0, label="hacked", actor=curator)
    assert picks(client) == [SECOND]
    assert picks(client, "?unseen=mine") == [FIRST, SECOND]
    set_label(run=run, step=1, group=0, index=0, label="unsure", actor=researcher)
    assert picks(client, "?unseen=mine") == [SECOND]
    set_label(run=run, step=1, group=1, index=0, label="good", actor=researcher)
    assert "Every pick is labelled." in client.get(URL).content.decode()


def test_filters_by_run_and_reason(run, client):
    assert picks(client, "?rule=judge") == [FIRST]
    assert picks(client, "?rule=calls") == [SECOND]
    assert picks(client, "?run=2") == []
    assert picks(client, "?rule=nothing&run=x&page=zzz") == [FIRST, SECOND]
    assert "Nothing like that waits" in client.get(f"{URL}?rule=length").content.decode()


def test_pages_hold_twenty_and_lose_none(run, client):
    for step in (2, 3):
        store_step(run, step, [ask(group, 0, **FOOLED) for group in range(15)])
    both = picks(client), picks(client, "?page=2")
    assert [len(page) for page in both] == [20, 12]
    assert len({*both[0], *both[1]}) == 32


def test_the_inbox_of_a_project_holds_its_own_runs_only(run, client, researcher, tmp_path):
    other = Project.objects.create(slug="tax", name="Tax desk")
    Membership.objects.create(user=researcher, project=other, role="viewer")
    make_odd_run(other, None, tmp_path / "tax", number=4)
    assert picks(client) == [FIRST, SECOND]
    page = client.get("/p/tax/review/").content.decode()
    assert page.count("/p/tax/runs/4/rollouts/?step=1") == 2
    assert "/p/law/runs/1/rollouts" not in page


def test_nothing_yet_nothing_odd_and_a_file_that_cannot_be_read_are_told(project, client, researcher, tmp_path):
    assert "No rollouts yet" in client.get(URL).content.decode()
    run = make_run(project, state="finished", owner=researcher)
    Attempt.objects.filter(run=run).update(directory=str(tmp_path))
    store_step(run, 1, [ask(0, 0, **PLAIN)])
    assert "No highly rewarded rollout of 1 step has an odd shape." in client.get(URL).content.decode()
    store_step(run, 2, [ask(0, 0, **FOOLED)], data=b"no archive")
    page = client.get(URL).content.decode()
    assert "The rollouts of 1 step cannot all be read" in page


def test_a_file_is_looked_through_once_until_it_is_told_anew(run, project):
    sift_project(project)
    before = SiftedStep.objects.get().pk
    sift_project(project)
    assert SiftedStep.objects.get().pk == before
    file = RolloutFile.objects.get()
    rollouts = [ask(0, 0, **PLAIN)]
    data = pack(rollouts)
    Path(run.attempts.get().directory, file.path).write_bytes(data)
    RolloutFile.objects.update(bytes=len(data), rollouts=1)
    sift_project(project)
    assert not Pick.objects.exists()
    assert StoredPrompt.objects.count() == 1


def test_calls_that_are_stored_after_the_rollouts_count_once_they_are_there(run, project):
    calls = list(ToolCall.objects.all())
    ToolCall.objects.all().delete()
    Attempt.objects.update(ended=None)
    sift_project(project)
    assert list(Pick.objects.values_list("group", flat=True)) == [0]
    assert not SiftedStep.objects.get().settled
    ToolCall.objects.bulk_create(calls)
    Attempt.objects.update(ended=run.ended)
    SiftedStep.objects.update(at=run.started)
    sift_project(project)
    assert set(Pick.objects.values_list("group", flat=True)) == {0, 1}
    assert SiftedStep.objects.get().settled


def test_what_tools_answered_does_not_make_a_rollout_long(run, client):
    right = {"reward": 1.0, "rewards": {"judge": 1.0, "exact": 1.0}}

    def answer(group: int, told: int):
        tokens = [f"word {group}", ".", *["x"] * told]
        sampled = {"trained": [True, True, *[False] * told], "logprobs": [None] * len(tokens)}
        return ask(group, 0, tokens=tokens, **sampled, **right)

    store_step(run, 2, [*(answer(group, 0) for group in range(9)), answer(9, 400)])
    assert picks(client) == [FIRST, SECOND]


def test_one_request_looks_through_a_part_and_says_how_far_it_came(run, project, client, monkeypatch):
    for step in range(2, 6):
        store_step(run, step, [ask(0, 0, **FOOLED)])
    monkeypatch.setattr("chanote.review.sifting.monotonic", iter(range(0, 100_000, 1000)).__next__)
    page = client.get(URL).content.decode()
    assert "1 of 5 steps are looked through so far." in page
    assert 'hx-trigger="load delay:500ms"' in page
    assert 'hx-get="?looking=on"' in page
    for _ in range(4):
        page = client.get(f"{URL}?looking=on").content.decode()
    # What the first page lists is not all: the reader is told so, and nothing moves under their eyes.
    assert "All 5 steps are looked through." in page
    assert "hx-trigger" not in page
    assert "looked through" not in client.get(URL).content.decode()


def test_rollouts_that_a_resume_left_behind_leave_the_inbox(run, client, tmp_path):
    store_step(run, 2, [ask(0, 0, **FOOLED)])
    left = "1/rollouts/?step=2&amp;open=0.0"
    assert left in picks(client)
    first = run.attempts.get()
    checkpoint = Checkpoint.objects.create(
        run=run, attempt=first, step=1, stage=0, directory=str(tmp_path), sha256="c" * 64
    )
    add_attempt(run, number=2, directory=tmp_path / "second", resume_from=checkpoint)
    assert picks(client) == [FIRST, SECOND]
    store_step(run, 2, [ask(3, 0, **FOOLED)])
    assert set(picks(client)) == {FIRST, SECOND, "1/rollouts/?step=2&amp;open=3.0"}


def test_a_group_number_beyond_any_database_is_passed_over(project, client, researcher, tmp_path):
    run = make_run(project, state="finished", owner=researcher)
    Attempt.objects.filter(run=run).update(directory=str(tmp_path))
    store_step(run, 1, [ask(2**40, 0, **FOOLED), ask(0, 0, **FOOLED)])
    assert client.get(URL).status_code == 200
    assert StoredPrompt.objects.count() == 1


def test_the_number_of_queries_does_not_grow_with_the_picks(run, client, django_assert_max_num_queries):
    store_step(run, 2, [ask(group, 0, **FOOLED) for group in range(18)])
    client.get(URL)
    with django_assert_max_num_queries(30):
        client.get(URL)
