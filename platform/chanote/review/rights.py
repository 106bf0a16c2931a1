"""What may be done with rows made of rollouts: only what every dataset allows that speaks in them."""

from typing import Any

from chanote.accounts.models import Project
from chanote.datasets.errors import refuse
from chanote.datasets.models import DatasetVersion, Use
from chanote.datasets.selectors import find_version
from chanote.models.teachers import join_terms
from chanote.review.conversations import Unspoken
from chanote.rights.rules import has_withdrawn, is_row_withdrawn, judge_version
from chanote.rights.spans import read_sources
from chanote.runs.models import Run
from trainer.contract.rollouts import StoredRollout

LONGEST = DatasetVersion._meta.get_field("licence").max_length or 0
UNSPELLED = "LicenseRef-see-source"
"""Where the terms of the sources cannot be joined in one expression that a dataset takes."""


class Sources:
    """The dataset versions that the conversations of rollouts come from, as far as they were asked for."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._found: dict[str, DatasetVersion] = {}
        self.read: set[str] = set()
        """Versions that tools read, whose words may stand in any row."""

    def find(self, run: Run, rollout: StoredRollout) -> DatasetVersion:
        """The version that holds the prompt's row; the corpus of the run's tools is noted where they were called.

        Raises ImportRefused when its rights cannot be known, Unspoken when the row or the corpus was withdrawn: no copy
        of them is made.
        """
        frozen = run.snapshot.get("datasets") or {}
        reference, _, number = rollout.row.rpartition("#")
        version = self._take(run, reference, frozen.get(reference))
        if number.isdecimal() and is_row_withdrawn(version, int(number) + 1):
            raise Unspoken(f"comes from row {int(number) + 1:,} of {reference}, which was withdrawn")
        if len(rollout.turns) > 1:
            corpus = (run.snapshot.get("toolset") or {}).get("corpus") or {}
            if corpus:
                read = self._take(run, str(corpus.get("dataset", "")), corpus)
                if has_withdrawn(read):
                    raise Unspoken(f"read {read.reference}, of which something was withdrawn")
                self.read.add(read.reference)
        return version

    def _take(self, run: Run, reference: str, frozen: Any) -> DatasetVersion:
        if reference in self._found:
            return self._found[reference]
        try:
            version = find_version(self._project, reference) if "@" in reference else None
        except DatasetVersion.DoesNotExist:
            version = None
        if version is None or (frozen or {}).get("sha256") not in (None, version.sha256):
            raise refuse(
                "labels",
                f"Rollouts of run {run.number} come from {reference[:80] or 'no dataset'}, which the project no longer "
                "has, so nobody can tell what its rights allow; restore it, or export the labels of other runs.",
            )
        self._found[reference] = version
        return version

    @property
    def names(self) -> list[str]:
        return sorted(self._found)

    @property
    def versions(self) -> list[DatasetVersion]:
        return [self._found[name] for name in self.names]

    @property
    def uses(self) -> list[str]:
        """What the rules on rights let pass today with every one of them. An exception for a version does not pass on
        to what is made of it."""
        return [use for use in Use.values if not any(self._closed(version, use) for version in self._found.values())]

    @staticmethod
    def _closed(version: DatasetVersion, use: str) -> bool:
        judgement = judge_version(version, use)
        return bool(judgement.refusals or judgement.exceptions)

    def source_of(self, row: dict[str, Any]) -> int | None:
        """Source of a row that was made of a rollout: that of its prompt."""
        about = row.get("rollout") or row["chosen_from"]["rollout"]
        reference, _, number = about["row"].rpartition("#")
        return next(read_sources(self._found[reference], int(number), int(number) + 1))

    @property
    def non_commercial(self) -> bool:
        return any(version.non_commercial for version in self._found.values())

    @property
    def licence(self) -> str:
        joined = join_terms([self._found[name].licence for name in self.names])
        return joined if joined and len(joined) <= LONGEST and "(" not in joined else UNSPELLED
