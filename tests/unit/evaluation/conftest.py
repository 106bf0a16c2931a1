"""Small models in plain transformers classes: one whose probabilities are known by hand, one with random weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

END = "<|end|>"
CHAT = (
    "{%- for m in messages %}{{- '[' + m.role + ']' + m.content + '" + END + "' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '[assistant]' }}{%- endif %}"
)


@dataclass
class Policy:
    model: Any
    tokenizer: Any

    def ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text))


def make_byte_tokenizer() -> Any:
    """One token per byte, and an end token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END, special=True)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, chat_template=CHAT, clean_up_tokenization_spaces=False
    )


def make_bigram_policy(probabilities: Mapping[str, Mapping[str, float]]) -> Policy:
    """A Qwen3 whose next token depends on the last one alone, with the given probabilities.

    Both residual branches are silenced, embeddings are one-hot, so the last RMSNorm gives sqrt(hidden size) times the
    one-hot vector, and the output head holds log-probabilities divided by it. What is not named shares 1e-6.
    """
    tokenizer = make_byte_tokenizer()
    size = len(tokenizer)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=size,
            hidden_size=size,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            num_key_value_heads=1,
            head_dim=8,
            max_position_embeddings=64,
            tie_word_embeddings=False,
            rms_norm_eps=1e-12,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=None,
        )
    )
    table = torch.full((size, size), 1e-6 / size, dtype=torch.float64)
    for before, following in probabilities.items():
        for after, probability in following.items():
            table[_only(tokenizer, before), _only(tokenizer, after)] = probability
    logits = (table / table.sum(dim=1, keepdim=True)).log()
    with torch.no_grad():
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        model.lm_head.weight.copy_((logits.T / size**0.5).float())
    return Policy(model.eval(), tokenizer)


def make_random_policy() -> Policy:
    """Random weights, large enough that greedy answers differ between prompts and depend on all of the context."""
    tokenizer = make_byte_tokenizer()
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=128,
            tie_word_embeddings=True,
            initializer_range=0.3,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=None,
        )
    )
    return Policy(model.eval(), tokenizer)


def _only(tokenizer: Any, text: str) -> int:
    ids = tokenizer.encode(text)
    assert len(ids) == 1, f"{text} is {len(ids)} tokens"
    return int(ids[0])


@pytest.fixture
def bigram() -> Any:
    return make_bigram_policy


@pytest.fixture(scope="session")
def random_policy() -> Policy:
    return make_random_policy()
