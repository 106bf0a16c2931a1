"""Replies of an endpoint, kept under the hash of what was asked: what was answered once is never asked again.

One SQLite file in the directory of a build. A reply is whole in it or not at all, also after a kill.
"""

import hashlib
import json
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

SCHEMA = """
CREATE TABLE IF NOT EXISTS reply (
  hash TEXT PRIMARY KEY, request TEXT NOT NULL, text TEXT NOT NULL, finish_reason TEXT NOT NULL,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, counted INTEGER NOT NULL,
  seconds REAL NOT NULL, at REAL NOT NULL
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Reply:
    """What a model answered, or why it did not."""

    text: str = ""
    finish_reason: str = ""
    """As the server names it: `stop`; `length` where the answer was cut off."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    counted: bool = False
    """The server told its tokens."""
    seconds: float = 0.0
    """From the question to the reply, without attempts that failed."""
    kept: bool = False
    """It was on disk and not asked for again."""
    fault: str = ""
    """Why there is no answer, as a sentence; empty where there is one."""

    @property
    def cut(self) -> bool:
        return self.finish_reason == "length"


class Totals(NamedTuple):
    """Sums over every reply on disk."""

    replies: int
    prompt_tokens: int
    completion_tokens: int
    uncounted: int
    """Replies whose server told no tokens."""


class ReplyStore:
    """Used by the threads of one process at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._closed = False
        # Each statement is a transaction of its own.
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=60)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._database.close()

    def find(self, hash: str) -> Reply | None:
        columns = "text, finish_reason, prompt_tokens, completion_tokens, counted, seconds"
        with self._lock:
            if self._closed:
                return None
            found = self._database.execute(f"SELECT {columns} FROM reply WHERE hash = ?", [hash]).fetchone()  # noqa: S608
        if found is None:
            return None
        text, finish_reason, prompt_tokens, completion_tokens, counted, seconds = found
        return Reply(text, finish_reason, prompt_tokens, completion_tokens, bool(counted), seconds, kept=True)

    def keep(self, hash: str, request: dict[str, Any], reply: Reply) -> bool:
        """Whether it was kept: the first reply to a question stays, and nothing comes into a store that is closed."""
        values = [
            hash,
            json.dumps(request, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace").decode(),
            reply.text,
            reply.finish_reason,
            reply.prompt_tokens,
            reply.completion_tokens,
            int(reply.counted),
            reply.seconds,
            time.time(),
        ]
        with self._lock:
            if self._closed:
                return False
            added = self._database.execute("INSERT OR IGNORE INTO reply VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            return added.rowcount == 1

    def total(self) -> Totals:
        query = (
            "SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), "
            "coalesce(sum(1 - counted), 0) FROM reply"
        )
        with self._lock:
            return Totals(*self._database.execute(query).fetchone())


def hash_request(request: dict[str, Any]) -> str:
    """SHA-256 of the request's canonical JSON, in hexadecimal."""
    written = json.dumps(request, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()
