"""Looking at blocks, in this process or in several. Nothing here touches the database."""

import json
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chanote.checks.base import Check
from chanote.checks.block import Block
from chanote.checks.parts import part_path, write_part


@dataclass(frozen=True)
class Plan:
    """A check with everything it needs, in a form that goes to another process."""

    name: str
    key: str
    """Hash of checker, version, settings and what rows are held against."""
    settings: dict[str, Any]
    against: dict[str, Any]
    folder: str = ""

    def build(self) -> Check:
        from chanote.checks.checkers import CHECKS

        check = CHECKS[self.name]
        settings = check.settings_class.model_validate(self.settings)
        return check(settings, self.against, Path(self.folder) if self.folder else None)


class Looker:
    """Looks at blocks with some checks and keeps the parts."""

    def __init__(self, plans: list[Plan], kind: str, parts: Path) -> None:
        self.checks = {plan.key: plan.build() for plan in plans}
        self.kind, self.parts = kind, parts

    def look(self, lines: list[bytes], block_hash: str, keys: list[str]) -> int:
        block = Block(self.kind, lines)
        for key in keys:
            write_part(part_path(self.parts, key, block_hash), self.checks[key].look(block))
        return len(lines)


_LOOKER: Looker | None = None


def _begin(told: Path, kind: str, parts: Path) -> None:
    global _LOOKER
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _LOOKER = Looker([Plan(**plan) for plan in json.loads(told.read_bytes())], kind, parts)


def _end_with_parent() -> None:
    """A killed parent tells nobody: its pool would wait for work for ever."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _look(lines: list[bytes], block_hash: str, keys: list[str]) -> int:
    assert _LOOKER is not None
    return _LOOKER.look(lines, block_hash, keys)


class Pool:
    """A few blocks at a time in other processes, so that memory stays what a few blocks take."""

    def __init__(self, executor: ProcessPoolExecutor, most: int) -> None:
        self.executor, self.most = executor, most
        self.waiting: set[Future[int]] = set()
        self.rows = 0

    def look(self, lines: list[bytes], block_hash: str, keys: list[str]) -> None:
        while len(self.waiting) >= self.most:
            self._take()
        self.waiting.add(self.executor.submit(_look, lines, block_hash, keys))

    def finish(self) -> None:
        while self.waiting:
            self._take()

    def _take(self) -> None:
        done, self.waiting = wait(self.waiting, return_when=FIRST_COMPLETED)
        for future in done:
            self.rows += future.result()


class Here:
    """The same in this process."""

    def __init__(self, looker: Looker) -> None:
        self.looker = looker
        self.rows = 0

    def look(self, lines: list[bytes], block_hash: str, keys: list[str]) -> None:
        self.rows += self.looker.look(lines, block_hash, keys)

    def finish(self) -> None:
        pass


@contextmanager
def open_lookers(plans: list[Plan], kind: str, parts: Path, scratch: Path, processes: int) -> Iterator[Pool | Here]:
    """`processes` below 2: all in this one."""
    if processes < 2 or not plans:
        yield Here(Looker(plans, kind, parts))
        return
    # By a file: what is written to a process that dies as it starts fills the pipe, and the writer waits for ever.
    told = scratch / "plans.json"
    scratch.mkdir(parents=True, exist_ok=True)
    told.write_text(json.dumps([asdict(plan) for plan in plans]), encoding="utf-8")
    # Not by fork: the process that does errands has threads.
    executor = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(told, kind, parts)
    )
    try:
        yield Pool(executor, 2 * processes)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        told.unlink(missing_ok=True)
