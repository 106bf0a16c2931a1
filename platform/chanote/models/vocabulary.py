"""Whether two models write the same tokens, read from their `tokenizer.json` without loading a tokenizer."""

import json
from functools import lru_cache
from pathlib import Path


def compare_vocabularies(one: Path, other: Path) -> str:
    """The first difference in words; empty when token ids agree or a directory has no `tokenizer.json` to read."""
    first, second = (_read(directory) for directory in (one, other))
    if first is None or second is None or first == second:
        return ""
    if len(first) != len(second):
        return f"{len(second):,} tokens against {len(first):,}"
    token = min(token for token in first if first[token] != second.get(token))
    return f"the token {token!r} is number {second.get(token, 'none')} there and {first[token]} here"


def _read(directory: Path) -> dict[str, int] | None:
    path = directory / "tokenizer.json"
    try:
        facts = path.stat()
    except OSError:
        return None
    return _read_file(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=8)
def _read_file(path: Path, changed: int, size: int) -> dict[str, int] | None:
    """Token → id. A form asks at every keystroke, so that a file is read again only once it has changed."""
    try:
        content = json.loads(path.read_bytes())
        vocabulary = content["model"]["vocab"]
        added = {token["content"]: token["id"] for token in content.get("added_tokens", [])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if isinstance(vocabulary, list):  # unigram models list [token, score] in the order of the ids
        vocabulary = {entry[0]: number for number, entry in enumerate(vocabulary)}
    return {**vocabulary, **added}
