"""Inspect: `.eval` (a ZIP with `header.json` and `samples/*.json`, deflated or zstd) and the same log whole as `.json`.

Epochs of a sample are averaged: the sample is the unit. A sample with an error or without a score is kept without one.
"""

import io
import json
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

import zstandard

from chanote.boards.importing.rows import (
    ImportedItem,
    ImportedResult,
    NotReadable,
    Parsed,
    Status,
    as_number,
    as_text,
    read_json,
)

VALUES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
MEMBER_BYTES = 64 * 2**20
"""Most that one member may unpack to: a sample is a conversation, not a bomb."""
ALL_BYTES = 2 * 2**30
_ZSTD = 93


def looks_like(name: str, first: Any) -> bool:
    return isinstance(first, dict) and "eval" in first and "results" in first


def read(name: str, data: bytes, beside: bytes | None = None) -> Parsed:
    log, samples = _read_zip(data) if data[:2] == b"PK" else _read_whole(data)
    parsed = Parsed()
    told: dict[str, Any] = log.get("eval") or {}
    held: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for place, sample in enumerate(samples, start=1):
        if not isinstance(sample, dict) or "id" not in sample:
            parsed.skipped.append(f"sample {place}: no id")
            continue
        scores = sample.get("scores") or {}
        for scorer in scores:
            held.setdefault(scorer, {}).setdefault(as_text(sample["id"]), []).append(sample)
        if not scores:
            parsed.skipped.append(f"sample {as_text(sample['id'])}: no scores ({_why(sample)})")
    results = log.get("results") or {}
    for scorer, by_item in held.items():
        metrics = _find_metrics(results, scorer)
        parsed.results.append(
            ImportedResult(
                task=as_text(told.get("task")).rpartition("/")[2],
                metric=scorer,
                items=[_join(item, epochs, scorer) for item, epochs in by_item.items()],
                model=as_text(told.get("model")),
                reported_mean=_value(metrics, "accuracy", "mean"),
                reported_error=_value(metrics, "stderr"),
                settings={
                    "harness": "inspect",
                    "version": told.get("task_version"),
                    "epochs": (told.get("config") or {}).get("epochs"),
                    "arguments": told.get("task_args") or None,
                },
                decoding={**((log.get("plan") or {}).get("config") or {}), **(told.get("model_generate_config") or {})},
                program=as_text((told.get("packages") or {}).get("inspect_ai")),
            )
        )
    return parsed


def _join(item: str, epochs: list[dict[str, Any]], scorer: str) -> ImportedItem:
    values = [_score((sample.get("scores") or {}).get(scorer)) for sample in epochs]
    known = [value for value in values if value is not None]
    last = epochs[-1]
    status: Status = (
        "ok" if len(known) == len(values) else "error" if any(s.get("error") for s in epochs) else "unparsable"
    )
    if last.get("limit"):
        status = "truncated"
    answer = (last.get("scores") or {}).get(scorer) or {}
    output = last.get("output") or {}
    return ImportedItem(
        item=item,
        score=sum(known) / len(values) if known else None,
        prompt=as_text(last.get("input")),
        output=as_text(output.get("completion") or answer.get("answer") or ""),
        target=as_text(last.get("target")),
        status=status,
    )


def _score(found: Any) -> float | None:
    value = found.get("value") if isinstance(found, dict) else None
    return VALUES[value] if isinstance(value, str) and value in VALUES else as_number(value)


def _find_metrics(results: dict[str, Any], scorer: str) -> dict[str, Any]:
    for one in results.get("scores") or []:
        if isinstance(one, dict) and scorer in (one.get("name"), one.get("scorer")):
            return one.get("metrics") or {}
    return {}


def _value(metrics: dict[str, Any], *names: str) -> float | None:
    return next((as_number((metrics[name] or {}).get("value")) for name in names if name in metrics), None)


def _why(sample: dict[str, Any]) -> str:
    error = sample.get("error")
    return as_text(error.get("message"))[:200] if isinstance(error, dict) else "it was not scored"


def _read_whole(data: bytes) -> tuple[dict[str, Any], list[Any]]:
    log = read_json(data)
    if not isinstance(log, dict):
        raise NotReadable("it is no log of Inspect")
    return log, log.get("samples") or []


def _read_zip(data: bytes) -> tuple[dict[str, Any], list[Any]]:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        names = set(archive.namelist())
        if "header.json" not in names:
            raise NotReadable("it has no header.json: the evaluation did not finish")
        return read_json(_member(archive, data, "header.json")), list(_read_samples(archive, data))
    except (zipfile.BadZipFile, zstandard.ZstdError, struct.error, EOFError) as error:
        raise NotReadable(f"its archive is broken: {error}") from error


def _read_samples(archive: zipfile.ZipFile, data: bytes) -> Iterator[Any]:
    total = 0
    for entry in archive.infolist():
        if entry.filename.startswith("samples/") and entry.filename.endswith(".json"):
            text = _member(archive, data, entry.filename)
            total += len(text)
            if total > ALL_BYTES:
                raise NotReadable("its samples unpack to more than 2 GB; export a part of them")
            yield json.loads(text)


def _member(archive: zipfile.ZipFile, data: bytes, name: str) -> bytes:
    """Python reads zstd members from 3.14 on; until then the raw bytes are unpacked here."""
    entry = archive.getinfo(name)
    if entry.file_size > MEMBER_BYTES:
        raise NotReadable(f"{name} unpacks to more than {MEMBER_BYTES // 2**20} MB")
    if entry.compress_type != _ZSTD:
        with archive.open(entry) as file:
            return file.read(MEMBER_BYTES)
    length, extra = struct.unpack("<HH", data[entry.header_offset + 26 : entry.header_offset + 30])
    start = entry.header_offset + 30 + length + extra
    packed = data[start : start + entry.compress_size]
    return zstandard.ZstdDecompressor().decompressobj().decompress(packed)[: MEMBER_BYTES + 1]
