"""Curves: stored as chunks of points, read as an envelope that loses no spike.

Level 0 holds the points as they came. Once `CHUNK` of them have gathered they are merged into one chunk and summed up
in level 1 (buckets of `FAN` points) and level 2 (buckets of `FAN` · `FAN`): a long curve costs what a short one does.
"""

import json
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from numpy.typing import NDArray

from chanote.runs.buckets import BUCKET, Buckets, Floats, Ints, join_buckets, merge_buckets, single_points
from chanote.runs.models import MetricBatch, MetricChunk, MetricSeries, Run

CHUNK = 4096
SMALL_CHUNKS = 16
"""Small chunks that gather before they are merged."""
SUMMARY = ["points", "last_step", "last_value", "lowest", "highest", "next_chunk", "sealed_before"]
FAN = 16
LEVELS = (1, 2)


@dataclass
class Points:
    """Points of one series in the order in which they were logged."""

    steps: "array[int]" = field(default_factory=lambda: array("q"))
    values: "array[float]" = field(default_factory=lambda: array("d"))
    times: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, step: int, value: float, time: float) -> None:
        self.steps.append(step)
        self.values.append(value)
        self.times.append(time)


def append_points(run: Run, points: Mapping[str, Points], *, source: int) -> None:
    """Add points to a run's series inside the caller's transaction.

    `source` is the number of the attempt that logged them, 0 for points sent over HTTP. What an earlier attempt logged
    at the same or later steps is replaced. Writing once only is the caller's part: by the fence, or by a batch's name.
    """
    if not points:
        return
    known = _lock_series(run, list(points))
    chunks: list[MetricChunk] = []
    crowded: list[MetricSeries] = []
    for key in sorted(points):
        series, new = known[key], points[key]
        steps_N = np.asarray(new.steps, dtype="<i8")
        if source > 1 and series.last_step >= steps_N[0]:
            _trim(series, int(steps_N[0]), before_source=source)
        values_N, times_N = np.asarray(new.values, dtype="<f8"), np.asarray(new.times, dtype="<f8")
        before = series.next_chunk
        for start in range(0, len(steps_N), CHUNK):
            part = slice(start, start + CHUNK)
            chunk = MetricChunk(series=series, seq=series.next_chunk, source=source)
            chunks.append(_fill(chunk, steps_N[part], values_N[part], times_N[part]))
            series.next_chunk += 1
        _count_in(series, steps_N, values_N)
        if series.next_chunk // SMALL_CHUNKS > before // SMALL_CHUNKS:
            crowded.append(series)
    MetricChunk.objects.bulk_create(chunks)
    for series in known.values():
        # bulk_update builds a CASE for every field, which costs more than one UPDATE for each series.
        series.save(update_fields=SUMMARY)
    for series in crowded:
        compact(series)


def trim_superseded(run: Run, attempt: int, *, after_step: int | None) -> None:
    """Drop what earlier attempts logged beyond the checkpoint from which this attempt continues.

    `after_step` is that checkpoint's step; None when the attempt starts over. The events of the earlier attempts stay
    in their directories.
    """
    first = (after_step or 0) + 1 if after_step is not None else -(2**62)
    for series in MetricSeries.objects.select_for_update().filter(run=run).order_by("key"):
        if series.points and series.last_step >= first:
            _trim(series, first, before_source=attempt)
            series.save()


def read_points(
    series: MetricSeries, start: int | None = None, stop: int | None = None, *, of_trainer: bool = False
) -> tuple[Ints, Floats, Floats]:
    """Every point with start <= step <= stop: steps, values and wall times, each [N], in order of steps.

    `of_trainer` leaves out what was sent over HTTP.
    """
    chunks = _within(series.chunks.filter(level=0, source__gte=1 if of_trainer else 0), start, stop)
    return _cut(*_join(list(chunks)), start, stop)


@dataclass(frozen=True)
class Curve:
    """A curve reduced to P places. Each place stands for one point or for a bucket of neighbours."""

    key: str
    first_P: Ints
    last_P: Ints
    mean_P: Floats
    low_P: Floats
    high_P: Floats
    """Extremes of the finite values of the bucket; NaN where it has none."""
    broken_P: NDArray[np.bool_]
    """The bucket holds NaN or an infinity."""
    count: int
    """Points that the curve stands for."""

    @property
    def is_exact(self) -> bool:
        return self.count == len(self.first_P)

    def __len__(self) -> int:
        return len(self.first_P)


