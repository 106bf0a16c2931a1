"""A finished agentic run, put into an installation from files as the trainer writes them; prints its number.

Started with the installation's environment: `python agentic_run.py PROJECT FOLDER`.
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import django  # noqa: E402

django.setup()

from chanote.accounts.models import Project  # noqa: E402
from chanote.runs.ingest import read_batch, store, try_effect  # noqa: E402
from chanote.runs.models import Attempt, RunEvent  # noqa: E402
from tests.rollout_rows import make_episode, make_tool_call, pack, stored_event  # noqa: E402
from tests.run_rows import make_run  # noqa: E402
from trainer.contract.events import ToolCallsStored  # noqa: E402
from trainer.contract.rollouts import StoredRollout  # noqa: E402
from trainer.contract.tool_calls import StoredToolCall  # noqa: E402

EVIL = "<script>window.pwned = true</script><img src=x onerror='window.pwned = true'>"
JUDGED = '{"explanation": "It names the day, and the section that says so.", "score": 2}'


def make_step(step: int) -> tuple[list[StoredRollout], list[StoredToolCall]]:
    """Two prompts of two rollouts each. Of step 2 the second rollout of the second prompt fails."""
    rollouts, calls = [], []
    for group in range(2):
        for index in range(2):
            fails = (step, group, index) in {(2, 1, 1), (3, 0, 0)}
            fields: dict[str, Any] = {
                "reward": 0.0 if fails else 1.0,
                "rewards": {"exact": 0.0 if fails else 1.0, "judge": 0.0 if fails else 1.0},
                "words": {"judge": JUDGED},
                "reference": "ตลาดนัดเปิดวันที่ 4",
                "stop_reason": "turn_limit" if fails else "answered",
            }
            rollouts.append(make_episode(group, index, **fields))
            place = f"{group}.{index}"
            calls.append(make_tool_call(place, call=f"{step}-{place}-0", step=step, output=EVIL + "มาตรา " * 2000))
            if fails:
                calls.append(
                    make_tool_call(
                        place, call=f"{step}-{place}-1", step=step, turn=2, tool="read_law", status="rejected", tries=0,
                        arguments='{"law": ', output="Error: the call is not valid JSON (at character 9).",
                    )
                )  # fmt: skip
    return rollouts, calls


def main(project: str, folder: Path) -> int:
    home = Project.objects.get(slug=project)
    number = max(home.runs.values_list("number", flat=True), default=0) + 1
    run = make_run(home, number=number, name="learns tools", state="finished", step=3)
    # Its own revision says nothing, as no recipe on a page may.
    bare = run.revision.recipe
    run.revision = home.runs.get(number=1).revision
    run.save()
    bare.delete()
    attempt = run.attempts.get()
    Attempt.objects.filter(pk=attempt.pk).update(directory=str(folder))
    attempt.refresh_from_db()
    events = []
    for step in (1, 2, 3):
        rollouts, calls = make_step(step)
        told = stored_event(step, rollouts)
        also = ToolCallsStored(stage=0, step=step, path=f"tool_calls/step-{step:08d}.jsonl.zst", calls=len(calls))
        for path, content in ((told.path, rollouts), (also.path, calls)):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(pack(content))
        events += [told, also]
    lines = [{"seq": seq, "at": 1.7e9 + seq, "event": one.model_dump(mode="json")} for seq, one in enumerate(events)]
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    batch = read_batch(attempt)
    assert batch is not None
    store(attempt, batch)
    problems = [try_effect(attempt, event) for event in RunEvent.objects.filter(attempt=attempt)]
    assert not any(problems), problems
    print(number)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
