"""Parquet, read in small batches of rows."""

import math
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, BinaryIO

from chanote.datasets.errors import BadRow, RowError, refuse

BATCH = 128
BUFFER = 1 << 20


def read_parquet(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any]] | BadRow]:
    """(row number, values by column). Times become ISO 8601 text, exact decimals their digits."""
    # Loaded only here: the library takes 60 MB that a web process without imports does not need.
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        # Without a buffer size a whole column chunk would be read at once.
        source = pyarrow.parquet.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)
        for batch in source.iter_batches(batch_size=BATCH, use_threads=False):
            for row in batch.to_pylist():
                number += 1
                try:
                    yield number, {column: _to_json(column, value) for column, value in row.items()}
                except RowError as error:
                    yield BadRow(number, str(error))
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise refuse("file", f"The file cannot be read as Parquet after row {number:,}: {reason}.") from error


def _to_json(column: str, value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RowError(f"{column} holds {value}, which is no JSON number; use null")
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        # A struct column gives every field to every row; a field that is null was not given.
        return {str(key): _to_json(column, inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_to_json(column, inner) for inner in value]
    raise RowError(f"{column} holds {type(value).__name__}, which cannot be written as JSON; leave the column out")