def read_curve(series: MetricSeries, start: int | None = None, stop: int | None = None, points: int = 1000) -> Curve:
    """The curve between two steps (both included), reduced to at most `points` places that keep every extreme."""
    if points < 1:
        raise ValueError("points must be at least 1")
    buckets = _read_buckets(series, start, stop, points)
    count = int(buckets.stats_N["count"].sum())
    if len(buckets) > points:
        # Buckets of equal number of parts, so that every place of the chart stands for about as many points.
        edges = np.linspace(0, len(buckets), points + 1).astype(np.int64)[:-1]
        buckets = merge_buckets(buckets, edges)
    stats_N = buckets.stats_N
    return Curve(
        series.key,
        buckets.first_N,
        buckets.last_N,
        stats_N["mean"],
        stats_N["low"],
        stats_N["high"],
        stats_N["finite"] < stats_N["count"],
        count,
    )


def _read_buckets(series: MetricSeries, start: int | None, stop: int | None, points: int) -> Buckets:
    """The coarsest level that still has `points` places in the range, with the points no level holds yet."""
    sealed = _within(series.chunks.filter(level=0, seq__lt=series.sealed_before), start, stop)
    raw = sum(sealed.values_list("count", flat=True))
    level = next((level for level in reversed(LEVELS) if raw >= 2 * points * FAN**level), 0)
    open_chunks = _within(series.chunks.filter(level=0, seq__gte=series.sealed_before), start, stop)
    if level == 0:
        return single_points(*_cut(*_join([*sealed, *open_chunks]), start, stop)[:2])
    coarse = join_buckets([_load(chunk) for chunk in _within(series.chunks.filter(level=level), start, stop)])
    keep = np.ones(len(coarse), dtype=bool)
    if start is not None:
        keep &= coarse.last_N >= start
    if stop is not None:
        keep &= coarse.first_N <= stop
    coarse = Buckets(coarse.first_N[keep], coarse.last_N[keep], coarse.stats_N[keep])
    rest = single_points(*_cut(*_join(list(open_chunks)), start, stop)[:2])
    # The points not yet sealed are grouped as coarsely, lest the newest part take most of the chart's width.
    return join_buckets([coarse, merge_buckets(rest, np.arange(0, len(rest), FAN**level))])


def store_batch(run: Run, name: str, points: Mapping[str, Points]) -> bool:
    """Store a named batch of points in one transaction; False when it had been stored before."""
    try:
        with transaction.atomic():
            MetricBatch.objects.create(run=run, name=name)
            append_points(run, points, source=0)
    except IntegrityError:
        # Also when the same batch is being stored by another process at this moment.
        if MetricBatch.objects.filter(run=run, name=name).exists():
            return False
        raise
    return True


def encode_curve(curve: Curve) -> dict[str, Any]:
    """The curve as JSON values with six significant digits: `steps` (last of each place), `mean`, `low`, `high`.

    Without `low` and `high` every place is one point. Places in `broken` hold NaN or an infinity; a place without any
    finite value has null.
    """
    answer: dict[str, Any] = {"key": curve.key, "count": curve.count, "steps": curve.last_P.tolist()}
    answer["mean"] = _round(curve.mean_P)
    if not curve.is_exact:
        answer |= {"low": _round(curve.low_P), "high": _round(curve.high_P)}
    answer["broken"] = np.flatnonzero(curve.broken_P).tolist()
    return answer


class BadMetrics(ValueError):
    """A request of metrics that cannot be stored; one sentence with the field and the way out."""


def ingest_metrics_request(run: Run, body: bytes) -> int:
    """Store metrics sent over HTTP; how many points were taken, 0 when the batch had been stored before.

    The body is `{"batch": name, "series": {key: {"steps": [...], "values": [...], "times": [...]}}}`; times are
    seconds since 1970 and may be left out; NaN, Infinity and -Infinity are sent as these words, in quotes or not.
    Raises BadMetrics.
    """
    batch, points = parse_metrics(body)
    if not store_batch(run, batch, points):
        return 0
    return sum(len(one.steps) for one in points.values())


