"""A training stage while it runs: its documents, its packer, its optimiser, how far it is."""

import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from trainer.algorithms import Algorithm, algorithm_for
from trainer.contract.events import BatchSeen, MetricsLogged, SampleToken, StageStarted
from trainer.contract.stages.base import DataSource, TrainingStage
from trainer.data.batch import TokenBatch, flatten
from trainer.data.documents import DocumentStore, tokenize_rows
from trainer.data.mixing import Mixture
from trainer.data.packing import Key, Packer, count_steps
from trainer.events_log import json_number
from trainer.failures import InvalidSpec, RunFailed
from trainer.hardware import memory_mb
from trainer.measure import measure_held_out
from trainer.optimizer import build_optimizer, learning_rate_at, optimizer_tensors, restore_optimizer
from trainer.policy import Policy
from trainer.session import Session, restore_generators
from trainer.tokenizer import show_tokens

ROWS_SHOWN = 8
TOKENS_SHOWN = 4096


class StageWork:
    """Counts its own steps from 1; the session counts those of the whole run."""

    def __init__(self, session: Session, number: int, stage: TrainingStage) -> None:
        self.session = session
        self.number = number
        self.stage = stage
        self.progress = session.progress(number)
        self.algorithm: Algorithm = algorithm_for(stage)
        self.policy = self._enter_policy()
        self.sources = [self._tokenize(source) for source in stage.data]
        self.held_out = [self._tokenize(source) for source in stage.held_out]
        self.packer = self._make_packer()
        self.steps = stage.steps or count_steps(self._make_packer())
        self.optimizer = build_optimizer(self.policy.model, stage.optimizer)
        self.done = 0
        self.measured = -1
        """Steps done when held-out loss was last measured."""
        torch.manual_seed(session.spec.recipe.seed * 1000 + number)
        self._restore()

    def tell_started(self) -> None:
        tokens = sum(len(store.ids_N) for store in self.sources)
        trained = sum(int(store.trained_N.sum()) for store in self.sources)
        self.session.events.emit(
            StageStarted(
                stage=self.number,
                kind=str(getattr(self.stage, "kind", "")),
                name=self.stage.name,
                first_step=self.session.step - self.done + 1,
                steps=self.steps,
                notes={
                    "rows": sum(store.rows for store in self.sources),
                    "documents": sum(len(store) for store in self.sources),
                    "tokens": tokens,
                    "trained_share": round(trained / tokens, 4),
                    "cut_rows": sum(store.cut for store in self.sources),
                    "rows_without_targets": sum(store.untaught for store in self.sources),
                    "parameters": self.policy.count_parameters(),
                    "vocabulary": len(self.policy.tokenizer),
                    **self.algorithm.notes(),
                },
            )
        )

    def next_micro_batches(self) -> list[TokenBatch]:
        """The documents of the next optimiser step, shared out evenly over its micro-batches."""
        sequences = self.packer.next_step()
        if self.done == 0:
            self._show([key for sequence in sequences for key in sequence])
        size = self.stage.batch_size // self.stage.gradient_accumulation
        groups = [sequences[start : start + size] for start in range(0, len(sequences), size)]
        return [self._flatten([key for sequence in group for key in sequence]) for group in groups]

    def optimize(self, micro_batches: Sequence[TokenBatch]) -> dict[str, float]:
        """One optimiser step; the loss is the mean over all targets of all micro-batches."""
        started = time.perf_counter()
        targets = sum(batch.targets for batch in micro_batches)
        rate = learning_rate_at(self.done + 1, steps=self.steps, config=self.stage.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        parts: dict[str, float] = {}
        counted = 0
        for batch in micro_batches:
            if batch.targets:
                terms = self.algorithm.loss(batch, self.policy, targets=targets)
                terms.total.backward()
                for name, value in terms.terms.items():
                    parts[name] = parts.get(name, 0.0) + value.item()
                counted += batch.targets if terms.counted is None else terms.counted
        if counted < targets:
            parts = {name: value * targets / max(1, counted) for name, value in parts.items()}
            for weight in self.policy.model.parameters():
                if weight.grad is not None:
                    weight.grad.mul_(targets / max(1, counted))
        norm = torch.nn.utils.clip_grad_norm_(self.policy.model.parameters(), self.stage.optimizer.clip_norm).item()
        loss = sum(parts.values())
        if math.isfinite(loss) and math.isfinite(norm):
            self.optimizer.step()
        self.done += 1
        tokens = sum(map(len, micro_batches))
        self.session.step += 1
        self.session.tokens += tokens
        seconds = time.perf_counter() - started
        return {
            "train/loss": loss,
            **({f"train/{name}": value for name, value in parts.items()} if len(parts) > 1 else {}),
            "train/learning_rate": rate,
            "train/grad_norm": norm,
            "train/tokens": self.session.tokens,
            "system/tokens_per_s": tokens / seconds,
            "system/seconds_per_step": seconds,
            "system/memory_mb": memory_mb(self.session.device),
        }

    def log(self, values: dict[str, float]) -> None:
        """Tell the metrics of the present step; raises RunFailed when the loss left the numbers."""
        self.session.events.emit(
            MetricsLogged(
                stage=self.number,
                step=self.session.step,
                values={key: json_number(value) for key, value in values.items()},
            )
        )
        if not math.isfinite(values.get("train/loss", 0.0)) or not math.isfinite(values.get("train/grad_norm", 0.0)):
            raise RunFailed(
                f"loss or gradient of step {self.session.step} is no number; "
                "lower the learning rate or clip_norm, or look for broken rows."
            )

    def measure_if_due(self) -> None:
        """Held-out loss before the first step, every `measure_every` steps and after the last."""
        every = self.stage.measure_every
        due = self.done in (0, self.steps) or (every > 0 and self.done % every == 0)
        if not due or self.measured == self.done:
            return
        values: dict[str, float] = {}
        for store in self.held_out:
            measured = measure_held_out(
                store,
                self.algorithm,
                self.policy,
                tokens_at_once=self.stage.sequence_length * (self.stage.batch_size // self.stage.gradient_accumulation),
                progress=partial(self.progress, f"held-out loss on {store.name}"),
            )
            values |= {f"held_out/{store.name}/{key}": value for key, value in measured.items()}
        if values:
            self.log(values)
        self.measured = self.done

    def save_if_due(self) -> None:
        every = self.stage.checkpoint_every
        if every > 0 and self.done % every == 0 and self.done < self.steps:
            self.save(finished=False)

    def save(self, *, finished: bool) -> None:
        facts = {"done": self.done, "measured": self.measured, "packer": self.packer.state()}
        self.session.save(facts, optimizer_tensors(self.policy.model, self.optimizer), stage_finished=finished)

    def _enter_policy(self) -> Policy:
        sources = [self.session.rows[source.dataset] for source in self.stage.data]
        if self.session.policy is None:
            self.session.policy = self.algorithm.make_policy(
                sources, seed=self.session.spec.recipe.seed, device=self.session.device, progress=self.progress
            )
        policy = self.session.policy
        assert policy is not None  # the contract lets no recipe start without base or initialise
        self._check_lengths(policy)
        self.algorithm.prepare(policy)
        policy.train_on_documents()
        return policy

    def _check_lengths(self, policy: Policy) -> None:
        """Of this stage and the later ones, lest hours of training end at the last one's mistake."""
        errors = [
            f"recipe.stages[{number}].sequence_length: {stage.sequence_length} tokens do not fit the policy's "
            f"context of {policy.context_length}; use at most that."
            for number, stage in enumerate(self.session.spec.recipe.stages)
            if isinstance(stage, TrainingStage) and stage.sequence_length > (policy.context_length or math.inf)
        ]
        if errors:
            raise InvalidSpec(errors)

    def _tokenize(self, source: DataSource) -> DocumentStore:
        rows = self.session.rows[source.dataset]
        store = tokenize_rows(
            rows,
            lambda row: self.algorithm.render(row, self.policy),
            self.policy.tokenizer,
            longest=self.stage.sequence_length,
            progress=lambda done: self.progress(f"tokenising {rows.name}", done, len(rows)),
        )
        if not len(store):
            raise InvalidSpec(f"datasets.{source.dataset}: no row has a token to train on; choose another dataset.")
        return store

    def _make_packer(self) -> Packer:
        """A stage that counts epochs ends after as many tokens as its sources hold, times the epochs."""
        lengths = [store.lengths_D for store in self.sources]
        total = sum(int(length_D.sum()) for length_D in lengths)
        return Packer(
            Mixture(
                lengths,
                [source.weight for source in self.stage.data],
                seed=(self.session.spec.recipe.seed, self.number),
            ),
            lambda key: int(lengths[key[0]][key[1]]),
            sequences=self.stage.batch_size,
            sequence_length=self.stage.sequence_length,
            tokens=math.ceil(self.stage.epochs * total) if self.stage.epochs else None,
        )

    def _flatten(self, keys: Sequence[Key]) -> TokenBatch:
        return flatten([self.sources[source].document(number) for source, number in keys], device=self.session.device)

    def _show(self, keys: Sequence[Key]) -> None:
        """Tell the first documents as the policy sees them."""
        rows: list[list[SampleToken]] = []
        tokens = 0
        for source, number in keys[:ROWS_SHOWN]:
            ids, trained = self.sources[source].document(number)
            flags = [bool(flag) and place > 0 for place, flag in enumerate(trained)]
            tokens += len(ids)
            if rows and tokens > TOKENS_SHOWN:
                break
            shown = show_tokens(self.policy.tokenizer, ids.tolist(), flags)
            rows.append([SampleToken(text=text, trained=flag) for text, flag in shown])
        self.session.events.emit(BatchSeen(stage=self.number, step=self.session.step + 1, rows=rows))

    def _restore(self) -> None:
        saved = self.session.take_resumed()
        if saved is None:
            return
        tensors: dict[str, Tensor] = saved.tensors
        facts: dict[str, Any] = saved.facts
        self.done, self.measured = facts["done"], facts["measured"]
        self.packer.restore(facts["packer"])
        restore_optimizer(self.policy.model, self.optimizer, tensors)
        restore_generators(tensors)
