"""`chanote run reproduce`: the frozen recipe once more, through the same path, and the first value that differs."""

import json

import pytest

from chanote import cli
from chanote.runs.metrics import Points, store_batch
from chanote.runs.models import Run
from chanote.runs.services import cancel_run, retry_run
from tests.installation import (
    Installation,
    add_texts,
    launch_tiny,
    let_go,
    losses,
    make_people,
    start,
)

pytestmark = [pytest.mark.timeout(600)]


@pytest.fixture
def people(installation: Installation):
    project, user = make_people()
    add_texts(project)
    return project, user


@pytest.fixture
def ask(people, capsys):
    """Run `chanote run reproduce`; returns its exit code, its answer and what it said beside it."""

    def run(*arguments: str, as_json: bool = True):
        words = [
            "run",
            "reproduce",
            *arguments,
            "--project",
            "law",
            "--as",
            people[1].username,
            *(["--json"] if as_json else []),
        ]
        code = cli.main(words)
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if as_json and printed.out else printed.out, printed.err

    return run


@pytest.mark.trains
def test_a_real_run_launched_again_tells_the_same_to_the_last_bit(installation: Installation, people, ask):
    """Also where other rows came meanwhile: the run keeps the version that it froze."""
    run = launch_tiny(*people, steps=6)
    installation.start_worker()
    installation.wait_for_end(run)
    add_texts(people[0], count=12)
    code, answer, said = ask("1")
    again = Run.objects.get(number=2)
    assert (code, answer["same"], answer["deviation"], answer["surroundings"]) == (0, True, None, [])
    assert (answer["last_step"], answer["again"], again.name, again.notes) == (
        6,
        2,
        "tiny-1-again",
        "Reproduces run 1.",
    )
    assert answer["metrics"] >= 3
    assert answer["values"] >= 3 * 6
    assert "--against 2" in said
    assert losses(again) == losses(run)
    assert again.snapshot["recipe"]["stages"][0]["data"][0]["dataset"] == "texts@1"
    assert again.snapshot["datasets"] == run.snapshot["datasets"]
    installation.wait_until_quiet()


@pytest.mark.usefixtures("scripted")
def test_the_first_deviation_is_told_with_its_step_and_both_values(installation: Installation, people, ask):
    """The scripted trainer writes the number of the attempt into every value: a second attempt differs from a first."""
    run = launch_tiny(*people, steps=4)
    cancel_run(run, actor=people[1])
    retry_run(run, actor=people[1])
    installation.start_worker()
    installation.wait_for_end(run)
    # What somebody sent over HTTP is no part of what the trainer tells.
    store_batch(run, "mine", {"train/aside": _points([1, 2], [7.0, 8.0])})
    code, answer, _ = ask("1")
    assert code == 1
    assert (answer["same"], answer["metrics"]) == (False, 1)
    assert answer["deviation"] == {"key": "train/loss", "step": 1, "then": 1.2, "now": 1.1}
    code, words, _ = ask("1", "--against", "2", as_json=False)
    assert code == 1
    assert [line.split() for line in words.splitlines()[1:5]] == [
        ["key", "train/loss"], ["step", "1"], ["then", "1.2"], ["now", "1.1"],
    ]  # fmt: skip
    installation.wait_until_quiet()


@pytest.mark.usefixtures("scripted")
def test_what_cannot_be_reproduced_is_refused_before_anything_starts(installation: Installation, people, ask):
    run = launch_tiny(*people, steps=4, script="wait=2")
    code, answer, _ = ask("1")
    assert (code, answer["error"]) == (4, "tiny-1 is queued and cannot be reproduced; stop or cancel it first.")
    start(run)
    installation.wait_for_step(run, 2)
    let_go(run)
    installation.wait_for_end(run)
    other = launch_tiny(*people, steps=3)
    start(other)
    installation.wait_for_end(other)
    code, answer, _ = ask("1", "--against", "2")
    assert (code, answer["error"]) == (4, "tiny-2 is no second run of the frozen recipe of tiny-1.")
    snapshot = run.snapshot
    snapshot["datasets"]["texts@1"]["sha256"] = "0" * 64
    Run.objects.filter(pk=run.pk).update(snapshot=snapshot)
    code, answer, _ = ask("1")
    assert code == 4
    assert [problem["field"] for problem in answer["problems"]] == ["datasets.texts@1"]
    assert "held 000000000000 then" in answer["problems"][0]["message"]
    assert Run.objects.count() == 2
    installation.wait_until_quiet()


def _points(steps: list[int], values: list[float]) -> Points:
    points = Points()
    for step, value in zip(steps, values, strict=True):
        points.add(step, value, 0.0)
    return points
