"""Sizes of a decoder, as its config.json tells them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.contract.stages.base import LoraConfig
from trainer.contract.stages.cpt import ModelShape

OWN_PATH = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Architectures that the torch sampler decodes by a copy of their weights."""


@dataclass(frozen=True)
class Dimensions:
    parameters: int
    vocabulary: int
    hidden: int
    layers: int
    query: int
    """Query heads times units of a head."""
    key: int
    heads: int
    key_heads: int
    ffn: int
    """Inner units that a token passes through; of a mixture of experts those of the chosen ones."""
    tied: bool
    """Whether the output head is the embedding."""
    normed_heads: bool
    """Whether queries and keys are normalised."""
    copied_to_sample: bool
    """Whether the torch sampler makes a copy of its weights."""

    @property
    def head_parameters(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def body_parameters(self) -> int:
        """Of all layers together."""
        return max(0, self.parameters - self.head_parameters * (1 if self.tied else 2))

    def adapter_parameters(self, lora: LoraConfig) -> int:
        maps = {
            "q_proj": (self.hidden, self.query),
            "k_proj": (self.hidden, self.key),
            "v_proj": (self.hidden, self.key),
            "o_proj": (self.query, self.hidden),
            "gate_proj": (self.hidden, self.ffn),
            "up_proj": (self.hidden, self.ffn),
            "down_proj": (self.ffn, self.hidden),
        }
        ends = [maps[name] for name in lora.targets or maps if name in maps]
        return self.layers * lora.rank * sum(inputs + outputs for inputs, outputs in ends)


def read_dimensions(config: Mapping[str, Any], parameters: int) -> Dimensions | None:
    """None where the config does not say what is needed. `parameters` counts a tied head once."""
    nested = config.get("text_config")
    text: Mapping[str, Any] = nested if isinstance(nested, Mapping) else config

    def size(*names: str) -> int:
        return next((value for name in names if isinstance(value := text.get(name), int) and value > 0), 0)

    hidden, heads, layers = (
        size("hidden_size", "n_embd"),
        size("num_attention_heads", "n_head"),
        size("num_hidden_layers", "n_layer"),
    )
    vocabulary = size("vocab_size")
    if not (hidden and heads and layers and vocabulary):
        return None
    units = size("head_dim") or hidden // heads
    key_heads = size("num_key_value_heads") or heads
    experts = size("num_experts_per_tok") * size("moe_intermediate_size", "intermediate_size")
    kind = text.get("model_type")
    return Dimensions(
        parameters=parameters,
        vocabulary=vocabulary,
        hidden=hidden,
        layers=layers,
        query=heads * units,
        key=key_heads * units,
        heads=heads,
        key_heads=key_heads,
        ffn=experts or size("intermediate_size", "n_inner") or 4 * hidden,
        tied=bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", True))),
        normed_heads=isinstance(kind, str) and kind.startswith(("qwen3", "gemma3")),
        copied_to_sample=kind in OWN_PATH,
    )


def dimensions_of(shape: ModelShape) -> Dimensions:
    """Of a policy that a stage initialises."""
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    layer = shape.hidden_size * (2 * query + 2 * key + 3 * shape.ffn_size + 2) + 2 * shape.head_dim
    vocabulary = shape.tokenizer.vocab_size
    return Dimensions(
        parameters=shape.layers * layer + shape.hidden_size * (vocabulary + 1),
        vocabulary=vocabulary,
        hidden=shape.hidden_size,
        layers=shape.layers,
        query=query,
        key=key,
        heads=shape.heads,
        key_heads=shape.kv_heads,
        ffn=shape.ffn_size,
        tied=True,
        normed_heads=True,
        copied_to_sample=True,
    )
