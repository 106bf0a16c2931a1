"""Answers kept as they come, so that an evaluation that was ended early goes on where it was."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer.contract.events import ScoredSample
from trainer.evaluation.errors import TaskError


class KeptAnswers:
    """`<samples>.partial`: what the answers are of, then a sample a line as it comes. What was left out is not kept:
    when the evaluation goes on, it is asked again."""

    def __init__(self, path: Path, key: str) -> None:
        """Raises TaskError where the file holds answers of another evaluation, or cannot be written."""
        self.path, self.partial, self.key = path, path.with_name(f"{path.name}.partial"), key
        self.samples: dict[str, ScoredSample] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = self.partial.read_bytes().splitlines() if self.partial.is_file() else []
            if lines:
                self._read(lines)
            self._write_anew()
            self._file = self.partial.open("a", encoding="utf-8")
        except OSError as error:
            raise TaskError(f"--out: {self.partial} cannot be written: {error.strerror}; choose another") from error

    def add(self, sample: ScoredSample) -> None:
        if sample.status != "left_out":
            self.samples[sample.item] = sample
            self._file.write(sample.model_dump_json() + "\n")
            self._file.flush()

    def finish(self, samples: Sequence[ScoredSample]) -> None:
        """Write the samples file, complete or not at all. Without anything left out nothing is there to be asked
        again."""
        self._file.close()
        _write(self.path, [sample.model_dump_json() for sample in samples])
        if not any(sample.status == "left_out" for sample in samples):
            self.partial.unlink()

    def close(self) -> None:
        self._file.close()

    def _read(self, lines: list[bytes]) -> None:
        head, *rest = lines
        if _load(head) != {"evaluation": self.key}:
            raise TaskError(
                f"--out: {self.partial} holds answers to another task, from another model or with other tools; remove "
                "it or choose another folder"
            )
        for line in rest:
            try:
                sample = ScoredSample.model_validate_json(line)
            except ValidationError:
                continue  # torn by a crash: it is asked again
            self.samples[sample.item] = sample

    def _write_anew(self) -> None:
        """Without a last line that was torn, to which the next one would be glued."""
        head = json.dumps({"evaluation": self.key})
        _write(self.partial, [head, *(sample.model_dump_json() for sample in self.samples.values())])


def _load(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _write(path: Path, lines: Sequence[str]) -> None:
    new = path.with_name(f"{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
