"""Policies that vLLM's CPU build computes (its attention takes heads of 32 and more), and its engine for them."""

from typing import Any

from transformers import LlamaConfig, Qwen2Config, Qwen3Config

from tests.sampler_models import GROUPED

CONTEXT = 96
SHAPES: dict[str, Any] = {
    "qwen 3 tied": lambda: Qwen3Config(**GROUPED, head_dim=32, tie_word_embeddings=True),
    "qwen 3 untied": lambda: Qwen3Config(**GROUPED, head_dim=32, tie_word_embeddings=False),
    "qwen 2 tied": lambda: Qwen2Config(**{**GROUPED, "hidden_size": 128}, tie_word_embeddings=True),
    "llama": lambda: LlamaConfig(**{**GROUPED, "hidden_size": 128}),
}


def open_vllm(model: Any, tokenizer: Any, *, context: int = CONTEXT, mode: str = "processed_logprobs") -> Any:
    """vLLM in this process, given the model's weights."""
    from trainer.contract.vllm import VllmSettings
    from trainer.sampling.vllm_colocated import ColocatedVllm
    from trainer.sampling.vllm_engine import VllmEngine

    backend = ColocatedVllm(model, tokenizer, context=context, mode=mode, settings=VllmSettings())
    return VllmEngine(model, tokenizer, backend, temperature=1.0, top_p=1.0)


def take_weights(model: Any, other: Any) -> None:
    """What an optimiser does: other values in the same tensors."""
    model.load_state_dict(other.state_dict())
