"""What the files of a Hugging Face checkpoint say of themselves, read without torch and without running anything.

Weights are read only as far as the header of each safetensors file. Pickled weights are never opened.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chanote.models.errors import NoCheckpoint

LONGEST_HEADER = 100 * 2**20
LONGEST_CONFIG = 10 * 2**20
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "n_ctx")


@dataclass(frozen=True)
class CheckpointFacts:
    parameters: int
    bytes: int
    """Of all files of the directory."""
    context_length: int | None
    vocabulary: int | None
    architecture: str
    licence: str
    """As the model card in the directory says, else empty."""


def read_checkpoint(directory: Path) -> CheckpointFacts:
    """Raises NoCheckpoint with one sentence where a file is missing, cut off, or of a kind that is not opened."""
    config = _read_config(directory)
    weights = _find_weights(directory)
    if not any((directory / name).is_file() for name in TOKENIZERS):
        raise NoCheckpoint("has no tokenizer; save it beside the weights with tokenizer.save_pretrained(directory)")
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    architectures = config.get("architectures")
    named = architectures[0] if isinstance(architectures, list) and architectures else config.get("model_type", "")
    return CheckpointFacts(
        parameters=sum(count_parameters(path) for path in weights),
        bytes=sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()),
        context_length=next((size for key in CONTEXT_KEYS if (size := _read_size(text, key))), None),
        vocabulary=_read_size(text, "vocab_size"),
        architecture=str(named)[:80],
        licence=_read_licence(directory / "README.md"),
    )


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / "config.json"
    if not path.is_file():
        raise NoCheckpoint("has no config.json, so it is no Hugging Face checkpoint")
    if path.stat().st_size > LONGEST_CONFIG:
        raise NoCheckpoint("has a config.json of more than 10 MB, which is no configuration of a model")
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise NoCheckpoint("has a config.json that is not JSON") from None
    if not isinstance(config, dict) or not (config.get("model_type") or config.get("architectures")):
        raise NoCheckpoint("has a config.json without model_type, so nobody can say what model it is")
    return config


def _find_weights(directory: Path) -> list[Path]:
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError):
            raise NoCheckpoint("has a model.safetensors.index.json that cannot be read") from None
        outside = [name for name in names if not isinstance(name, str) or Path(name).name != name]
        if outside:
            raise NoCheckpoint("has an index that names weights outside its directory")
        missing = [name for name in names if not (directory / name).is_file()]
        if missing:
            raise NoCheckpoint(f"lacks {len(missing)} of {len(names)} files of weights, the first is {missing[0]}")
        return [directory / name for name in names]
    single = directory / "model.safetensors"
    if single.is_file():
        return [single]
    if any(next(directory.glob(pattern), None) for pattern in PICKLED):
        raise NoCheckpoint(
            "holds pickled weights, which can run code when opened; save them with "
            "model.save_pretrained(directory, safe_serialization=True)"
        )
    if (directory / "adapter_model.safetensors").is_file():
        raise NoCheckpoint("holds an adapter only; merge it into its base model and save the result")
    raise NoCheckpoint("has no model.safetensors")


def count_parameters(path: Path) -> int:
    """Numbers in all tensors of a safetensors file, by its header: 8 bytes of length, then JSON."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(LONGEST_HEADER, size - 8):
            raise NoCheckpoint(f"has a file {path.name} that is cut off or no safetensors file")
        raw = file.read(length)
    try:
        header = json.loads(raw)
        tensors = [facts for name, facts in header.items() if name != "__metadata__"]
        end = max((facts["data_offsets"][1] for facts in tensors), default=0)
        total = sum(math.prod(facts["shape"]) for facts in tensors)
    except (ValueError, KeyError, AttributeError, TypeError, IndexError, RecursionError):
        raise NoCheckpoint(f"has a file {path.name} whose header cannot be read") from None
    if not tensors or not isinstance(total, int):
        raise NoCheckpoint(f"has a file {path.name} without tensors")
    if 8 + length + end != size:
        raise NoCheckpoint(f"has a file {path.name} of {size:,} bytes where its header says {8 + length + end:,}")
    return total


def _read_size(config: Any, key: str) -> int | None:
    value = config.get(key) if isinstance(config, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else None


def _read_licence(card: Path) -> str:
    """`license:` of the model card's front matter."""
    try:
        with card.open(encoding="utf-8", errors="replace") as file:
            start = file.read(8192)
    except OSError:
        return ""
    front = re.match(r"---\n(.*?)\n---", start, re.DOTALL)
    line = front and re.search(r"^license:[ \t]*[\"']?([A-Za-z0-9.+-]+)", front[1], re.MULTILINE)
    return line[1][:80] if line else ""
