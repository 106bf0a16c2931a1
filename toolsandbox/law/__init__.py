"""Legal search and reading."""
