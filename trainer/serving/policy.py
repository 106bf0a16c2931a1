"""A checkpoint as it is served, and the engine that samples from it."""

import logging
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from trainer.data.templates import ensure_template
from trainer.failures import InvalidSpec
from trainer.hardware import choose_device
from trainer.policy import Policy
from trainer.sampling.end_tokens import context_length
from trainer.serving.command import LONGEST_BY_DEFAULT, CannotServe
from trainer.serving.sampling import Sampler, ServingEngine
from trainer.tokenizer import load_tokenizer

log = logging.getLogger(__name__)


def read_policy(directory: Path, *, device: str) -> Policy:
    """Single precision on a CPU, so that answers are those of training; bf16 on a GPU, as sampling has it there."""
    place = choose_device(device)
    dtype = torch.float32 if place.type == "cpu" else torch.bfloat16
    try:
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, local_files_only=True)
        policy = Policy(torch.nn.Module.to(model, place), load_tokenizer(directory))
    except (OSError, ValueError, KeyError) as error:
        raise CannotServe(f"{directory} does not load as a causal model with tokenizer: {error}") from error
    try:
        ensure_template(policy)
    except InvalidSpec:
        log.warning("the model has no chat template: it answers /v1/completions only")
    policy.answer_plainly()
    policy.model.requires_grad_(False)
    return policy


def open_sampler(policy: Policy, *, context: int | None, places: int, waiting: int) -> Sampler:
    """`context` is the model's own up to a limit, unless it is named; never longer than the model's."""
    own = context_length(policy.model)
    if context is not None and own is not None and context > own:
        raise CannotServe(f"--context {context}: the model was made for {own} tokens; ask for at most as many.")
    longest = context or min(own or LONGEST_BY_DEFAULT, LONGEST_BY_DEFAULT)
    engine = ServingEngine(policy.model, policy.tokenizer, batch_rows=places)
    engine.context = longest
    fitting = engine.count_places(places, columns=longest)
    return Sampler(engine, context=longest, places=fitting, waiting=max(0, waiting))
