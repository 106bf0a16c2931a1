"""Tokens per CPU-second of the torch engine against `transformers.generate`, one thread, taken in turns.

Model: Qwen3 architecture, 4.2 M parameters, random, fp32. Each pair samples the same prompts of 16 to 64 tokens, 64 new
tokens each at temperature 1, no end token. The engine also returns log-probabilities, which `generate` does not.
"""

import gc
import random
import statistics
import time
from typing import Any

NEW_TOKENS = 64
VOCABULARY = 4096
PAIRS = {8: 15, 64: 7}
"""Pairs of measurements per batch size."""


def measure_sampler(policy: tuple[Any, Any] | None = None) -> dict[str, float]:
    """Ratio of tokens per CPU-second, engine over peer: the median of the pairs, and the lowest and highest pair.

    `policy` is a model with its tokenizer; without it one is made.
    """
    import torch

    from trainer.sampling import TorchEngine

    model, tokenizer = policy or make_policy()
    figures: dict[str, float] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        engine = TorchEngine(model, tokenizer)
        engine.end_tokens = frozenset()
        for batch, pairs in PAIRS.items():
            ratios, own_rates, peer_rates = [], [], []
            for pair in range(-1, pairs):
                prompts = make_prompts(batch, seed=pair)
                # Whoever goes second finds warmer caches, so they take turns at going first.
                order = [(own_rates, sample_with_engine, engine), (peer_rates, sample_with_generate, model)]
                taken = []
                for rates, run, subject in order if pair % 2 else order[::-1]:
                    gc.collect()
                    started = time.process_time()
                    tokens = run(subject, prompts)
                    rate = tokens / (time.process_time() - started)
                    taken.append((rates, rate))
                if pair >= 0:  # the first pair warms both up
                    for rates, rate in taken:
                        rates.append(rate)
                    ratios.append(own_rates[-1] / peer_rates[-1])
            figures[f"trainer.sampler_ratio_{batch}"] = statistics.median(ratios)
            figures[f"trainer.sampler_ratio_{batch}_lowest"] = min(ratios)
            figures[f"trainer.sampler_ratio_{batch}_highest"] = max(ratios)
            figures[f"trainer.sampler_tokens_per_cpu_s_{batch}"] = statistics.median(own_rates)
            figures[f"trainer.sampler_peer_tokens_per_cpu_s_{batch}"] = statistics.median(peer_rates)
    finally:
        torch.set_num_threads(threads)
    return figures


def make_prompts(count: int, *, seed: int) -> list[tuple[int, ...]]:
    draw = random.Random(seed)
    return [tuple(draw.randrange(16, VOCABULARY) for _ in range(draw.randint(16, 64))) for _ in range(count)]


def sample_with_engine(engine: Any, prompts: list[tuple[int, ...]]) -> int:
    from trainer.sampling import SamplingRequest

    completions = engine.sample(
        [
            SamplingRequest(prompt_ids=prompt, max_new_tokens=NEW_TOKENS, temperature=1.0, seed=seed)
            for seed, prompt in enumerate(prompts)
        ]
    )
    return sum(len(completion.logprobs) for completion in completions)


def sample_with_generate(model: Any, prompts: list[tuple[int, ...]]) -> int:
    import torch

    width = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    out = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=NEW_TOKENS,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        eos_token_id=None,
        pad_token_id=0,
    )
    return int(out[:, width:].numel())


def make_policy() -> tuple[Any, Any]:
    """The model and a tokenizer that spells every id, since only decoding is asked of it."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    core = Tokenizer(models.WordLevel({f"w{number}": number for number in range(VOCABULARY)}, unk_token="w0"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="w2", pad_token="w0")
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=256,
            intermediate_size=768,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=64,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=2,
            pad_token_id=0,
        )
    )
    model.generation_config.eos_token_id = None
    return model.eval(), tokenizer


if __name__ == "__main__":
    for name, value in measure_sampler().items():
        print(f"{name:<45} {value:>10.2f}")
