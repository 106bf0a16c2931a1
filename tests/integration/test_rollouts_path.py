"""From the trainer's own rollouts to the page that shows them: nothing between them is made up."""

import io
import json
import re

import pytest
from django.test import Client

from chanote.datasets.services import import_dataset
from chanote.runs.lineage import find_rollout_files
from chanote.runs.models import State
from chanote.runs.rollout_files import StoredRollouts
from chanote.runs.services import launch_run, resume_run, stop_run
from tests.installation import Installation, add_texts, make_people, newest, tiny_stage, write_recipe

pytestmark = [pytest.mark.trains, pytest.mark.timeout(600)]
STEPS = 40


@pytest.fixture
def run(installation: Installation):
    """Reads a little, then answers questions and reads on: four rollouts of each of two prompts a step."""
    project, user = make_people()
    add_texts(project)
    rows = [{"question": f"When does market {n} open?", "answer": f"On day {n}."} for n in range(8)]
    file = io.BytesIO("".join(json.dumps(row) + "\n" for row in rows).encode())
    import_dataset(
        project=project, slug="asked", kind="prompts", file=file, format="jsonl", uses=["train"], licence="CC0-1.0",
        actor=user,
    )  # fmt: skip
    answer = {
        "kind": "ink_grpo",
        "name": "answer",
        "data": [{"dataset": "asked"}],
        "corpus": [{"dataset": "texts"}],
        "steps": STEPS,
        "batch_size": 8,
        "group_size": 4,
        "sequence_length": 64,
        "knowledge_batch_size": 1,
        "knowledge_rate": 0.5,
        "sampling": {"max_new_tokens": 12},
        "rewards": [{"kind": "script", "scripts": ["Latin"], "weight": 0.5}, {"kind": "overlong", "buffer": 6}],
    }
    revision = write_recipe(project, [tiny_stage(2), answer])
    return launch_run(revision=revision, owner=user)


def read(run, path: str) -> str:
    client = Client()
    client.force_login(run.owner, backend="django.contrib.auth.backends.ModelBackend")
    answer = client.get(f"/p/law/runs/{run.number}/{path}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_rollouts_of_a_stopped_and_resumed_run_can_be_read_step_by_step(installation: Installation, run):
    installation.start_worker()
    installation.wait_for_step(run, 6)
    stop_run(run, actor=run.owner)
    installation.wait_for_end(run)
    assert run.state == State.STOPPED
    reached = run.step
    resume_run(run, actor=run.owner)
    installation.wait_for_end(run)
    assert (run.state, run.fault, run.step) == (State.FINISHED, "", 2 + STEPS)

    files = list(find_rollout_files(run).order_by("step"))
    assert [file.step for file in files] == list(range(3, 3 + STEPS))
    assert {file.attempt.number for file in files if file.step <= reached} == {1}
    assert {file.attempt.number for file in files if file.step > reached} == {newest(run).number}
    for file in (files[0], files[-1]):
        stored = StoredRollouts(file)
        rollouts = list(stored)
        assert stored.fault == ""
        assert [(one.group, one.index) for one in rollouts] == [(g, i) for g in range(2) for i in range(4)]
        assert all(len(one.tokens) == len(one.trained) == len(one.logprobs) for one in rollouts)
        rewards = [one.reward for one in rollouts if one.reward is not None]
        assert file.mean_reward == pytest.approx(sum(rewards) / len(rewards))

    page = read(run, "rollouts/?step=3")
    assert re.findall(r'data-walk="([\d.]+)"', page) == [f"{g}.{i}" for g in range(2) for i in range(4)]
    assert re.search(r'<span class="tk[^"]*" title="−\d+\.\d+, [\d.]+ %">', page)
    assert "weight 0.5" in page
    assert "asked@1#" in page
    assert "4 completions" in read(run, "rollouts/?step=3&open=1.0&view=group")
    charts = read(run, "charts/")
    for title in ("Reward", "Completions", "Policy update", "Knowledge injection", "Knowledge ledger, answer"):
        assert title in charts
    assert f"of {STEPS} steps" in charts
    assert "the recipe asks for 50 %" in charts
