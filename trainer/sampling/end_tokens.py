"""Which tokens end an answer."""

from typing import Any


def end_token_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokenizer's end token and every one that the model's generation settings name."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = set(named if isinstance(named, list | tuple) else [named])
    ids.add(tokenizer.eos_token_id)
    return frozenset(int(token) for token in ids if token is not None)


def context_length(model: Any) -> int | None:
    """Positions the model was made for; None when its config does not say."""
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    length = getattr(config, "max_position_embeddings", None)
    return int(length) if length else None
