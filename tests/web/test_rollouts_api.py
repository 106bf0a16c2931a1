"""Rollouts over REST."""

import pytest

from chanote.runs.models import Attempt
from tests.rollout_rows import make_rollout, store_step
from tests.run_rows import make_run

pytestmark = pytest.mark.django_db
URL = "/api/v1/projects/law/runs/1/rollouts/"


@pytest.fixture
def run(project, tmp_path):
    made = make_run(project)
    Attempt.objects.filter(run=made).update(directory=str(tmp_path))
    return made


@pytest.fixture
def client(viewer, client_of):
    return client_of(viewer)


def test_steps_are_listed_the_latest_first_by_cursor(run, client):
    for step in range(1, 6):
        store_step(run, step, [make_rollout(reward=step / 10), make_rollout(0, 1, reward=None, masked="failed")])
    first = client.get(f"{URL}?page_size=2").json()
    assert [one["step"] for one in first["results"]] == [5, 4]
    assert first["results"][0] | {"bytes": 0} == {
        "step": 5, "stage": 0, "attempt": 1, "groups": 1, "rollouts": 2, "masked": 1, "truncated": 0,
        "mean_reward": 0.5, "bytes": 0,
    }  # fmt: skip
    assert [one["step"] for one in client.get(first["next"]).json()["results"]] == [3, 2]


def test_rollouts_of_a_step_are_told_page_by_page_with_every_number(run, client):
    rollouts = [make_rollout(group, index, reward=group + index / 10) for group in range(3) for index in range(2)]
    store_step(run, 1, rollouts)
    first = client.get(f"{URL}1/?page_size=4").json()
    assert first["results"][0] == rollouts[0].model_dump(mode="json")
    assert first["next_cursor"] == 4
    rest = client.get(f"{URL}1/?page_size=4&cursor=4").json()
    assert [(one["group"], one["index"]) for one in rest["results"]] == [(2, 0), (2, 1)]
    assert (rest["next_cursor"], rest["fault"]) == (None, "")


def test_rollouts_can_be_filtered_and_told_without_tokens(run, client):
    store_step(run, 1, [make_rollout(0, 0, reward=0.1), make_rollout(1, 0, reward=0.9), make_rollout(1, 1, reward=0.8)])
    answer = client.get(f"{URL}1/?group=1&low=0.85&tokens=false").json()
    assert [one["reward"] for one in answer["results"]] == [0.9]
    assert not {"tokens", "prompt", "trained", "logprobs"} & answer["results"][0].keys()
    refused = client.get(f"{URL}1/?gradient=purple")
    assert refused.status_code == 400
    assert "gradient" in refused.content.decode()


def test_a_broken_file_is_told_with_what_could_be_read(run, client):
    store_step(run, 1, [make_rollout(), make_rollout(1)], data=b"nothing like it")
    answer = client.get(f"{URL}1/").json()
    assert answer["results"] == []
    assert answer["fault"].startswith("The file of step 1 is damaged after 0 of 2 rollouts")


def test_a_step_without_rollouts_and_a_stranger_get_404(run, client, stranger, client_of):
    store_step(run, 1, [make_rollout()])
    assert client.get(f"{URL}2/").status_code == 404
    for url in (URL, f"{URL}1/"):
        assert client_of(stranger).get(url).status_code == 404
