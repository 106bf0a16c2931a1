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
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainer.algorithms.base import Note
from trainer.algorithms.ink_grpo import InkGrpo
from trainer.contract.stages.agentic_rft import AgenticRftStage
from trainer.failures import InvalidSpec

if TYPE_CHECKING:
    from trainer.contract.toolsets import ToolsetSpec
    from trainer.rollouts.episode import Episode
    from trainer.rollouts.prompts import Prompt, PromptStore
    from trainer.rollouts.rollout import Rollout
    from trainer.rollouts.turns import TurnWriter
    from trainer.sampling.engine import SamplingRequest


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

    def tools_told(self, row: Any) -> Any:
        return self.functions or None if self.stage.tell_tools else None

    def roll_out(self, prompts: "Sequence[Prompt]", *, first_group: int) -> "list[Rollout]":
        """A group of episodes for each prompt."""
        episodes = [
            self._begin(prompt, first_group + group, index, self.seed_of(self.sampled_groups + group, index))
            for group, prompt in enumerate(prompts)
            for index in range(self.stage.group_size)
        ]
        name = f"stage {self.context.number} group"
        before = self.sampled_groups - first_group  # a group's number within the stage is never used twice
        self.sampled_groups += len(prompts)
        return self._play(
            episodes,
            name=lambda episode: f"{name} {before + episode.group} rollout {episode.index}",
            temperature=self.stage.sampling.temperature,
        )

    def answer_held_out(self, store: "PromptStore", *, valued: bool = False) -> "list[Rollout]":
        """The likeliest episode of every prompt, each rank's share by that rank."""
        mine = range(len(store))[self.context.ranks.span(len(store))]
        episodes = [self._begin(store.prompt(place), place, 0, 0) for place in mine]
        name = f"stage {self.context.number} held out"  # a later stage asks the same with another policy
        rollouts = self._play(
            episodes,
            name=lambda episode: f"{name} {self.sampled_groups} {store.rows.name} {episode.group}",
            temperature=0.0,
        )
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

    def _begin(self, prompt: "Prompt", group: int, index: int, seed: int) -> "Episode":
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
            writer=self.turns,
            tools=self.tools,
            end_tokens=end_token_ids(policy.model, policy.tokenizer),
        )

    def _play(self, episodes: "Sequence[Episode]", *, name: Any, temperature: float) -> "list[Rollout]":
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

        context.placement.enter("rollout")
        play(
            episodes,
            self.engine,
            lambda: ToolClient(toolset.address, toolset.limits, key=self.key),
            request=ask,
            name=lambda episode: f"{context.spec.run}.{context.spec.attempt} {name(episode)}",
            longest=self.stage.sequence_length,
            in_step=self.stage.in_step,
            should_stop=context.stop,
        )
        context.stop.leave_together()
        return [episode.rollout() for episode in episodes]
