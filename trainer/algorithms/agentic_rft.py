"""Agentic RFT: GRPO or InK-GRPO over episodes in which the policy calls tools.

A rollout is a whole episode: turns of the policy, and between them what tools said. Only tokens that the policy sampled
have a loss, an advantage and a share in the denominators; those of tools, of the system and of the user have none, and
their log-probabilities are never asked for:

    L = Σ_i Σ_t m_{i,t} s_{i,t} ℓ_{i,t},    m = 1 where the policy sampled the token, 0 elsewhere

with s and ℓ of `trainer.algorithms.grpo` and |o_i| = Σ_t m_{i,t}; with a `corpus`, plus the knowledge term of
`trainer.algorithms.ink_grpo`. All episodes of a round are played at once (`trainer.rollouts.playing`).

What a rollout is worth depends on its final answer and on its calls; what tools said is never valued. An episode whose
tools failed is masked; where fewer than `fewest_of_group` of a group are left, their mean says little and the group is
masked with them. Sources: Typhoon-S, section on agentic RFT; Jin et al. 2025, arXiv:2503.09516, section 3.1 (loss over
sampled tokens only). There the judge also read what tools had said, a failed judge was worth 0, and of the calls of a
turn only the first was made.

With `stale_steps` the episodes of the next round are played while the policy learns from this round's, by a copy of the
weights at hand (`trainer.rollouts.next_round`). For them π_sampler in

    w_{i,t} = min(π_old(o_{i,t}) / π_sampler(o_{i,t}), C)

is the older policy, so that w corrects for its age as it corrects for another sampler's rounding, and r = π_θ/π_old
starts at 1 all the same: the decoupled form of Fu et al. 2025, arXiv:2505.24298, section 5.2, with w cut off at C.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from trainer.algorithms.base import Note, Update
from trainer.algorithms.ink_grpo import InkGrpo
from trainer.contract.stages.agentic_rft import AgenticRftStage
from trainer.failures import InvalidSpec

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.contract.toolsets import ToolsetSpec
    from trainer.rollouts.episode import Episode
    from trainer.rollouts.next_round import NextRound
    from trainer.rollouts.prompts import Prompt, PromptStore
    from trainer.rollouts.rollout import Rollout
    from trainer.rollouts.turns import TurnWriter
    from trainer.sampling.engine import Engine, SamplingRequest


class AgenticRft(InkGrpo):
    stage_class = AgenticRftStage
    stage: AgenticRftStage
    toolset: "ToolsetSpec | None" = None
    functions: Sequence[dict[str, Any]] = ()
    """The tools as the policy is told of them."""
    tools: dict[str, dict[str, Any]]
    """Name → JSON schema of the arguments."""
    turns: "TurnWriter"
    key: str
    next_round: "NextRound | None" = None
    """None: no round is sampled before it is learned from."""

    def open(self) -> None:
        from trainer.rollouts.tool_client import read_tools
        from trainer.rollouts.turns import TurnWriter

        toolset = self.context.spec.toolset
        if toolset is None:
            raise InvalidSpec("recipe.toolset: agentic_rft needs a toolset; name one of the project's.")
        self.toolset = toolset
        self.key, self.functions = read_tools(toolset)
        self.tools = {one["function"]["name"]: one["function"].get("parameters", {}) for one in self.functions}
        self.turns = TurnWriter(self.context.policy.tokenizer, self.functions)
        super().open()
        if self.stage.stale_steps:
            self._open_next_round()

    def tools_told(self, row: Any) -> Any:
        return self.functions or None if self.stage.tell_tools else None

    def roll_out(self, prompts: "Sequence[Prompt]", *, first_group: int) -> "list[Rollout]":
        """A group of episodes for each prompt."""
        self.context.placement.enter("rollout")
        rollouts = self._groups_of_episodes(prompts, first_group=first_group, turns=self.turns)()
        self.context.stop.leave_together()
        return rollouts

    def sample_round(self, count: int, *, done: int) -> "list[Rollout]":
        ahead = self.next_round
        if ahead is None:
            return super().sample_round(count, done=done)
        if not ahead.begun:  # the first round of the stage, or of an attempt that goes on from a checkpoint
            self._begin_round(ahead, count, done=done)
        rollouts = ahead.finish()
        self.context.stop.leave_together()
        assert ahead.begun_at is not None
        for rollout in rollouts:
            rollout.age = done - ahead.begun_at
        return self.value_together(rollouts)

    def collect(self, step: int) -> Sequence[Update]:
        updates = super().collect(step)
        if self.next_round is not None:
            self.next_round.begun_at = None  # the round that was collected
            every = self.stage.updates_per_rollout
            if step - 1 + every < self.count_steps():
                self.prompts.progress = (step - 1 + every) / self.count_steps()
                self._begin_round(self.next_round, self.stage.prompts_per_step * every, done=step - 1)
        return updates

    def learn_from(self, rollouts: "list[Rollout]", *, part: int) -> Update:
        update = super().learn_from(rollouts, part=part)
        if self.next_round is None or not rollouts:
            return update
        ages = [rollout.age for rollout in rollouts]
        found = {"rollout/age": sum(ages) / len(ages), "rollout/age_max": float(max(ages))}
        return Update(update.micro_batches, {**update.metrics, **found})

    def answer_held_out(self, store: "PromptStore", *, valued: bool = False) -> "list[Rollout]":
        """The likeliest episode of every prompt, each rank's share by that rank."""
        mine = range(len(store))[self.context.ranks.span(len(store))]
        episodes = [self._begin(store.prompt(place), place, 0, 0, self.turns) for place in mine]
        self.context.placement.enter("rollout")
        name = f"stage {self.context.number} held out"  # a later stage asks the same with another policy
        rollouts = self._play(
            episodes,
            engine=self.engine,
            name=lambda episode: f"{name} {self.sampled_groups} {store.rows.name} {episode.group}",
            temperature=0.0,
        )
        self.context.stop.leave_together()
        self.engine.rest()
        if valued and rollouts:
            self.value(rollouts)
        return self.context.ranks.join(rollouts)

    def value(self, rollouts: "list[Rollout]") -> None:
        from trainer.rollouts.rollout import groups_of

        for group in groups_of(rollouts):
            sound = [rollout for rollout in group if not rollout.masked]
            if len(group) > 1 and len(sound) < self.stage.fewest_of_group:
                for rollout in sound:
                    rollout.masked = f"Tools failed for {len(group) - len(sound)} of the {len(group)} rollouts."
        super().value(rollouts)

    def notes(self) -> dict[str, Note]:
        assert self.toolset is not None
        limits = self.toolset.limits
        return {
            **super().notes(),
            "toolset": self.toolset.name,
            "tools": ", ".join(self.tools),
            "episode": f"at most {limits.turns} turns, with {limits.calls_per_turn} calls each",
        }

    def after_update(self) -> None:
        from trainer.sampling.engine import HasCopy

        if self.next_round is not None and isinstance(self.engine, HasCopy):
            self.engine.drop_weights()  # rounds are sampled by the other engine, this one answers held-out prompts
        else:
            super().after_update()

    def state(self) -> dict[str, Any]:
        ahead = self.next_round
        if ahead is None or ahead.begun_at is None:
            return super().state()
        return {**super().state(), **ahead.before, "begun_at": ahead.begun_at}

    def tensors(self) -> "dict[str, Tensor]":
        return {**super().tensors(), **(self.next_round.tensors() if self.next_round else {})}

    def restore(self, state: dict[str, Any], tensors: "dict[str, Tensor]") -> None:
        super().restore(state, tensors)
        if self.next_round is not None and "begun_at" in state:
            self.next_round.restore(tensors, begun_at=state["begun_at"])

    def close(self) -> None:
        if self.next_round is not None:
            self.next_round.close()
        super().close()

    def _open_next_round(self) -> None:
        from trainer.rollouts.next_round import NextRound

        context = self.context
        if context.policy.sharded or context.placement.swaps:
            raise InvalidSpec(
                f"recipe.stages[{context.number}].stale_steps: the policy is cut over processes or swapped out here, "
                "and the next round's episodes need whole weights in place; set compute.sharding and compute.swap to "
                "off, or stale_steps to 0."
            )
        self.next_round = NextRound(context.policy)

    def _begin_round(self, ahead: "NextRound", count: int, *, done: int) -> None:
        """Draw the prompts of a round and have its episodes played by the weights at hand, or by restored ones."""
        from trainer.rollouts.turns import TurnWriter

        if ahead.begun_at is None:
            ahead.take_weights(self.context.policy.model, done=done)
        ahead.before = {"prompts": self.prompts.state(), "sampled_groups": self.sampled_groups}
        prompts, before = self.prompts.draw(count), self.sampled_groups
        mine = self.context.ranks.span(count)
        self.sampled_groups = before + mine.start
        turns = TurnWriter(ahead.tokenizer, self.functions)
        play = self._groups_of_episodes(prompts[mine], first_group=mine.start, turns=turns, engine=ahead.engine)
        self.sampled_groups = before + count
        ahead.begin(play)

    def _groups_of_episodes(
        self,
        prompts: "Sequence[Prompt]",
        *,
        first_group: int,
        turns: "TurnWriter",
        engine: "Engine | None" = None,
    ) -> "Callable[..., list[Rollout]]":
        """What plays a group of episodes for each prompt, by this engine or else by the policy's own."""
        episodes = [
            self._begin(prompt, first_group + group, index, self.seed_of(self.sampled_groups + group, index), turns)
            for group, prompt in enumerate(prompts)
            for index in range(self.stage.group_size)
        ]
        name = f"stage {self.context.number} group"
        before = self.sampled_groups - first_group  # a group's number within the stage is never used twice
        self.sampled_groups += len(prompts)

        def play(over: "Callable[[], bool]" = lambda: False) -> "list[Rollout]":
            return self._play(
                episodes,
                engine=engine or self.engine,
                name=lambda episode: f"{name} {before + episode.group} rollout {episode.index}",
                temperature=self.stage.sampling.temperature,
                over=over,
            )

        return play

    def _begin(self, prompt: "Prompt", group: int, index: int, seed: int, turns: "TurnWriter") -> "Episode":
        from trainer.rollouts.episode import Episode
        from trainer.sampling.end_tokens import end_token_ids

        assert self.toolset is not None
        policy = self.context.policy
        return Episode(
            prompt=prompt,
            group=group,
            index=index,
            seed=seed,
            room=self.stage.sampling.max_new_tokens,
            limits=self.toolset.limits,
            writer=turns,
            tools=self.tools,
            end_tokens=end_token_ids(policy.model, policy.tokenizer),
        )

    def _play(
        self,
        episodes: "Sequence[Episode]",
        *,
        engine: "Engine",
        name: "Callable[[Episode], str]",
        temperature: float,
        over: "Callable[[], bool]" = lambda: False,
    ) -> "list[Rollout]":
        from trainer.rollouts.playing import play
        from trainer.rollouts.tool_client import ToolClient

        assert self.toolset is not None
        context, settings, toolset = self.context, self.stage.sampling, self.toolset

        def ask(episode: "Episode") -> "SamplingRequest":
            return episode.request(
                temperature=temperature,
                top_p=settings.top_p,
                turn_tokens=self.stage.turn_tokens,
                stop=tuple(settings.stop),
            )

        play(
            episodes,
            engine,
            lambda: ToolClient(toolset.address, toolset.limits, key=self.key),
            request=ask,
            name=lambda episode: f"{context.spec.run}.{context.spec.attempt} {name(episode)}",
            longest=self.stage.sequence_length,
            in_step=self.stage.in_step,
            should_stop=lambda: context.stop() or over(),
        )
        return [episode.rollout() for episode in episodes]
