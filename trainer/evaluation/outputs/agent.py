"""An agent answers in episodes with tools, played and valued as training plays and values them."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.contract.events import ScoredSample
from trainer.contract.toolsets import ToolsetSpec
from trainer.data.templates import chat_renderer
from trainer.evaluation.errors import EvaluationInterrupted, TaskError
from trainer.evaluation.judging import Played, check_items, judge, open_rewards
from trainer.evaluation.metrics import Metric
from trainer.evaluation.outputs.base import OutputType
from trainer.evaluation.tasks import Item
from trainer.rollouts.episode import Episode
from trainer.rollouts.playing import play
from trainer.rollouts.prompts import Prompt
from trainer.rollouts.rollout import Ending
from trainer.rollouts.tool_client import ToolClient, read_tools
from trainer.rollouts.turns import TurnWriter
from trainer.sampling import SamplingRequest, TorchEngine
from trainer.sampling.end_tokens import context_length
from trainer.sampling.randomness import seed_for


@dataclass
class WatchedEpisode(Episode):
    """Counts beside its tokens what it read and how long it took."""

    read: int = 0
    """Tokens of the prompts of all turns."""
    begun: float = 0.0
    ended: float = 0.0

    def request(self, **settings: Any) -> SamplingRequest:
        request = super().request(**settings)
        self.start_clock()
        self.read += len(request.prompt_ids)
        return request

    def start_clock(self) -> None:
        self.begun = self.begun or time.monotonic()

    def end(self, ending: Ending, reason: str = "") -> None:
        super().end(ending, reason)
        self.ended = time.monotonic()


class Agent(OutputType):
    """One episode per item. An item's draws are fixed by the task's seed and the item's id."""

    name = "agent"
    metric_class = Metric

    def open(self, toolset: ToolsetSpec | None, name: str) -> None:
        """Raises TaskError, and RunFailed where the tool service does not answer."""
        task = self.task
        if toolset is None or task.agent is None:
            raise TaskError(f"{task.task} is answered with tools and no toolset is named; name one")
        if not getattr(self.tokenizer, "chat_template", None):
            raise TaskError(
                f"{task.task}: the model's tokenizer has no chat template, which an episode with tools needs; put one "
                "before this a stage that gives it one, such as sft, or choose a chat model"
            )
        self.evaluation = name or f"evaluation {uuid.uuid4().hex[:12]}"
        self.settings, self.toolset, self.rewards = task.agent, toolset, open_rewards(task)
        self.key, functions = read_tools(toolset)
        self.tools = {one["function"]["name"]: one["function"].get("parameters", {}) for one in functions}
        self.writer = TurnWriter(self.tokenizer, functions)
        self.render = chat_renderer(self.tokenizer, functions if self.settings.tell_tools else None)
        self.context = context_length(self.model)

    def check(self, items: Sequence[Item]) -> None:
        check_items(self.task, self.rewards, items)

    def answer(self, items: Sequence[Item], *, should_stop: Callable[[], bool]) -> list[ScoredSample]:
        engine = TorchEngine(self.model, self.tokenizer)
        episodes = {}
        failed = {}
        for place, item in enumerate(items):
            prompt = self._write(item)
            room = self._room(prompt)
            if room < 1:
                reason = f"the prompt has {len(prompt.ids)} tokens, the context is {self.context}"
                failed[place] = _too_long(item, reason)
            else:
                episodes[place] = self._begin(item, prompt, place, room, engine)
        self._play(list(episodes.values()), items, engine, should_stop)
        samples = judge(
            self.task,
            self.rewards,
            [self._played(items[place], episode) for place, episode in episodes.items()],
            limits=self.toolset.limits,
        )
        found = failed | dict(zip(episodes, samples, strict=True))
        return [found[place] for place in range(len(items))]

    def _write(self, item: Item) -> Prompt:
        try:
            text = self.render(item.messages, True)
        except (ValueError, TypeError, KeyError) as error:
            raise TaskError(
                f"{self.task.task}, item {item.id}: cannot be put into the chat template: {error}"
            ) from error
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return Prompt(name=item.id, row=dict(item.row), ids=tuple(ids), text=text)

    def _room(self, prompt: Prompt) -> int:
        wanted = self.task.generation_kwargs.max_gen_toks
        return wanted if self.context is None else min(wanted, self.context - len(prompt.ids))

    def _begin(self, item: Item, prompt: Prompt, place: int, room: int, engine: TorchEngine) -> WatchedEpisode:
        return WatchedEpisode(
            prompt=prompt,
            group=place,
            index=0,
            seed=seed_for(self.task.generation_kwargs.seed, item.id),
            room=room,
            limits=self.toolset.limits,
            writer=self.writer,
            tools=self.tools,
            end_tokens=engine.end_tokens,
        )

    def _play(
        self,
        episodes: Sequence[WatchedEpisode],
        items: Sequence[Item],
        engine: TorchEngine,
        should_stop: Callable[[], bool],
    ) -> None:
        if not episodes:
            return
        settings = self.task.generation_kwargs

        def ask(episode: Episode) -> SamplingRequest:
            return episode.request(
                temperature=settings.temperature,
                top_p=settings.top_p,
                turn_tokens=self.settings.turn_tokens,
                stop=tuple(settings.until),
            )

        play(
            episodes,
            engine,
            lambda: ToolClient(self.toolset.address, self.toolset.limits, key=self.key),
            request=ask,
            name=lambda episode: f"{self.evaluation} {self.task.task} {items[episode.group].id}",
            longest=max(len(one.prompt.ids) + one.room for one in episodes),
            in_step=self.settings.in_step,
            should_stop=should_stop,
        )
        if any(one.ending is Ending.INTERRUPTED for one in episodes):
            raise EvaluationInterrupted

    def _played(self, item: Item, episode: WatchedEpisode) -> Played:
        assert episode.ending is not None
        decode = self.tokenizer.decode
        written = sum(episode.trained)
        return Played(
            item=item,
            answer=episode.answer,
            ending=episode.ending,
            reason=episode.reason,
            turns=[decode(episode.token_ids[a:b], skip_special_tokens=True) for a, b in episode.spans],
            calls=episode.made,
            tokens=written,
            seconds=episode.ended - episode.begun,
            prompt_text=episode.prompt.text,
            prompt_tokens=episode.read,
            completion_tokens=written,
        )


def _too_long(item: Item, reason: str) -> ScoredSample:
    return ScoredSample(
        item=item.id,
        cluster=item.cluster,
        prompt=item.prompt,
        output="",
        target=item.target,
        score=None,
        status="error",
        detail={"reason": reason},
    )