def parse_metrics(body: bytes) -> tuple[str, dict[str, Points]]:
    """The batch's name and its points. Raises BadMetrics."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadMetrics(f"the body is no JSON: {error}") from error
    if not isinstance(content, dict) or set(content) - {"batch", "series"}:
        raise BadMetrics('the body must be an object with "batch" and "series" and nothing else')
    batch, series = content.get("batch"), content.get("series")
    if isinstance(batch, bool) or not isinstance(batch, str | int) or not 1 <= len(str(batch)) <= 64:
        raise BadMetrics("batch: give a number or a word of at most 64 characters that no other batch of the run has")
    if not isinstance(series, dict) or not series:
        raise BadMetrics("series: give an object with at least one key")
    return str(batch), {key: _parse_series(key, one) for key, one in series.items()}


def _parse_series(key: str, content: Any) -> Points:
    if not 1 <= len(key) <= 200 or not key.isprintable():
        raise BadMetrics("series: a key has 1 to 200 printable characters")
    if not isinstance(content, dict) or set(content) - {"steps", "values", "times"}:
        raise BadMetrics(f"series.{key}: give an object with steps, values and, if you like, times")
    steps, values = content.get("steps"), content.get("values")
    if not isinstance(steps, list) or not isinstance(values, list) or len(steps) != len(values) or not steps:
        raise BadMetrics(f"series.{key}: steps and values must be lists of equal length with at least one entry")
    times = content.get("times")
    if times is None:
        times = [time.time()] * len(steps)
    if not isinstance(times, list) or len(times) != len(steps):
        raise BadMetrics(f"series.{key}.times: must be a list as long as steps, or be left out")
    for name, column, kinds in (
        ("steps", steps, {int}),
        ("values", values, {int, float, str}),
        ("times", times, {int, float}),
    ):
        if wrong := set(map(type, column)) - kinds:
            raise BadMetrics(f"series.{key}.{name}: holds {wrong.pop().__name__}, which is no number there")
    try:
        points = Points(array("q", steps), _floats(values), array("d", times))
    except (OverflowError, ValueError) as error:
        raise BadMetrics(f"series.{key}: holds what is no number of 64 bits ({error})") from error
    if points.steps and min(points.steps) < 0:
        raise BadMetrics(f"series.{key}.steps: steps count from 0")
    return points


def _floats(values: list[Any]) -> "array[float]":
    if str not in set(map(type, values)):
        return array("d", values)
    if wrong := {one for one in values if isinstance(one, str)} - {"NaN", "Infinity", "-Infinity"}:
        raise ValueError(f"{wrong.pop()!r} is none of NaN, Infinity, -Infinity")
    return array("d", map(float, values))


def _round(values_P: Floats) -> list[float | None]:
    """Six significant digits; null for what is not finite."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values_P.tolist()]


def compact(series: MetricSeries) -> None:
    """Merge small chunks, and sum the full ones up in the higher levels. Changes nothing that a reader sees."""
    waiting = list(series.chunks.filter(level=0, seq__gte=series.sealed_before).order_by("seq"))
    if len(waiting) < 2 and (not waiting or waiting[0].count < CHUNK):
        return
    groups: list[list[MetricChunk]] = []
    for chunk in waiting:
        fits = (
            groups and groups[-1][0].source == chunk.source and sum(c.count for c in groups[-1]) + chunk.count <= CHUNK
        )
        if fits:
            groups[-1].append(chunk)
        else:
            groups.append([chunk])
    merged = [_replace_by_one(group) for group in groups]
    # The last one may still grow; those before it cannot.
    full = merged if merged[-1].count == CHUNK else merged[:-1]
    for chunk in full:
        for level in LEVELS:
            _seal(series, chunk, level)
    if full:
        series.sealed_before = full[-1].seq + 1
        series.save(update_fields=["sealed_before"])


def _lock_series(run: Run, keys: list[str]) -> dict[str, MetricSeries]:
    """The run's series by key, made where missing, locked in one order."""
    locked = {
        one.key: one for one in MetricSeries.objects.select_for_update().filter(run=run, key__in=keys).order_by("key")
    }
    missing = [key for key in keys if key not in locked]
    if missing:
        MetricSeries.objects.bulk_create([MetricSeries(run=run, key=key) for key in missing], ignore_conflicts=True)
        found = MetricSeries.objects.select_for_update().filter(run=run, key__in=missing).order_by("key")
        locked |= {one.key: one for one in found}
    return locked


def _count_in(series: MetricSeries, steps_N: Ints, values_N: Floats) -> None:
    """Bring the summary of the series up to date with new points."""
    finite_N = values_N[np.isfinite(values_N)]
    if len(finite_N):
        lows = [float(finite_N.min())] + ([series.lowest] if series.lowest is not None else [])
        highs = [float(finite_N.max())] + ([series.highest] if series.highest is not None else [])
        series.lowest, series.highest = min(lows), max(highs)
    newest = len(steps_N) - 1 - int(np.argmax(steps_N[::-1]))
    if series.points == 0 or steps_N[newest] >= series.last_step:
        series.last_step = int(steps_N[newest])
        series.last_value = float(values_N[newest]) if np.isfinite(values_N[newest]) else None
    series.points += len(steps_N)


