"""The policy: a causal model with its tokenizer, loaded, initialised, asked for likelihoods, saved."""

import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from trainer.adapters import has_adapter, merged_weights, remove_adapter
from trainer.attention import PER_DOCUMENT
from trainer.contract.stages.cpt import ModelShape
from trainer.data.batch import TokenBatch, flatten
from trainer.data.prefixes import share_prefixes
from trainer.failures import InvalidSpec
from trainer.losses import IGNORED, summed_nll, token_logprobs
from trainer.sharding import gathered, is_sharded, read_whole
from trainer.tokenizer import DOCUMENT_END, TURN_END, load_tokenizer

transformers_logging.disable_progress_bar()

ISOLATION_TOLERANCE = 1e-3
"""Largest difference of a logit between a document alone and the same document among others, by the model's scale."""


@dataclass
class Policy:
    """The model being trained. Weights are fp32 whatever the base was saved in."""

    model: Any
    tokenizer: Any
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of matrix products in forward and backward passes; weights, gradients and moments stay fp32 either way."""
    ranks: int = 1
    """Over how many its weights are cut, if they are."""
    fetch: Callable[[], None] | None = None
    """Brings weights back that are kept elsewhere, see `trainer.swap`; called before every pass."""

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def context_length(self) -> int | None:
        length = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return None if length is None else int(length)

    def count_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    def hidden(self, batch: TokenBatch) -> Tensor:
        """Last hidden states (N, H) of a flat batch; no document sees another."""
        if self.fetch is not None:
            self.fetch()
        shared = batch.shared
        read = self.model.read_states if self.sharded else self.model.base_model
        with self.computing():
            output = read(
                input_ids=(batch.ids_N if shared is None else shared.ids_M)[None],
                position_ids=(batch.positions_N if shared is None else shared.positions_M)[None],
                use_cache=False,
                document_lengths=batch.document_lengths if shared is None else shared.segment_lengths,
                stems=None if shared is None else shared.stems,
            )
        states: Tensor = output.last_hidden_state[0]
        if self.precision == "bf16":  # norms give fp32 under autocast, and the head would then be computed in it
            states = states.to(torch.bfloat16)
        return states if shared is None else states.index_select(0, shared.place_N)

    @overload
    def logprobs(
        self, batch: TokenBatch, *, temperature: float = 1.0, with_entropy: Literal[False] = False
    ) -> Tensor: ...

    @overload
    def logprobs(
        self, batch: TokenBatch, *, temperature: float = 1.0, with_entropy: Literal[True]
    ) -> tuple[Tensor, Tensor]: ...

    def logprobs(
        self, batch: TokenBatch, *, temperature: float = 1.0, with_entropy: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """log p of the K targets of the batch, in their order; the head is computed at these positions only.

        `with_entropy` adds, without gradient, the entropy of the distribution at each of them.
        """
        kept_N = batch.labels_N != IGNORED
        hidden_KH, labels_K = self.hidden(batch)[kept_N], batch.labels_N[kept_N]
        weight_VH = self.model.get_output_embeddings().weight
        if with_entropy:
            return token_logprobs(hidden_KH, weight_VH, labels_K, temperature=temperature, with_entropy=True)
        return token_logprobs(hidden_KH, weight_VH, labels_K, temperature=temperature)

    def summed_nll(self, batch: TokenBatch) -> Tensor:
        """Σ −log p(target) over the targets of the batch."""
        if batch.targets == 0:
            return torch.zeros((), device=self.device)
        return summed_nll(self.hidden(batch), self.model.get_output_embeddings().weight, batch.labels_N)

    @property
    def sharded(self) -> bool:
        return is_sharded(self.model)

    def gathered(self) -> AbstractContextManager[None]:
        """Within, passes may differ from rank to rank."""
        return gathered(self.model)

    def computing(self) -> AbstractContextManager[Any]:
        """Within, matrix products have the policy's precision."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def differentiate(self, loss: Tensor) -> None:
        """Add the loss's gradient; FSDP takes the mean over ranks where the sum is wanted."""
        (loss * self.ranks if self.sharded else loss).backward()

    def pass_idle(self) -> None:
        """Go along with the passes of other ranks without adding to the gradient."""
        if not self.sharded:
            return
        batch = flatten([(np.zeros(2, np.int32), np.ones(2, np.bool_))], device=self.device)
        loss = self.hidden(batch).sum() + self.model.get_output_embeddings().weight.sum()
        (loss * 0.0).backward()

    def whole_weights(self) -> dict[str, Tensor] | None:
        """Weights by the names that plain transformers knows, gathered from all ranks; None where `model` holds them
        so itself.
        """
        if not self.sharded and not has_adapter(self.model):
            return None
        tied = set(self.model._tied_weights_keys or ()) if self.model.config.tie_word_embeddings else set()
        return {
            name: read_whole(weight.detach()).cpu().contiguous()
            for name, weight in merged_weights(self.model).items()
            if name not in tied
        }

    def copy_frozen(self) -> "Policy":
        """The same policy with weights of its own that never change; whole even where this one is cut over ranks."""
        model = self._copy_whole() if self.sharded else copy.deepcopy(self.model)
        if has_adapter(model):
            remove_adapter(model)
        model.eval().requires_grad_(False)
        return Policy(model, self.tokenizer, self.precision)

    def drop_adapter(self) -> None:
        """Add the adapter into the weights for good."""
        if self.sharded:
            self.make_whole()
        else:
            remove_adapter(self.model)

    def make_whole(self) -> None:
        """Undo the cutting: every rank holds all weights again."""
        self.model = self._copy_whole()

    def _copy_whole(self) -> Any:
        model = type(self.model).__mro__[2](self.model.config)  # the class that FSDP derived its own from
        weights = self.whole_weights()
        assert weights is not None
        missing, unexpected = model.load_state_dict(weights, strict=False)
        assert not unexpected
        assert set(missing) <= set(self.model._tied_weights_keys or ())
        model.generation_config = self.model.generation_config
        return model.to(self.device).train(self.model.training)

    def end_answers_with(self, token: str) -> None:
        """Let `token` end a generated answer, beside the tokens that already do."""
        settings = self.model.generation_config
        ends = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
        added = self.tokenizer.convert_tokens_to_ids(token)
        settings.eos_token_id = [added, *(end for end in ends if end not in (None, added))]

    def train_on_documents(self) -> None:
        """Training mode with attention within documents."""
        self.model.set_attn_implementation(PER_DOCUMENT)
        self.model.train()

    def answer_plainly(self) -> None:
        """Evaluation mode with the ordinary attention of transformers."""
        self.model.set_attn_implementation("sdpa")
        self.model.eval()

    def save(self, directory: Path, weights: dict[str, Tensor] | None = None) -> None:
        """What plain transformers loads: safetensors, configs, tokenizer. `weights` come from `whole_weights`."""
        self.model.save_pretrained(directory, state_dict=weights)
        self.tokenizer.save_pretrained(directory)


