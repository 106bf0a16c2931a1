"""The tokens that open a server. Standard library only."""

from pathlib import Path


def read_tokens(path: Path) -> list[bytes]:
    """One token a line, or `name:token`; raises ValueError for a file without any, OSError for one unreadable."""
    entries = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    tokens = [entry.partition(":")[2] or entry for entry in entries if entry and not entry.startswith("#")]
    if not tokens or not all(token.isascii() and token.isprintable() and len(token) >= 8 for token in tokens):
        raise ValueError(f"{path} must hold one token a line, each of 8 or more letters and digits")
    return [token.encode() for token in tokens]
