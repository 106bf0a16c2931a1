"""Samples of an agent as an evaluation leaves them."""

from pathlib import Path
from typing import Any

from trainer.contract.episodes import EpisodeCall, EpisodeTurn, ScoredEpisode
from trainer.contract.events import ScoredSample


def write_agent_samples(
    path: Path, scores: list[float | None], *, cost: float | None = None, wrong_calls: int = 0, **episode: Any
) -> Path:
    """Two turns and a call each; a score of None is an item whose tools failed. The first `wrong_calls` items have a
    call more, which could not be made."""
    lines = []
    for number, score in enumerate(scores):
        good = EpisodeCall(
            tool="search_law",
            arguments='{"query": "ตลาด"}',
            status="ok" if score is not None else "infra_error",
            wall_ms=12.5,
            output="[1] Market Code มาตรา 1 <b>opens</b> on day 1.",
        )
        bad = EpisodeCall(
            tool="none", arguments="{oops", status="rejected", wall_ms=0, output="Error: the call is not valid JSON."
        )
        calls = [good, bad] if number < wrong_calls else [good]
        found = ScoredEpisode(
            conversation=[
                EpisodeTurn(text="<think>look</think> <tool_call>…", calls=calls),
                EpisodeTurn(text="On day 1."),
            ],
            stop_reason="answered" if score is not None else "service_failed",
            turns=2,
            calls=len(calls),
            tool_errors=int(score is None),
            malformed_calls=len(calls) - 1,
            prompt_tokens=900,
            completion_tokens=100,
            cost=cost,
            seconds=1.25,
            rewards={"exact": score, "citation_f1": score if number % 2 else None} if score is not None else {},
            faults={} if number % 2 or score is None else {"citation_f1": "The row has no `citations`."},
        ).model_copy(update=episode)
        sample = ScoredSample(
            item=f"item-{number}",
            prompt=f"When does market {number} open?",
            output="On day 1." if score is not None else "",
            target="On day 1.",
            score=score,
            status="ok" if score is not None else "left_out",
            tokens=100,
            detail={} if score is not None else {"reason": "search_law said nothing within 30 s"},
            episode=found,
        )
        lines.append(sample.model_dump_json() + "\n")
    path.write_text("".join(lines), "utf-8")
    return path
