"""Spans: which rows come from which source, written as rows pass by and read beside them."""

from collections.abc import Iterable, Iterator

from chanote.datasets.models import DatasetVersion
from chanote.rights.models import SourceSpan


class SpanWriter:
    """Collects the source of each row, one call a row in their order, into as few spans as there can be."""

    def __init__(self) -> None:
        self.rows = 0
        self._spans: list[tuple[int, int, int]] = []
        """Source, start, stop."""

    def add(self, source: int | None) -> None:
        """The next row comes from `source`; None where nothing is known."""
        if source is not None:
            last = self._spans[-1] if self._spans else None
            if last and last[0] == source and last[2] == self.rows:
                self._spans[-1] = (source, last[1], self.rows + 1)
            else:
                self._spans.append((source, self.rows, self.rows + 1))
        self.rows += 1

    def cover(self, source: int, rows: int) -> None:
        """All rows come from one source."""
        self._spans, self.rows = [(source, 0, rows)], rows

    def are_those_of(self, version: DatasetVersion) -> bool:
        """Whether every row comes from where the same row of the version does."""
        stored = version.spans.order_by("start").values_list("source_id", "start", "stop")
        return list(stored[: len(self._spans) + 1]) == self._spans

    def save(self, version: DatasetVersion) -> None:
        """Write the spans of a version that has just been made, in the transaction of its making."""
        SourceSpan.objects.bulk_create(
            (
                SourceSpan(version=version, source_id=source, start=start, stop=stop)
                for source, start, stop in self._spans
            ),
            batch_size=1000,
        )


def read_sources(version: DatasetVersion, start: int, stop: int) -> Iterator[int | None]:
    """Primary key of the source of each row from `start` to `stop`, None for a row without one."""
    spans: Iterable[tuple[int, int, int]] = (
        SourceSpan.objects.filter(version=version, stop__gt=start, start__lt=stop)
        .order_by("start")
        .values_list("source_id", "start", "stop")
        .iterator(chunk_size=5000)
    )
    row = start
    for source, first, end in spans:
        while row < min(first, stop):
            yield None
            row += 1
        while row < min(end, stop):
            yield source
            row += 1
    while row < stop:
        yield None
        row += 1
