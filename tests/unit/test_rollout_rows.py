"""Rows of rollouts are made from the files once, whatever happens on the way, and go when their run goes."""

import json
from pathlib import Path

import pytest
from django.db import connection

from chanote.runs import rollout_index
from chanote.runs.ingest import apply_effects, ingest_new_lines
from chanote.runs.leases import claim
from chanote.runs.lineage import find_rollout_files
from chanote.runs.models import Attempt, RolloutFile, RolloutPrompt, RolloutRow, RolloutText, RunEvent
from chanote.runs.rollout_index import list_file, list_missing
from tests.installation import add_texts, launch_tiny, newest
from tests.rollout_rows import make_episode, make_rollout, make_tool_call, pack, store_step, stored_event
from tests.run_rows import make_run
from trainer.contract.events import ToolCallsStored

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(project, tmp_path):
    made = make_run(project, state="finished")
    Attempt.objects.filter(run=made).update(directory=str(tmp_path))
    return made


def count_grams() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM runs_rollouttext_grams WHERE runs_rollouttext_grams MATCH '\"ans\"'")
        return int(cursor.fetchone()[0])


def test_an_attempt_that_tells_of_rollouts_and_calls_leaves_rows(project, researcher):
    add_texts(project)
    launched = launch_tiny(project, researcher)
    assert claim(newest(launched).pk) == 1
    attempt = newest(launched)
    folder = Path(attempt.directory)
    rollouts = [make_episode(0, 0, reward=1.0), make_episode(0, 1, reward=0.0)]
    calls = [
        make_tool_call("0.0"),
        make_tool_call("0.0", call="x", status="error"),
        make_tool_call("0.1", status="rejected"),
    ]
    event = stored_event(1, rollouts)
    told = [event, ToolCallsStored(stage=0, step=1, path="tool_calls/step-00000001.jsonl.zst", calls=3)]
    for path, content in ((event.path, rollouts), (told[1].path, calls)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(pack(content))

    def tell(number: int) -> None:
        start = RunEvent.objects.filter(attempt=attempt).count()
        line = {"seq": start, "at": 1_700_000_000.0, "event": told[number].model_dump(mode="json")}
        with (folder / "events.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        while ingest_new_lines(attempt.pk, 1):
            apply_effects(attempt.pk, 1)

    # One after the other: the rows are made before it is known where the calls are.
    tell(0)
    assert RolloutRow.objects.filter(calls=0).count() == 2
    tell(1)
    rows = RolloutRow.objects.values_list("group", "index", "calls", "rejected_calls", "failed_calls")
    assert list(rows.all()) == [(0, 0, 2, 0, 1), (0, 1, 1, 1, 0)]
    assert RunEvent.objects.filter(type="ingest_problem").count() == 0
    # Told again with other rollouts: the later word counts.
    (folder / event.path).write_bytes(pack(rollouts[:1]))
    tell(0)
    assert list(rows.all()) == [(0, 0, 2, 0, 1)]


def test_a_step_is_listed_once_however_often_it_is_tried(run):
    file = store_step(run, 1, [make_rollout(0, 0), make_rollout(0, 1), make_rollout(0, 1)])
    for _ in range(2):
        RolloutFile.objects.update(listed=False)
        assert list_file(RolloutFile.objects.get(pk=file.pk))
    assert RolloutRow.objects.count() == RolloutText.objects.count() == count_grams() == 2
    assert RolloutPrompt.objects.count() == 1


def test_listing_goes_on_where_it_was_broken_off(run, monkeypatch):
    file = store_step(run, 1, [make_rollout(0, index) for index in range(10)])
    monkeypatch.setattr(rollout_index, "AT_ONCE", 4)
    stored, given = rollout_index._store, []

    def break_off(file, told, counts) -> None:
        if len(given) == 1:
            raise KeyboardInterrupt
        given.append(len(told))
        stored(file, told, counts)

    monkeypatch.setattr(rollout_index, "_store", break_off)
    with pytest.raises(KeyboardInterrupt):
        list_file(file)
    first = set(RolloutRow.objects.values_list("pk", flat=True))
    assert len(first) == 4
    monkeypatch.setattr(rollout_index, "_store", stored)
    assert list_file(file)
    assert RolloutRow.objects.count() == 10
    assert first < set(RolloutRow.objects.values_list("pk", flat=True))


def test_what_cannot_be_read_in_time_is_left_for_later(run):
    for step in (1, 2):
        store_step(run, step, [make_rollout()])
    files = find_rollout_files(run)
    assert list_missing(files, seconds=0.0) == 2
    assert list_missing(files) == 0


def test_two_processes_that_list_the_same_step_store_it_once(run, monkeypatch):
    file = store_step(run, 1, [make_rollout(0, 0), make_rollout(0, 1)])
    other = RolloutFile.objects.get(pk=file.pk)
    find_prompts = rollout_index._find_prompts

    def be_overtaken(run, rollouts):
        monkeypatch.setattr(rollout_index, "_find_prompts", find_prompts)
        assert list_file(other)
        return find_prompts(run, rollouts)

    monkeypatch.setattr(rollout_index, "_find_prompts", be_overtaken)
    assert list_file(file)
    assert RolloutRow.objects.count() == count_grams() == 2


def test_numbers_and_signs_that_no_column_takes_are_no_obstacle(run):
    odd = make_rollout(0, 0, tokens=["\0", "x"], text="\0 answer", row="r" * 500, advantage=None)
    lines = pack([odd]), pack([make_rollout(0, 1)])
    huge = make_rollout(2**40, 0)
    file = store_step(run, 1, [odd, make_rollout(0, 1), huge], data=b"".join((*lines, pack([huge]))))
    assert list_file(file)
    assert RolloutRow.objects.count() == 2
    assert RolloutRow.objects.first().answer == "\N{REPLACEMENT CHARACTER} answer"


def test_rows_texts_and_trigrams_go_with_their_run(run):
    assert list_file(store_step(run, 1, [make_rollout()]))
    assert count_grams() == 1
    Attempt.objects.filter(run=run).delete()
    assert (RolloutRow.objects.count(), RolloutText.objects.count(), count_grams()) == (0, 0, 0)


def test_a_rollout_is_read_without_reading_those_before_it(run, monkeypatch):
    rollouts = [make_rollout(group, index, tokens=["word "] * 400) for group in range(60) for index in range(4)]
    file = store_step(run, 1, rollouts)
    list_file(file)
    from chanote.runs import rollout_files

    parsed = []
    whole = rollout_files.StoredRollout.model_validate_json

    class Counting:
        @staticmethod
        def model_validate_json(line):
            parsed.append(len(line))
            return whole(line)

    monkeypatch.setattr(rollout_files, "StoredRollout", Counting)
    found, fault = rollout_files.read_group(file, 57)
    assert [one.index for one in found] == [0, 1, 2, 3]
    assert (fault, len(parsed)) == ("", 4)


def test_a_file_that_changed_is_looked_through(run):
    file = store_step(run, 1, [make_rollout(0, 0), make_rollout(1, 0)])
    list_file(file)
    Path(run.attempts.get().directory, file.path).write_bytes(pack([make_rollout(0, 5), make_rollout(1, 0)]))
    from chanote.runs.rollout_files import read_group

    assert [one.group for one in read_group(file, 1)[0]] == [1]
