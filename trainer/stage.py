"""A training stage while it runs: its algorithm, its optimiser, how far it is."""

import math
import time
from collections.abc import Sequence
from typing import Any

import torch

from trainer.adapters import adapter_tensors, has_adapter, restore_adapter
from trainer.algorithms import Algorithm, Update, algorithm_for
from trainer.algorithms.base import Batch, StageContext
from trainer.computing import arrange, compute_notes
from trainer.contract.events import MetricsLogged, StageStarted
from trainer.contract.stages.base import TrainingStage
from trainer.events_log import json_number
from trainer.failures import InvalidSpec, NothingLearnt, RunFailed
from trainer.hardware import memory_mb
from trainer.idling import Idling
from trainer.memory import PlanCheck
from trainer.optimizer import build_optimizer, learning_rate_at, optimizer_tensors, restore_optimizer
from trainer.policy import Policy
from trainer.session import Session, restore_generators
from trainer.sharding import read_own, read_whole
from trainer.swap import DiskFile, PinnedMemory, Placement
from trainer.tally import Tally, add_tallies

SKIPS_ALLOWED = 2
"""Steps in a row that may have no finite gradient; one more ends the run."""


class StageWork:
    """Counts its own steps from 1; the session counts those of the whole run."""

    def __init__(self, session: Session, number: int, stage: TrainingStage) -> None:
        self.session = session
        self.number = number
        self.stage = stage
        self.progress = session.progress(number)
        self.done = 0
        self.measured = -1
        """Steps done when held-out figures were last taken."""
        self.skipped = 0
        """Steps without an update, since loss or gradient was no number."""
        self.skipped_in_a_row = 0
        self.stuck_at = 0
        """Step of the run at which too many in a row were skipped; 0 while that has not happened."""
        self.collecting = 0.0
        """Seconds that the present round took to collect; counted with its first step."""
        self.idling = Idling(session.device)
        saved = session.take_resumed()
        if saved is not None:
            self.done, self.measured = saved.facts["done"], saved.facts["measured"]
            self.skipped, self.skipped_in_a_row = saved.facts["skipped"], saved.facts["skipped_in_a_row"]
        self.algorithm: Algorithm = algorithm_for(stage)
        memory = session.memory.get(number)
        self.plan_check = PlanCheck(memory, number, session.events, session.device) if memory else None
        self.placement = self._make_placement()
        self.policy = self._enter_policy()
        with self.policy.gathered():
            self.algorithm.open()
        self.steps = self.algorithm.count_steps()
        self.optimizer = build_optimizer(self.policy.model, stage.optimizer)
        self.placement.hold(
            "moments",
            lambda: [value for state in self.optimizer.state.values() for value in state.values()],
            phases=("update", "save"),
            changes=True,
        )
        torch.manual_seed(session.spec.recipe.seed * 1000 + number)
        if saved is not None:
            restore_adapter(self.policy.model, saved.tensors)
            self.algorithm.restore(saved.facts["algorithm"], saved.tensors)
            restore_optimizer(self.policy.model, self.optimizer, saved.tensors)
            restore_generators(saved.tensors)
        self.state = self.algorithm.state()
        """The algorithm's, as of the last whole round: a round that is left in its middle starts over."""

    def tell_started(self) -> None:
        self.session.events.emit(
            StageStarted(
                stage=self.number,
                kind=str(getattr(self.stage, "kind", "")),
                name=self.stage.name,
                first_step=self.session.step - self.done + 1,
                steps=self.steps,
                notes={
                    **self.algorithm.source_notes(),
                    **self.algorithm.notes(),
                    **compute_notes(self.policy),
                    "parameters": self.policy.count_parameters(),
                    "vocabulary": len(self.policy.tokenizer),
                    "swap": self.placement.swaps,
                },
            )
        )
        if self.plan_check is not None:
            self.plan_check.tell_plan(swap=self.placement.swaps)

    def collect(self) -> Sequence[Update]:
        """What the next optimiser steps train on: packed documents, or rollouts sampled and valued now."""
        started = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        with self.idling, self.policy.gathered():
            updates = self.algorithm.collect(self.done + 1)
        self.collecting = time.perf_counter() - started
        return updates

    def optimize(self, update: Update) -> dict[str, float]:
        """One optimiser step on all micro-batches together; a step whose loss or gradient is no number changes nothing.

        Returns the step's metrics.
        """
        with self.idling:
            metrics = self._optimize(update)
        idle = self.idling.take()
        return metrics if idle is None else {**metrics, "system/idle_share": idle}

    def close(self) -> None:
        self.algorithm.close()
        self.idling.close()

    def _optimize(self, update: Update) -> dict[str, float]:
        started = time.perf_counter()
        targets = sum(batch.targets for batch in update.micro_batches)
        rate = learning_rate_at(self.done + 1, steps=self.steps, config=self.stage.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        self.placement.enter("student")
        tally = self._add_gradients(update.micro_batches, targets)
        loss, norm = tally.loss, self._clip_gradients()
        if math.isfinite(loss) and math.isfinite(norm):
            self.placement.enter("update")
            self.optimizer.step()
            self.algorithm.after_update()
            self.skipped_in_a_row = 0
        else:
            self.skipped += 1
            self.skipped_in_a_row += 1
        self.done += 1
        tokens = sum(map(len, update.micro_batches))
        self.session.step += 1
        self.session.tokens += tokens
        if self.skipped_in_a_row > SKIPS_ALLOWED:
            self.stuck_at = self.stuck_at or self.session.step
        seconds = time.perf_counter() - started + self.collecting
        self.collecting = 0.0
        if self.plan_check is not None:
            self.plan_check.step_made(self.session.step, last=self.done == self.steps)
        return {
            **update.metrics,
            "train/loss": loss,
            **tally.metrics(),
            "train/learning_rate": rate,
            "train/grad_norm": norm,
            "train/skipped_steps": self.skipped,
            "train/tokens": self.session.tokens,
            "system/tokens_per_s": tokens / seconds,
            "system/seconds_per_step": seconds,
            "system/memory_mb": memory_mb(self.session.device),
        }

    def _add_gradients(self, micro_batches: Sequence[Batch], targets: int) -> Tally:
        """Every rank differentiates its own micro-batches, then gradients and figures are summed over ranks."""
        ranks, policy = self.session.ranks, self.policy
        tally = Tally()
        for start in range(0, len(micro_batches), ranks.count):
            turn = micro_batches[start : start + ranks.count]
            if ranks.number < len(turn) and turn[ranks.number].targets:
                batch = turn[ranks.number]
                terms = self.algorithm.loss(batch, policy, targets=targets)
                policy.differentiate(terms.total)
                tally.add(batch, terms)
            elif any(batch.targets for batch in turn):
                policy.pass_idle()
        tally = add_tallies(ranks.gather(tally))
        if targets and not policy.sharded:
            ranks.sum_gradients(policy.model.parameters())
        if tally.counted < targets:
            scale = targets / max(1, tally.counted)
            tally.scale(scale)
            for weight in policy.model.parameters():
                if weight.grad is not None:
                    weight.grad.mul_(scale)
        return tally

    def _clip_gradients(self) -> float:
        """Scale down gradients whose norm is over the limit; returns the norm before that."""
        weights = self.policy.model.parameters()
        return read_whole(torch.nn.utils.clip_grad_norm_(weights, self.stage.optimizer.clip_norm)).item()

    def log(self, values: dict[str, float]) -> None:
        """Tell the metrics of the present step."""
        self.session.events.emit(
            MetricsLogged(
                stage=self.number,
                step=self.session.step,
                values={key: json_number(value) for key, value in values.items()},
            )
        )

    def measure_if_due(self) -> None:
        """Held-out figures before the first step, every `measure_every` steps and after the last."""
        every = self.stage.measure_every
        due = self.done in (0, self.steps) or (every > 0 and self.done % every == 0)
        if not due or self.measured == self.done:
            return
        with self.policy.gathered():
            values = self.algorithm.measure()
        if values:
            self.log(values)
        self.measured = self.done

    def end_round(self) -> None:
        """From here the stage can continue exactly. Raises NothingLearnt when too many steps in a row had no number."""
        self.state = self.algorithm.state()
        if self.stuck_at:
            raise NothingLearnt(
                f"loss or gradient was no number in {SKIPS_ALLOWED + 1} steps in a row, the last being "
                f"{self.stuck_at}, and no update was made in them; start a new run from the model of the last "
                "checkpoint with a lower learning rate or clip_norm, or without the rows that break it."
            )

    def save_if_due(self) -> None:
        every = self.stage.checkpoint_every
        if every > 0 and self.done % every == 0 and self.done < self.steps:
            self.save(finished=False)

    def save(self, *, finished: bool) -> None:
        """Write a checkpoint; raises RunFailed rather than replace a good one by weights that left the numbers."""
        self.optimizer.zero_grad(set_to_none=True)
        self.placement.enter("save")
        broken = any(not bool(read_own(weight).isfinite().all()) for weight in self.policy.model.parameters())
        if self.session.ranks.any(broken):
            raise RunFailed(
                f"the weights hold values that are no numbers after step {self.session.step}, so they are not saved; "
                "start a new run from the model of the last checkpoint with a lower learning rate."
            )
        facts: dict[str, Any] = {
            "done": self.done,
            "measured": self.measured,
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
            "algorithm": self.state,
        }
        if finished and has_adapter(self.policy.model):
            self.policy.drop_adapter()
        tensors = {
            **self.algorithm.tensors(),
            **adapter_tensors(self.policy.model),
            **optimizer_tensors(self.policy.model, self.optimizer),
        }
        self.session.save(facts, tensors, stage_finished=finished)
        if finished:
            self.placement.close()

    def _make_placement(self) -> Placement:
        """Swapping as the plan has it; without a plan, only where it was asked for."""
        memory = self.session.memory.get(self.number)
        if not (memory.fit.swap if memory else self.stage.compute.swap == "on"):
            return Placement()
        if self.session.device.type == "cuda":
            return Placement(PinnedMemory)
        return Placement(lambda: DiskFile(self.session.out))

    def _enter_policy(self) -> Policy:
        """Make or check the policy, and hand it to the algorithm with everything else it works on."""
        session = self.session
        if session.policy is None:
            session.policy = self.algorithm.make_policy(
                [session.rows[source.dataset] for source in self.stage.data],
                seed=session.spec.recipe.seed,
                device=session.device,
                progress=self.progress,
            )
        policy = session.policy
        assert policy is not None  # the contract lets no recipe start without base or initialise
        self._check_lengths(policy)
        self.algorithm.prepare(policy)
        arrange(
            policy,
            self.stage,
            session.ranks,
            seed=session.spec.recipe.seed * 1000 + self.number,
            field=f"recipe.stages[{self.number}]",
        )
        policy.train_on_documents()
        apart = any(
            one.phase == "teacher" and not one.beside_policy for one in self.stage.frozen_models(session.ranks.count)
        )
        if apart:
            self.placement.hold_policy("weights", policy, phases=("rollout", "student", "update", "save"), changes=True)
        self.algorithm.context = StageContext(
            spec=session.spec,
            number=self.number,
            policy=policy,
            rows=session.rows,
            out=session.out,
            events=session.events,
            stop=session.stop,
            ranks=session.ranks,
            progress=self.progress,
            first_step=session.step - self.done,
            placement=self.placement,
        )
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