def load_policy(directory: Path, *, device: torch.device, field: str) -> Policy:
    """Read a Hugging Face directory. `field` is where the spec names it, for the message when it cannot be used."""
    try:
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, local_files_only=True)
        policy = Policy(torch.nn.Module.to(model, device), load_tokenizer(directory))
    except (OSError, ValueError, KeyError) as error:
        raise InvalidSpec(f"{field}: {directory} does not load as a causal model with tokenizer: {error}") from error
    _check_isolation(policy, field)
    return policy


def initialise_policy(shape: ModelShape, tokenizer: Any, *, seed: int, device: torch.device) -> Policy:
    """Random weights of the Qwen3 architecture with tied embeddings.

    Linear weights ~ N(0, linear_std²); those that write into the residual stream (attention and feed-forward output)
    have linear_std / sqrt(2 · layers), so that its variance does not grow with depth (GPT-2, section 2.3).
    """
    from transformers import GenerationConfig
    from transformers.models.qwen3 import Qwen3Config, Qwen3ForCausalLM

    ends = [tokenizer.convert_tokens_to_ids(token) for token in (TURN_END, DOCUMENT_END)]
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.ffn_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.context_length,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=True,
        initializer_range=shape.linear_std,
        eos_token_id=ends[1],
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=tokenizer.pad_token_id)
    generator = torch.Generator().manual_seed(seed)
    output_std = shape.linear_std / math.sqrt(2 * shape.layers)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("q_norm.weight", "k_norm.weight")):
                weight.fill_(shape.qk_gain)
            elif name.endswith("norm.weight"):
                weight.fill_(1.0)
            elif name.endswith("embed_tokens.weight"):
                weight.normal_(0.0, shape.embedding_std, generator=generator)
            elif name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.normal_(0.0, output_std, generator=generator)
            else:
                weight.normal_(0.0, shape.linear_std, generator=generator)
    return Policy(torch.nn.Module.to(model, device), tokenizer)


@torch.no_grad()
def _check_isolation(policy: Policy, field: str) -> None:
    """Compare our flat pass with the model's own pass over each document alone, before anything is trained.

    Catches what would go wrong silently: attention that is not exchangeable, capped or scaled logits, head biases.
    """
    draw = np.random.default_rng(0)
    first, second, third = (draw.integers(len(policy.tokenizer), size=size, dtype=np.int32) for size in (9, 7, 5))
    second[:4] = first[:4]
    documents = [(ids, np.ones(len(ids), dtype=np.bool_)) for ids in (first, second, third)]
    batch = flatten(documents, device=policy.device)
    batch = replace(batch, shared=share_prefixes(documents, device=policy.device, shortest=4))
    policy.answer_plainly()
    alone_NV = torch.cat([policy.model(ids[None]).logits[0] for ids in batch.ids_N.split(batch.document_lengths)])
    try:
        policy.train_on_documents()
        policy.model.eval()
        packed_NV = policy.hidden(batch) @ policy.model.get_output_embeddings().weight.T
        difference = (packed_NV - alone_NV).abs().max().item() / max(1.0, alone_NV.abs().max().item())
    except (NotImplementedError, ValueError, TypeError) as error:
        raise InvalidSpec(f"{field}: this model cannot train on packed documents: {error}.") from error
    if not difference <= ISOLATION_TOLERANCE:
        raise InvalidSpec(
            f"{field}: packed documents would influence each other in this model (logits differ by {difference:.2g}); "
            "choose a model of another architecture."
        )
