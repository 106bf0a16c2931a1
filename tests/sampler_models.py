"""Small random models of several architectures for the tests of sampling, and the log-probabilities they give."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, models
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from trainer.sampling import Completion, SamplingRequest

VOCABULARY = 200
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": None,
}
GROUPED = {**SHAPE, "num_key_value_heads": 2}

LLAMA_SHAPED: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**SHAPE),
    "llama with biases": lambda: LlamaConfig(**GROUPED, attention_bias=True, mlp_bias=True, head_dim=20),
    "llama 3": lambda: LlamaConfig(
        **GROUPED,
        tie_word_embeddings=True,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
    ),
    "qwen 2 with yarn": lambda: Qwen2Config(
        **GROUPED,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ),
    "mistral": lambda: MistralConfig(**GROUPED),
    "qwen 2": lambda: Qwen2Config(**GROUPED, tie_word_embeddings=True),
    "qwen 3": lambda: Qwen3Config(**GROUPED, head_dim=16, tie_word_embeddings=True),
    "qwen 3 untied": lambda: Qwen3Config(**GROUPED, head_dim=32, tie_word_embeddings=False),
}
OTHERS: dict[str, Callable[[], Any]] = {
    "gpt_neox": lambda: GPTNeoXConfig(**SHAPE),
    "gemma": lambda: GemmaConfig(**GROUPED, head_dim=16),
}


def make_model(config: Any, *, seed: int = 0) -> Any:
    """Weights that matter: biases and norms are random too, and attention is far from uniform."""
    generator = torch.Generator().manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            gain = "norm" in name and name.endswith("weight")
            weight.normal_(0.0, 0.2 if weight.dim() == 1 else 0.14, generator=generator)
            if gain and config.model_type != "gemma":
                weight.add_(1.0)
    model.generation_config.eos_token_id = None
    return model.eval()


def make_tokenizer() -> Any:
    core = Tokenizer(models.WordLevel({f"w{number}": number for number in range(VOCABULARY)}, unk_token="w0"))
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="w1", unk_token="w0")


def make_requests(count: int, **changes: Any) -> list[SamplingRequest]:
    """Random prompts of 3 to 30 tokens, a seed for each."""
    generator = torch.Generator().manual_seed(7)
    requests = []
    for seed in range(count):
        length = int(torch.randint(3, 31, (1,), generator=generator))
        prompt = tuple(torch.randint(2, VOCABULARY, (length,), generator=generator).tolist())
        settings = {"max_new_tokens": 12, "temperature": 1.0, "seed": seed, **changes}
        requests.append(SamplingRequest(prompt_ids=prompt, **settings))
    return requests


@torch.no_grad()
def forward_logprobs(model: Any, request: SamplingRequest, completion: Completion) -> list[float]:
    """The completion's log-probabilities from one plain forward pass over prompt and completion, in doubles."""
    ids = torch.tensor([[*request.prompt_ids, *completion.token_ids]])
    logits = model(ids).logits[0].double() / (request.temperature or 1.0)
    logp = logits[len(request.prompt_ids) - 1 : -1].log_softmax(-1)
    return logp.gather(1, torch.tensor(completion.token_ids)[:, None])[:, 0].tolist()


def largest_error(model: Any, requests: Sequence[SamplingRequest], completions: Sequence[Completion]) -> float:
    return max(
        abs(own - expected)
        for request, completion in zip(requests, completions, strict=True)
        for own, expected in zip(completion.logprobs, forward_logprobs(model, request, completion), strict=True)
    )
