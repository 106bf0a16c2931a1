"""Curves are stored once, read as they were, and reduced without losing a spike."""

import gzip
import json
import math
from array import array

import numpy as np
import pytest
from django.db import transaction

from chanote.recipes.models import Recipe, Revision
from chanote.runs.metrics import (
    BadMetrics,
    Points,
    append_points,
    encode_curve,
    ingest_metrics_request,
    read_curve,
    read_points,
    trim_superseded,
)
from chanote.runs.models import MetricChunk, MetricSeries, Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(project) -> Run:
    recipe = Recipe.objects.create(project=project, slug="r", title="r")
    revision = Revision.objects.create(recipe=recipe, number=1, yaml="", resolved={}, sha256="0" * 64)
    return Run.objects.create(project=project, number=1, name="r-1", revision=revision, snapshot={})


def append(run: Run, steps, values, *, source: int = 1, key: str = "train/loss") -> None:
    points = Points(array("q", steps), array("d", values), array("d", [0.0] * len(steps)))
    with transaction.atomic():
        append_points(run, {key: points}, source=source)


def series_of(run: Run, key: str = "train/loss") -> MetricSeries:
    return MetricSeries.objects.get(run=run, key=key)


def values_by_step(run: Run) -> dict[int, float]:
    steps_N, values_N, _ = read_points(series_of(run))
    assert len(steps_N) == len(set(steps_N.tolist()))
    return dict(zip(steps_N.tolist(), values_N.tolist(), strict=True))


@pytest.fixture
def long_run(run: Run) -> Run:
    """100,000 points of value step/1000 with one spike up and one down, stored as a trainer tells them: in pieces."""
    values = np.arange(1, 100_001) / 1000.0
    values[54_321 - 1] = 9000.0
    values[70_001 - 1] = -9000.0
    for start in range(0, 100_000, 777):
        part = values[start : start + 777]
        append(run, range(start + 1, start + 1 + len(part)), part)
    return run


def test_points_are_read_as_they_were_written(run: Run):
    append(run, [1, 2], [0.5, 0.25])
    append(run, [3], [0.125])
    assert values_by_step(run) == {1: 0.5, 2: 0.25, 3: 0.125}
    series = series_of(run)
    assert (series.points, series.last_step, series.last_value, series.lowest, series.highest) == (
        3,
        3,
        0.125,
        0.125,
        0.5,
    )


def test_many_small_pieces_become_few_chunks_and_no_point_is_lost(long_run: Run):
    steps_N, values_N, _ = read_points(series_of(long_run))
    assert steps_N.tolist() == list(range(1, 100_001))
    assert values_N[9_999] == 10.0
    raw = MetricChunk.objects.filter(series__run=long_run, level=0)
    assert raw.count() < 50
    assert sum(raw.values_list("count", flat=True)) == 100_000


def test_a_reduced_curve_keeps_every_extreme_and_counts_every_point(long_run: Run):
    curve = read_curve(series_of(long_run), points=1000)
    assert 500 < len(curve) <= 1000
    assert curve.count == 100_000
    assert (np.nanmax(curve.high_P), np.nanmin(curve.low_P)) == (9000.0, -9000.0)
    place = int(np.nanargmax(curve.high_P))
    assert curve.first_P[place] <= 54_321 <= curve.last_P[place]
    # The places follow each other without a gap, so every step stands in exactly one.
    assert curve.first_P[0] == 1
    assert curve.last_P[-1] == 100_000
    assert (curve.first_P[1:] == curve.last_P[:-1] + 1).all()


def test_the_coarse_levels_say_what_the_points_say(long_run: Run):
    """A curve of 20 places is read from a coarse level: its numbers must be those of the raw points."""
    series = series_of(long_run)
    steps_N, values_N, _ = read_points(series)
    curve = read_curve(series, points=20)
    for place in range(len(curve)):
        inside = values_N[(steps_N >= curve.first_P[place]) & (steps_N <= curve.last_P[place])]
        assert curve.low_P[place] == inside.min()
        assert curve.high_P[place] == inside.max()
        assert curve.mean_P[place] == pytest.approx(inside.mean(), rel=1e-9)


def test_a_short_range_shows_the_points_themselves(long_run: Run):
    curve = read_curve(series_of(long_run), start=54_320, stop=54_322, points=1000)
    assert curve.is_exact
    assert curve.last_P.tolist() == [54_320, 54_321, 54_322]
    assert curve.mean_P.tolist() == [54.32, 9000.0, 54.322]


def test_a_wide_range_is_cut_where_it_was_asked_for(long_run: Run):
    curve = read_curve(series_of(long_run), start=1001, stop=90_000, points=10)
    # A coarse bucket may reach over the edge, by less than one bucket of 256 points.
    assert 1001 - 256 < curve.first_P[0] <= 1001
    assert 90_000 <= curve.last_P[-1] < 90_000 + 256