def _trim(series: MetricSeries, first: int, *, before_source: int) -> None:
    """Drop the points that attempts before `before_source` logged from step `first` on, and count anew."""
    superseded = series.chunks.filter(level=0, source__gte=1, source__lt=before_source, last_step__gte=first)
    if not superseded.exists():
        return
    for chunk in superseded:
        steps_N, values_N, times_N = _join([chunk], ordered=False)
        keep = steps_N < first
        if keep.any():
            _fill(chunk, steps_N[keep], values_N[keep], times_N[keep])
            chunk.save()
        else:
            chunk.delete()
    series.chunks.filter(level__gt=0).delete()
    series.sealed_before = 0
    series.points, series.last_step = 0, 0
    series.last_value = series.lowest = series.highest = None
    for chunk in series.chunks.filter(level=0).order_by("seq"):
        _count_in(series, *_join([chunk], ordered=False)[:2])
    compact(series)


def _replace_by_one(group: list[MetricChunk]) -> MetricChunk:
    first, *rest = group
    if not rest:
        return first
    steps_N, values_N, times_N = _join(group, ordered=False)
    MetricChunk.objects.filter(pk__in=[chunk.pk for chunk in rest]).delete()
    _fill(first, steps_N, values_N, times_N)
    first.save()
    return first


def _fill(chunk: MetricChunk, steps_N: Ints, values_N: Floats, times_N: Floats) -> MetricChunk:
    chunk.steps, chunk.values, chunk.times = steps_N.tobytes(), values_N.tobytes(), times_N.tobytes()
    chunk.count, chunk.first_step, chunk.last_step = len(steps_N), int(steps_N.min()), int(steps_N.max())
    return chunk


def _seal(series: MetricSeries, chunk: MetricChunk, level: int) -> None:
    """Add the buckets of one raw chunk to a higher level."""
    raw = single_points(*_join([chunk])[:2])
    new = merge_buckets(raw, np.arange(0, len(raw), FAN**level))
    last = series.chunks.filter(level=level).order_by("-seq").first()
    if last is not None and last.count + len(new) <= CHUNK:
        new = join_buckets([_load(last), new])
        target = last
    else:
        target = MetricChunk(series=series, level=level, seq=0 if last is None else last.seq + 1)
    target.count, target.first_step, target.last_step = len(new), int(new.first_N.min()), int(new.last_N.max())
    target.steps = np.stack([new.first_N, new.last_N]).astype("<i8").tobytes()
    target.values = new.stats_N.tobytes()
    target.save()


def _load(chunk: MetricChunk) -> Buckets:
    first_N, last_N = np.frombuffer(chunk.steps, dtype="<i8").reshape(2, -1)
    return Buckets(first_N, last_N, np.frombuffer(chunk.values, dtype=BUCKET))


def _join(chunks: list[MetricChunk], *, ordered: bool = True) -> tuple[Ints, Floats, Floats]:
    """Steps, values and times of raw chunks, in order of steps unless told otherwise; equal steps keep their order."""
    steps_N: Ints = np.frombuffer(b"".join(bytes(chunk.steps) for chunk in chunks), dtype="<i8")
    values_N: Floats = np.frombuffer(b"".join(bytes(chunk.values) for chunk in chunks), dtype="<f8")
    times_N: Floats = np.frombuffer(b"".join(bytes(chunk.times) for chunk in chunks), dtype="<f8")
    if ordered and len(steps_N) > 1 and (np.diff(steps_N) < 0).any():
        order = np.argsort(steps_N, kind="stable")
        return steps_N[order], values_N[order], times_N[order]
    return steps_N, values_N, times_N


def _cut(
    steps_N: Ints, values_N: Floats, times_N: Floats, start: int | None, stop: int | None
) -> tuple[Ints, Floats, Floats]:
    low = 0 if start is None else int(np.searchsorted(steps_N, start, side="left"))
    high = len(steps_N) if stop is None else int(np.searchsorted(steps_N, stop, side="right"))
    return steps_N[low:high], values_N[low:high], times_N[low:high]


def _within(chunks: QuerySet[MetricChunk], start: int | None, stop: int | None) -> QuerySet[MetricChunk]:
    if start is not None:
        chunks = chunks.filter(last_step__gte=start)
    if stop is not None:
        chunks = chunks.filter(first_step__lte=stop)
    return chunks.order_by("seq")
