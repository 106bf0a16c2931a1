"""Algorithms that train on what the policy itself writes."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from trainer.algorithms.base import Algorithm, Note, Progress, Update
from trainer.contract.stages.rollouts import RolloutStage
from trainer.failures import InvalidSpec, NothingLearnt

if TYPE_CHECKING:
    from trainer.data.rows import Row, RowFile
    from trainer.policy import Policy
    from trainer.rewards import Reward
    from trainer.rollouts.prompts import Prompt, PromptFeed, PromptStore
    from trainer.rollouts.rollout import Rollout
    from trainer.sampling.engine import Engine
    from trainer.tokenizer import TokenTexts

UNVALUED_ROUNDS_ALLOWED = 2
"""Rounds in a row of which no rollout could be valued; one more ends the run."""


class RolloutAlgorithm(Algorithm):
    """Asks for `learn_from` and `loss`. Prompts, sampling, rewards, metrics and stored files follow from the stage.

    One round: draw prompts → `roll_out` a group for each → `value` them → `complete` the round (nothing by default) →
    share the groups out over the optimiser steps until the next round → `learn_from` each share → store all of it.
    Any of these may be overridden: an algorithm with tools overrides `roll_out`, one that values by something else
    than rewards `value`, one that replaces groups `complete`.
    """

    stage: RolloutStage
    prompts: "PromptFeed"
    held_out: "list[PromptStore]"
    engine: "Engine"
    rewards: "list[Reward]"
    texts: "TokenTexts"
    sampled_groups: int = 0
    """Groups sampled in the stage so far: no seed is used twice."""
    unvalued_rounds: int = 0
    """Rounds in a row, up to now, of which no rollout could be valued."""

    @abstractmethod
    def learn_from(self, rollouts: "list[Rollout]", *, part: int) -> Update:
        """The micro-batches of one optimiser step from rollouts in whole groups, and metrics of its own.

        `part` counts the optimiser steps of the round from 0; only for the first are the weights still those that
        sampled. What is set on the rollouts here (`advantage`, `masked`, `detail`) is stored with them.
        """

    def messages(self, row: "Row") -> list[dict[str, Any]]:
        """The conversation that the policy is to answer: a question, or a chat up to its last answer."""
        from trainer.rollouts.prompts import asked_messages

        return asked_messages(row, self.stage.system_prompt)

    def tools_told(self, row: "Row") -> Any:
        """Function schemas that the prompt describes; None: no tools."""
        return row.get("tools")

    def look_ahead(self, tokenizer: Any, rows: "Mapping[str, RowFile]", *, number: int) -> None:
        from trainer.data.templates import find_template

        tokenizer.chat_template = find_template(tokenizer)
        for source in [*self.stage.data, *self.stage.held_out]:
            self._read_prompts(source.dataset, tokenizer, rows, number=number)

    def prepare(self, policy: "Policy") -> None:
        from trainer.data.templates import ensure_template

        ensure_template(policy)

    def open(self) -> None:
        from trainer.inputs import find_reward_problems
        from trainer.rewards import make_rewards
        from trainer.rollouts.prompts import PromptFeed
        from trainer.sampling.engine import HasCopy
        from trainer.tokenizer import TokenTexts

        context, stage = self.context, self.stage
        self.rewards = make_rewards(getattr(stage, "rewards", ()), leave_if_asked=context.stop.leave_if_asked)
        read = partial(
            self._read_prompts,
            tokenizer=context.policy.tokenizer,
            rows=context.rows,
            number=context.number,
            progress=context.progress,
        )
        stores = [read(source.dataset) for source in stage.data]
        self.held_out = [read(source.dataset) for source in stage.held_out]
        if problems := find_reward_problems(stage, context.number, context.rows):
            raise InvalidSpec(problems)
        self.prompts = PromptFeed(stores, stage.data, seed=(context.seed, context.number))
        if stage.steps is not None:
            wanted = stage.steps * stage.prompts_per_step
            self.prompts.check_caps(wanted, field=f"recipe.stages[{context.number}].data")
        context.placement.enter("rollout")
        self.engine = self.open_engine()
        if isinstance(self.engine, HasCopy):
            context.placement.after_rollout(self.engine.drop_weights)
        self.texts = TokenTexts(context.policy.tokenizer)

    def open_engine(self) -> "Engine":
        from trainer.sampling.opening import open_engine

        return open_engine(self.stage, self.context)

    def count_steps(self) -> int:
        """Passes are counted in prompts; a stage ends with a whole round of sampling."""
        stage = self.stage
        if stage.steps is not None:
            return stage.steps
        assert stage.epochs is not None  # the contract wants one of the two
        prompts = stage.prompts_per_step * stage.updates_per_rollout
        return max(1, round(stage.epochs * len(self.prompts) / prompts)) * stage.updates_per_rollout

    def collect(self, step: int) -> Sequence[Update]:
        from trainer.rollouts.rollout import groups_of
        from trainer.rollouts.scoring import describe_rollouts

        stage = self.stage
        self.prompts.progress = (step - 1) / self.count_steps()
        rollouts = self.sample_round(stage.prompts_per_step * stage.updates_per_rollout, done=step - 1)
        kept, replaced = self.complete(rollouts)
        self._count_unvalued([*kept, *replaced])
        groups = groups_of(kept)
        updates: list[Update] = []
        self.engine.rest()
        for part in range(stage.updates_per_rollout):
            share = [rollout for group in groups[part :: stage.updates_per_rollout] for rollout in group]
            for rollout in share:
                rollout.age += part
            update = self.learn_from(share, part=part)
            if part == 0:
                found = {**describe_rollouts([*kept, *replaced]), **self.prompts.drawn_prompts()}
                update = Update(update.micro_batches, {**found, **update.metrics})
            updates.append(update)
        self._store([*kept, *replaced], step)
        return updates

    def sample_round(self, count: int, *, done: int) -> "list[Rollout]":
        """Valued groups for the next `count` prompts; `done` optimiser steps of the stage have been made."""
        return self._sample_groups(count, first_group=0)

    def roll_out(self, prompts: "Sequence[Prompt]", *, first_group: int) -> "list[Rollout]":
        """A group of rollouts for each prompt, group after group, numbered from `first_group`."""
        from trainer.rollouts.rollout import single_turn

        places = [(group, index) for group in range(len(prompts)) for index in range(self.stage.group_size)]
        completions = self.sample(
            [prompts[group] for group, _ in places],
            seeds=[self.seed_of(self.sampled_groups + group, index) for group, index in places],
        )
        self.sampled_groups += len(prompts)
        return [
            single_turn(prompts[group], first_group + group, index, completion)
            for (group, index), completion in zip(places, completions, strict=True)
        ]

    def sample(self, prompts: "Sequence[Prompt]", *, seeds: Sequence[int], temperature: float | None = None) -> Any:
        """One completion for each prompt; leaves by StopNow when a stop was asked for meanwhile."""
        from trainer.sampling.engine import SamplingRequest

        self.context.placement.enter("rollout")
        settings = self.stage.sampling
        completions = self.engine.sample(
            [
                SamplingRequest(
                    prompt_ids=prompt.ids,
                    max_new_tokens=settings.max_new_tokens,
                    temperature=settings.temperature if temperature is None else temperature,
                    top_p=settings.top_p,
                    seed=seed,
                    stop=tuple(settings.stop),
                )
                for prompt, seed in zip(prompts, seeds, strict=True)
            ],
            should_stop=self.context.stop,
        )
        self.context.stop.leave_together()
        return completions

    def seed_of(self, group: int, index: int) -> int:
        """Of one rollout of the stage, whoever samples it."""
        from trainer.sampling.randomness import seed_for

        return seed_for(self.context.seed, f"stage {self.context.number} group {group} rollout {index}")

    def value(self, rollouts: "list[Rollout]") -> None:
        """Set what the rollouts are worth; what is masked already is worth nothing, and nobody is asked."""
        from trainer.rollouts.scoring import score_rollouts

        sound = [rollout for rollout in rollouts if not rollout.masked]
        if self.rewards and sound:
            score_rollouts(sound, self.rewards, longest=self.stage.sampling.max_new_tokens)

    def may_train(self, rollout: "Rollout") -> bool:
        """Whether it could be valued and is not left out for what it is; a tie of rewards is another matter."""
        return rollout.reward is not None

    def complete(self, rollouts: "list[Rollout]") -> "tuple[list[Rollout], list[Rollout]]":
        """Rollouts to train on, in whole groups, and those that were sampled but are not."""
        return rollouts, []

    def after_update(self) -> None:
        self.engine.update_weights()

    def close(self) -> None:
        self.engine.close()

    def measure(self) -> dict[str, float]:
        """One likeliest completion of every held-out prompt, valued by the rewards."""
        from trainer.rollouts.scoring import describe_rollouts

        values: dict[str, float] = {}
        for store in self.held_out:
            rollouts = self.answer_held_out(store, valued=True)
            measured = describe_rollouts(rollouts)
            measured.pop("rollout/reward_std", None)
            values |= {key.replace("rollout", f"held_out/{store.rows.name}", 1): one for key, one in measured.items()}
        return values

    def answer_held_out(self, store: "PromptStore", *, valued: bool = False) -> "list[Rollout]":
        """The likeliest completion of every prompt, each rank's share by that rank."""
        from trainer.rollouts.rollout import single_turn

        mine = range(len(store))[self.context.ranks.span(len(store))]
        prompts = [store.prompt(place) for place in mine]
        completions = self.sample(prompts, seeds=[0] * len(prompts), temperature=0.0)
        self.engine.rest()
        rollouts = [
            single_turn(prompt, group, 0, completion)
            for group, prompt, completion in zip(mine, prompts, completions, strict=True)
        ]
        if valued and rollouts:
            self.value(rollouts)
        return self.context.ranks.join(rollouts)

    def state(self) -> dict[str, Any]:
        return {
            "prompts": self.prompts.state(),
            "sampled_groups": self.sampled_groups,
            "unvalued_rounds": self.unvalued_rounds,
        }

    def restore(self, state: dict[str, Any], tensors: dict[str, Any]) -> None:
        self.prompts.restore(state["prompts"])
        self.sampled_groups = state["sampled_groups"]
        self.unvalued_rounds = state["unvalued_rounds"]

    def source_notes(self) -> dict[str, Note]:
        from trainer.rewards import reward_notes

        dropped = sum(store.dropped for store in self.prompts.stores)
        return {
            "prompts": len(self.prompts),
            "prompt_tokens": sum(store.count_tokens() for store in self.prompts.stores),
            **({"rows_too_long": dropped} if dropped else {}),
            **reward_notes(self.rewards),
            **self.engine.notes(),
        }

    def _sample_groups(self, count: int, *, first_group: int) -> "list[Rollout]":
        """Whole groups are shared out over ranks."""
        ranks, prompts, before = self.context.ranks, self.prompts.draw(count), self.sampled_groups
        mine = ranks.span(count)
        self.sampled_groups = before + mine.start  # seeds follow from the group's number, whoever samples it
        rollouts = self.roll_out(prompts[mine], first_group=first_group + mine.start)
        self.sampled_groups = before + count
        return self.value_together(rollouts)

    def value_together(self, rollouts: "list[Rollout]") -> "list[Rollout]":
        """Each rank values its own, and all get to know all."""
        if rollouts:
            self.value(rollouts)
        return self.context.ranks.join(rollouts)

    def _count_unvalued(self, rollouts: "list[Rollout]") -> None:
        """Raises NothingLearnt rather than sample for ever what rewards cannot value, or what is filtered out whole.

        Rewards that agree are no fault: they are values, and another round may bring others.
        """
        if not self.rewards or any(map(self.may_train, rollouts)):
            self.unvalued_rounds = 0
            return
        self.unvalued_rounds += 1
        if self.unvalued_rounds > UNVALUED_ROUNDS_ALLOWED:
            raise NothingLearnt(
                f"none of the {len(rollouts)} rollouts of this round could be trained on, nor any of the "
                f"{UNVALUED_ROUNDS_ALLOWED} rounds before; of the first one: {rollouts[0].masked} Repair what "
                "failed and resume from the last checkpoint."
            )

    def _store(self, rollouts: "list[Rollout]", step: int) -> None:
        from trainer.data.show import show_documents
        from trainer.rollouts.storing import store_calls, store_rollouts

        context = self.context
        if not context.ranks.first:
            return
        if step == 1:
            show_documents(context, [rollout.document() for rollout in rollouts])
        context.events.emit(
            store_rollouts(
                rollouts,
                self.texts,
                out=context.out,
                stage=context.number,
                step=context.first_step + step,
            )
        )
        if calls := store_calls(rollouts, out=context.out, stage=context.number, step=context.first_step + step):
            context.events.emit(calls)

    def _read_prompts(
        self,
        name: str,
        tokenizer: Any,
        rows: "Mapping[str, RowFile]",
        *,
        number: int,
        progress: Progress = lambda phase, done, total: None,
    ) -> "PromptStore":
        from trainer.data.templates import chat_renderer
        from trainer.rollouts.prompts import PromptStore

        stage = self.stage
        return PromptStore(
            rows[name],
            lambda row: chat_renderer(tokenizer, self.tools_told(row))(self.messages(row), True),
            tokenizer,
            longest=stage.sequence_length - stage.sampling.max_new_tokens,
            drop=stage.long_prompts == "drop",
            path=f"recipe.stages[{number}].sequence_length",
            progress=progress,
        )
