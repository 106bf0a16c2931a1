"""A project with a finished run whose rollouts are partly odd, for tests of labels and of the inbox."""

import io
import json
from pathlib import Path
from typing import Any

from chanote.datasets.services import import_dataset
from chanote.runs.models import Attempt, Run
from chanote.tools.calls import store_calls
from tests.rollout_rows import make_rollout, store_step
from tests.run_rows import make_run
from trainer.contract.rollouts import StoredRollout
from trainer.contract.tool_calls import StoredToolCall

JUDGED = {"kind": "grpo", "rewards": [{"kind": "judge"}, {"kind": "exact"}]}


def import_questions(project: Any, actor: Any, *, slug: str = "questions", count: int = 8, **rights: Any) -> Any:
    rows = "".join(json.dumps({"question": f"Question {n}?", "answer": str(n)}) + "\n" for n in range(count))
    given = {"licence": "CC-BY-4.0", "uses": ["train", "evaluate"], **rights}
    return import_dataset(
        project=project,
        slug=slug,
        kind="prompts",
        file=io.BytesIO(rows.encode()),
        format="jsonl",
        actor=actor,
        **given,
    )


def ask(group: int, index: int = 0, **fields: Any) -> StoredRollout:
    """A completion of row `group` of questions@1, as ChatML."""
    text = fields.pop("text", f"It is {group}.{index}.")
    prompt = ["<|im_start|>", "user\n", f"Question {group}?", "<|im_end|>", "\n", "<|im_start|>", "assistant\n"]
    given = {"row": f"questions@1#{group}", "prompt": prompt, "tokens": [text], "reference": str(group)}
    return make_rollout(group, index, **given | fields)


def make_odd_run(project: Any, owner: Any, directory: Path, *, number: int = 1, **fields: Any) -> Run:
    """Step 1: in prompt 0 the judge is fooled, prompt 1 asks its tool one thing four times, the rest is plain."""
    version = import_questions(project, owner)
    snapshot = {
        "recipe": {"base": "base-model", "stages": [JUDGED]},
        "datasets": {version.reference: {"sha256": version.sha256}},
    }
    run = make_run(project, number=number, state="finished", step=1, owner=owner, snapshot=snapshot, **fields)
    Attempt.objects.filter(run=run).update(directory=str(directory))
    plain = {"reward": 0.0, "rewards": {"judge": 0.0, "exact": 0.0}}
    right = {"reward": 1.0, "rewards": {"judge": 1.0, "exact": 1.0}}
    store_step(
        run,
        1,
        [
            ask(0, 0, reward=1.0, rewards={"judge": 1.0, "exact": 0.0}, text="<b>Trust me</b>, it is right."),
            ask(0, 1, **plain),
            ask(1, 0, **right),
            ask(1, 1, **plain),
            ask(2, 0, **plain),
            ask(2, 1, **plain),
        ],
    )
    calls = [
        StoredToolCall(
            call=f"c{number}-{turn}", step=1, rollout="1.0", turn=turn, tool="search_law",
            arguments='{"query": "fine"}', status="ok", wall_ms=2.0, output="none",
        )
        for turn in range(4)
    ]  # fmt: skip
    store_calls(run, calls)
    return run
