"""The same prompt in other steps and runs, side by side."""

import re

import pytest

from chanote.accounts.models import Membership, Project
from chanote.review.services import set_label
from chanote.runs.models import Attempt
from tests.review_rows import ask, make_odd_run
from tests.rollout_rows import store_step
from tests.run_rows import make_run

pytestmark = pytest.mark.django_db
URL = "/p/law/review/same-prompt/"


@pytest.fixture
def run(project, researcher, tmp_path):
    made = make_odd_run(project, researcher, tmp_path)
    for step, text in ((2, "It is a fine."), (3, "It is a heavy fine.")):
        store_step(made, step, [ask(5, 0, row="questions@1#0", prompt=PROMPT, text=text, reward=step / 10)])
    return made


PROMPT = ask(0).prompt


@pytest.fixture
def client(researcher, client_of):
    return client_of(researcher)


def read(client, *places: str, status: int = 200) -> str:
    answer = client.get(URL, {"at": places})
    assert answer.status_code == status
    return answer.content.decode()


def columns(page: str) -> list[str]:
    return re.findall(r'<h3 id="column-\d"><a [^>]*data-walk="([\d.]+)"', page)


def test_a_rollout_stands_beside_the_first_and_last_step_and_the_newest_other_run(run, project, client, tmp_path):
    other = make_run(project, number=2, state="finished", snapshot=run.snapshot)
    Attempt.objects.filter(run=other).update(directory=str(tmp_path / "other"))
    store_step(other, 7, [ask(1, 0, row="questions@1#0", text="Nothing at all.", prompt=["in ", "other words"])])
    page = read(client, "1.2.5.0")
    assert columns(page) == ["1.2.5.0", "1.1.0", "1.3.5", "2.7.1"]
    assert "sampled 4 times in the runs of Law assistant" in page
    assert "in different words, as another chat template does" in page
    assert "Nothing" in page


def test_a_prompt_is_the_same_by_its_text_where_its_row_has_another_name(run, client):
    store_step(run, 4, [ask(0, 0, row="questions@2#0", prompt=["".join(PROMPT)], text="Renamed.")])
    assert "1.4.0" in columns(read(client, "1.2.5.0"))
    assert "1.4.0" not in columns(read(client, "1.1.1.0"))


def test_differences_are_against_the_first(run, client):
    page = read(client, "1.2.5.0", "1.3.5.0")
    assert "It is a <ins>heavy </ins>fine." in page
    page = read(client, "1.3.5.0", "1.2.5.0")
    assert "It is a <del>heavy </del>fine." in page


def test_rewards_calls_and_labels_stand_with_each_answer(run, client, researcher):
    set_label(run=run, step=1, group=1, index=0, label="misused", actor=researcher)
    page = read(client, "1.1.1.0")
    assert "4 tool calls" in page
    assert "tool misused (researcher)" in page
    assert re.search(r'Rewards of its group: <b>1.00</b>, <a href="\?at=1.1.1.1"[^>]*>0.00</a>', page)


def test_without_an_index_the_best_of_the_group_is_shown(run, client):
    store_step(run, 4, [ask(0, index, text=f"Answer {index}", reward=index / 10) for index in range(3)])
    page = read(client, "1.4.0", "1.1.0.0")
    assert "Answer 2" in page.split('id="column-1"')[1].split('id="column-2"')[0]


def test_more_than_four_are_not_dropped_in_silence(run, client):
    for step in (4, 5):
        store_step(run, step, [ask(0, 0)])
    page = read(client, "1.1.0.0", "1.2.5", "1.3.5", "1.4.0", "1.5.0")
    assert len(columns(page)) == 4
    assert "1 of those that were chosen is not shown." in page


def test_another_projects_runs_are_not_shown(run, researcher, client, client_of, tmp_path):
    other = Project.objects.create(slug="tax", name="Tax desk")
    hidden = make_odd_run(other, None, tmp_path / "tax", number=9)
    assert "sampled 3 times" in read(client, "1.1.0.0")
    read(client, "9.1.0.0", status=404)
    # Nor when it is asked for beside one's own.
    assert columns(read(client, "1.1.0.0", "9.1.0.0")) == ["1.1.0.0"]
    Membership.objects.create(user=researcher, project=other, role="viewer")
    assert client.get("/p/tax/review/same-prompt/", {"at": "9.1.0.0"}).status_code == 200
    assert hidden.number == 9


@pytest.mark.parametrize("place", ["", "1", "1.1", "1.1.0.0.0", "1.1.x", "1.9.0.0", "1.1.77.0", "7.1.0.0", "1.1.٣.0"])
def test_what_names_no_rollout_is_not_found(place, run, client):
    read(client, place, status=404)


def test_a_place_that_is_gone_is_told_beside_the_others(run, client):
    page = read(client, "1.1.0.0", "1.9.0.0", "1.2.5.4")
    assert "Step 9 stored no rollouts." in page
    assert "Step 2 has no such rollout of prompt 5." in page
    assert len(columns(page)) == 3


def test_the_rollouts_page_leads_there(run, client):
    page = client.get("/p/law/runs/1/rollouts/?step=2&open=5.0").content.decode()
    assert f'href="{URL}?at=1.2.5.0"' in page