def test_a_long_curve_fits_into_20_kb(long_run: Run):
    noise = np.random.default_rng(1).normal(size=100_000)
    append(long_run, range(1, 100_001), noise, key="noise")
    body = json.dumps(encode_curve(read_curve(series_of(long_run, "noise"), points=1000)))
    assert len(gzip.compress(body.encode())) <= 20_000


def test_numbers_that_are_none_are_kept_and_flagged(run: Run):
    append(run, [1, 2, 3, 4], [1.0, math.nan, math.inf, 2.0])
    assert math.isnan(values_by_step(run)[2])
    assert values_by_step(run)[3] == math.inf
    encoded = encode_curve(read_curve(series_of(run)))
    assert encoded["mean"] == [1.0, None, None, 2.0]
    assert encoded["broken"] == [1, 2]
    json.dumps(encoded, allow_nan=False)
    coarse = read_curve(series_of(run), points=1)
    assert (coarse.low_P[0], coarse.high_P[0], coarse.mean_P[0], bool(coarse.broken_P[0])) == (1.0, 2.0, 1.5, True)


def test_a_last_value_that_is_no_number_is_empty(run: Run):
    append(run, [1, 2], [1.0, math.nan])
    assert (series_of(run).last_step, series_of(run).last_value) == (2, None)


def test_a_resumed_attempt_replaces_what_came_after_its_checkpoint(run: Run):
    append(run, range(1, 8), [10.0] * 7)
    trim_superseded(run, 2, after_step=5)
    assert list(values_by_step(run)) == [1, 2, 3, 4, 5]
    append(run, [6, 7, 8], [20.0] * 3, source=2)
    assert values_by_step(run) == {1: 10, 2: 10, 3: 10, 4: 10, 5: 10, 6: 20, 7: 20, 8: 20}
    assert (series_of(run).points, series_of(run).highest) == (8, 20.0)


def test_a_step_told_by_two_attempts_stands_once_with_the_newer_value(run: Run):
    append(run, [1, 2, 3], [1.0, 2.0, 3.0])
    append(run, [3, 4], [30.0, 40.0], source=2)
    assert values_by_step(run) == {1: 1.0, 2: 2.0, 3: 30.0, 4: 40.0}


def test_starting_over_forgets_the_earlier_attempt_but_not_what_came_over_http(run: Run):
    append(run, [1, 2], [1.0, 2.0])
    append(run, [1, 2], [7.0, 8.0], source=0, key="mine")
    trim_superseded(run, 2, after_step=None)
    assert series_of(run).points == 0
    assert series_of(run, "mine").points == 2


def test_resuming_a_long_run_keeps_the_levels_true(long_run: Run):
    trim_superseded(long_run, 2, after_step=60_000)
    append(long_run, range(60_001, 60_101), [1.0] * 100, source=2)
    curve = read_curve(series_of(long_run), points=20)
    assert (curve.count, curve.last_P[-1]) == (60_100, 60_100)
    assert (np.nanmax(curve.high_P), np.nanmin(curve.low_P)) == (9000.0, 0.001)


def request(batch: object, **series: object) -> bytes:
    return json.dumps({"batch": batch, "series": series}).encode()


def test_a_batch_sent_twice_is_stored_once(run: Run):
    body = request("a1", loss={"steps": [1, 2], "values": [0.5, "NaN"]})
    assert ingest_metrics_request(run, body) == 2
    assert ingest_metrics_request(run, body) == 0
    assert series_of(run, "loss").points == 2


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"{", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b"[]", "batch"),
        (request(None, loss={"steps": [1], "values": [1]}), "batch"),
        (request("b"), "series"),
        (request("b", loss={"steps": [1, 2], "values": [1]}), "equal length"),
        (request("b", loss={"steps": [1.5], "values": [1]}), "series.loss.steps"),
        (request("b", loss={"steps": [True], "values": [1]}), "series.loss.steps"),
        (request("b", loss={"steps": [-1], "values": [1]}), "series.loss.steps"),
        (request("b", loss={"steps": [1], "values": ["high"]}), "high"),
        (request("b", loss={"steps": [2**70], "values": [1]}), "64 bits"),
        (request("b", loss={"steps": [1], "values": [1], "times": [1, 2]}), "series.loss.times"),
        (request("b", **{"a\x00b": {"steps": [1], "values": [1]}}), "printable"),
        (request("b", loss={"steps": [1], "values": [1], "colour": 1}), "series.loss"),
    ],
)
def test_a_bad_request_is_refused_with_its_field_and_stores_nothing(run: Run, body: bytes, names: str):
    with pytest.raises(BadMetrics, match=names):
        ingest_metrics_request(run, body)
    assert not MetricSeries.objects.exists()
