"""How much slow tools slow a round of episodes down: 64 trajectories of four turns, tools of 200 ms or instant ones.

In turns on one machine; the ratio is that of neighbouring rounds, median with the smallest and the largest.
"""

import asyncio
import statistics
import time
from dataclasses import replace

import torch

from trainer.contract.stages.cpt import ModelShape
from trainer.contract.toolsets import ToolLimits
from trainer.policy import initialise_policy
from trainer.rollouts.calls import Call
from trainer.rollouts.episode import Episode
from trainer.rollouts.playing import play
from trainer.rollouts.prompts import Prompt
from trainer.rollouts.rollout import Ending, ToolResult
from trainer.rollouts.turns import TurnWriter
from trainer.sampling import TorchEngine
from trainer.sampling.engine import Completion, StopReason
from trainer.tokenizer import train_tokenizer

TRAJECTORIES, TURNS, TURN_TOKENS, ROUNDS = 64, 4, 48, 5
SECONDS = 0.2
SHAPE = {"hidden_size": 256, "layers": 4, "heads": 4, "kv_heads": 2, "head_dim": 64, "ffn_size": 768}
CALL = '<tool_call>{"name": "search_law", "arguments": {"query": "a"}}</tool_call>'


class Calling(Episode):
    """A random policy calls nothing: what it writes stands for a call, and in the last turn for an answer."""

    def wrote(self, completion: Completion) -> None:
        text = CALL if self.turns + 1 < TURNS else "done"
        super().wrote(replace(completion, text=text, stop_reason=StopReason.STOP_STRING))


class Tools:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def call(self, call: Call, *, session: str, key: str) -> ToolResult:
        await asyncio.sleep(self.seconds)
        return ToolResult("ok", "section 12 " * 10)

    async def end(self, session: str) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is open."""


def measure() -> dict[str, float]:
    torch.set_num_threads(1)
    tokenizer = train_tokenizer(["the market opens on day 12"] * 5, vocab_size=400, context_length=1024)
    shape = ModelShape.model_validate({**SHAPE, "context_length": 1024, "tokenizer": {"vocab_size": 400}})
    policy = initialise_policy(shape, tokenizer, seed=1, device=torch.device("cpu"))
    engine, writer = TorchEngine(policy.model, tokenizer), TurnWriter(tokenizer, [])
    play_round(engine, writer, 0.0)
    times = [(play_round(engine, writer, 0.0), play_round(engine, writer, SECONDS)) for _ in range(ROUNDS)]
    ratios = [slow / instant for instant, slow in times]
    return {
        "agents.instant_tools_s": statistics.median(instant for instant, _ in times),
        "agents.slow_tools_ratio": statistics.median(ratios),
        "agents.slow_tools_ratio_low": min(ratios),
        "agents.slow_tools_ratio_high": max(ratios),
    }


def play_round(engine: TorchEngine, writer: TurnWriter, seconds: float) -> float:
    """Seconds of one round."""
    episodes = [
        Calling(
            prompt=Prompt(name=f"some@1#{number}", row={}, ids=tuple(range(3, 40)), text=""),
            group=number // 8,
            index=number % 8,
            seed=number,
            room=800,
            limits=ToolLimits(turns=TURNS + 1),
            writer=writer,
            tools={"search_law": {}},
            end_tokens=frozenset(),
        )
        for number in range(TRAJECTORIES)
    ]
    began = time.perf_counter()
    play(
        episodes,
        engine,
        lambda: Tools(seconds),
        request=lambda episode: episode.request(temperature=1.0, top_p=1.0, turn_tokens=TURN_TOKENS),
        name=lambda episode: f"{episode.group} {episode.index}",
        longest=900,
    )
    assert all(episode.ending is Ending.ANSWERED and episode.turns == TURNS for episode in episodes)
    return time.perf_counter() - began
