"""What the tool service knows episodes by: under one name it answers a call once, and would refuse another one."""

from pathlib import Path
from typing import Any

import pytest

from tests.rollout_runs import GRPO, write_base, write_rollout_run
from tests.trainer_runs import open_here
from trainer.rollouts import playing, tool_client


def test_no_two_episodes_of_a_run_have_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two stages ask the same questions, in rounds and held out, before and after a step."""
    from trainer.stage import StageWork

    stage: dict[str, Any] = {
        **GRPO,
        "kind": "agentic_rft",
        "in_step": True,
        "tell_tools": False,
        "held_out": [{"dataset": "others@1"}],
        "measure_every": 1,
        "steps": 2,
    }
    names: list[str] = []
    play = playing.play

    def listen(episodes: Any, *more: Any, name: Any, **others: Any) -> None:
        names.extend(map(name, episodes))
        play(episodes, *more, name=name, **others)

    monkeypatch.setattr(playing, "play", listen)
    search = {"type": "function", "function": {"name": "search_law", "parameters": {}}}
    monkeypatch.setattr(tool_client, "read_tools", lambda toolset: ("", [search]))
    toolset = {"name": "law@1", "tools": ["search_law"], "address": "http://127.0.0.1:9"}
    out = write_rollout_run(
        tmp_path / "run", [stage, stage], write_base(tmp_path / "base"), recipe={"toolset": "law@1"}, toolset=toolset
    )
    session = open_here(out)
    for number in range(2):
        work = StageWork(session, number, session.spec.recipe.stages[number])  # type: ignore[arg-type]
        work.tell_started()
        work.measure_if_due()
        while work.done < work.steps:
            for update in work.collect():
                work.optimize(update)
            work.end_round()
            work.measure_if_due()
        work.algorithm.close()
    assert len(names) == 2 * (2 * 8 + 3 * 3)
    assert len(set(names)) == len(names)
