"""What stages share: where rows come from, how weights are updated, how long a stage lasts."""

from collections.abc import Iterator
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from trainer.contract.base import Contract
from trainer.contract.mixture import DataSource, MixtureSource, find_empty_span
from trainer.contract.needs import FrozenModel, Sampling


class NamedSource(NamedTuple):
    """A dataset where a stage names it."""

    field: str
    place: int
    source: DataSource
    kinds: tuple[str, ...]
    """Kinds of rows that the field takes."""
    trained: bool
    """False: only measured."""

    @property
    def path(self) -> str:
        return f"{self.field}[{self.place}]"


class OptimizerConfig(Contract):
    """AdamW and its learning-rate schedule."""

    learning_rate: PositiveFloat = 1e-4
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """Course of the learning rate after warm-up."""
    warmup_steps: NonNegativeInt = 0
    """Optimiser steps over which the learning rate rises from zero."""
    final_ratio: float = Field(default=0.0, ge=0, le=1)
    """Learning rate of the last step as a share of the peak. Not used by the constant schedule."""
    weight_decay: float = Field(default=0.0, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.98, ge=0, lt=1)
    clip_norm: PositiveFloat = 1.0
    """Largest global gradient norm; larger gradients are scaled down to it."""


class ComputeConfig(Contract):
    """How a stage computes. Only precision changes the result by more than rounding of the last bits."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of matrix products; auto is bf16 on a GPU and fp32 on a CPU. Weights, gradients and moments are fp32 always."""
    gradient_checkpointing: bool = False
    """Keep only what enters each layer and compute the rest again in the backward pass: far less memory for a third
    more time."""
    swap: Literal["auto", "off", "on"] = "auto"
    """Keep what a phase does not need (the optimiser while sampling, the teacher while training) elsewhere: of a GPU in
    the memory of the CPU, of a CPU on the disk. auto does so on a GPU where it would not fit otherwise."""
    sharding: Literal["auto", "off", "on"] = "auto"
    """With several processes: cut weights, gradients and moments over them; off holds all of it in each. auto cuts on
    GPUs."""


class LoraConfig(Contract):
    """Low-rank adapters: weights stay frozen and small matrices beside them train."""

    rank: PositiveInt = 16
    """Inner size of the two matrices beside each weight."""
    alpha: PositiveFloat = 32.0
    """The adapter is scaled by alpha over rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of an adapter's input that is dropped in training."""
    targets: list[str] = []
    """Linear maps that get one, such as q_proj; empty: all but the output head."""


class StageBase(Contract):
    """One step of a recipe. The policy that leaves a stage enters the next."""

    title: ClassVar[str] = ""
    """What pages call a stage of the kind; the kind in words when empty."""
    names_models: ClassVar[tuple[str, ...]] = ()
    """Fields that name a model of the project beside the policy, such as a teacher; an empty value names none."""

    name: str = Field(default="", max_length=60, pattern=r"^[a-z0-9_-]*$")
    """Short name shown on charts; the kind when empty."""

    def named_models(self) -> dict[str, str]:
        """Field → model, of those that are not empty."""
        found = {field: getattr(self, field) for field in self.names_models}
        return {field: model for field, model in found.items() if model}


class TrainingStage(StageBase):
    """A stage that updates weights."""

    row_kinds: ClassVar[tuple[str, ...]] = ()
    """Kinds of rows that it trains on."""
    further_row_kinds: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Further fields that list data sources to train on, beside `data`, and the kinds of rows that each takes."""
    apart_from_tasks: ClassVar[tuple[str, ...]] = ()
    """Fields whose text must not hold what the recipe's tasks ask."""
    uses_tools: ClassVar[bool] = False
    """Whether the policy calls tools, so that the recipe must name a toolset."""
    use: ClassVar[Literal["train", "distil"]] = "train"
    """What the rights of its data must allow."""

    data: list[MixtureSource] = Field(min_length=1)
    """Mixture of dataset versions the stage trains on."""
    held_out: list[DataSource] = []
    """Dataset versions on which the loss is measured and never trained."""
    steps: PositiveInt | None = None
    """Optimiser steps. Give either steps or epochs."""
    epochs: PositiveFloat | None = None
    """Passes over the data. Give either steps or epochs."""
    batch_size: PositiveInt = 8
    """Packed sequences per optimiser step."""
    gradient_accumulation: PositiveInt = 1
    """Micro-batches per optimiser step; must divide batch_size. Changes memory, not the result."""
    sequence_length: int = Field(default=512, ge=8)
    """Longest packed sequence in tokens; a longer row is cut and counted."""
    optimizer: OptimizerConfig = OptimizerConfig()
    compute: ComputeConfig = ComputeConfig()
    """Precision and memory."""
    lora: LoraConfig | None = None
    """Train adapters in place of all weights; they are added into the weights when the stage ends."""
    checkpoint_every: NonNegativeInt = 0
    """Optimiser steps between checkpoints; 0 saves only at the end of the stage."""
    measure_every: NonNegativeInt = 0
    """Optimiser steps between held-out measurements; 0 measures at the start and the end of the stage."""

    def named_sources(self) -> Iterator[NamedSource]:
        """Every dataset that the stage names."""
        kinds = {"data": self.row_kinds, "held_out": self.row_kinds, **self.further_row_kinds}
        for field, taken in kinds.items():
            for place, source in enumerate(getattr(self, field)):
                yield NamedSource(field, place, source, taken, trained=field != "held_out")

    def micro_batch_tokens(self, ranks: int) -> int:
        """Tokens of the largest micro-batch, when every sequence is full."""
        return max(1, self.batch_size // (self.gradient_accumulation * ranks)) * self.sequence_length

    def frozen_models(self, ranks: int) -> list[FrozenModel]:
        """What is held beside the policy."""
        return []

    def sampling_load(self, ranks: int) -> Sampling | None:
        """What one process samples in a call; None where nothing is sampled."""
        return None

    @model_validator(mode="after")
    def _check_lengths(self) -> "TrainingStage":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs, not both and not neither")
        if self.batch_size % self.gradient_accumulation:
            raise ValueError(
                f"gradient_accumulation {self.gradient_accumulation} does not divide batch_size {self.batch_size}"
            )
        trained = {source.dataset for source in self.data}
        for source in self.held_out:
            if source.dataset in trained:
                raise ValueError(f"held_out names {source.dataset}, which the stage also trains on; choose another")
        return self

    @model_validator(mode="after")
    def _check_mixtures(self) -> "TrainingStage":
        for field in ("data", *self.further_row_kinds):
            sources: list[MixtureSource] = getattr(self, field)
            empty = find_empty_span(sources) if sources else None
            if empty:
                raise ValueError(
                    f"{field} leaves nothing to draw from {empty[0]:.4g} to {empty[1]:.4g} of the stage; let a source "
                    "enter earlier or give it a weight there"
                )
        return self
