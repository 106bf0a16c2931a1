"""A policy with tools: what rewards add to searches that were shown, with text beside them and without.

Every seed has a library of laws of its own: which laws are shown, asked about or searched alone, and all values. The
tools are the real service's, with the seed's library and the nation's new code in its index. The exam asks about laws
that no training question names; success is a right answer after a call that could be made, each question answered once
and greedily.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.replication.laws import Row
from tests.replication.record import write_record
from tests.replication.runs import RESULTS, Scores, cpu_seconds, scratch
from tests.sandbox_serving import serve_tools
from tests.trainer_runs import REPOSITORY, events_of, run_here, write_rows, write_run
from trainer.contract.hashing import hash_directory
from trainer.demoworld.catalogue import BASE_MODEL, SEED, TOOLSET, read_recipe
from trainer.demoworld.datasets import write_new_code
from trainer.demoworld.library import (
    Library,
    found_library,
    write_exam,
    write_practice,
    write_sections,
    write_traces,
)
from trainer.demoworld.nation import found_nation

NAME = "agent"
TUNING_SEEDS = (100, 1, 2)
SEEDS = (11, 12, 13, 14, 15)
ARMS = ("grpo", "ink", "traces-longer")
"""What every seed is taken through after its start, which is the first exam of `grpo`."""

MEASURES = {"success": "reward/exact", "called": "reward/called", "found": "reward/found", "calls": "calls"}
"""What is recorded of an exam, and what the trainer calls it."""


@dataclass(frozen=True)
class Settings:
    """Beside those of the library's recipe, chosen on the tuning seed's library."""

    recipe: str = "learn-to-search"
    answers: int = 16
    """Steps of its last stage: half of the recipe's, so that five seeds and all arms take an hour of CPU."""
    knowledge_weight: float = 0.1
    """λ of the paper."""
    knowledge_rate: float = 0.6
    """ρ of the paper."""
    knowledge_sequences: int = 8
    longer: int = 500
    """Steps on the same traces of the arm that gets no reward: about the CPU time of the reinforcement learning."""


CHOSEN = Settings()
NATION = found_nation(SEED)
"""The shipped base's: its neighbour's laws are in no library."""
TOOLS = {"name": "library@1", "tools": TOOLSET["tools"], "limits": TOOLSET["limits"]}


@cache
def read_stages(recipe: str = CHOSEN.recipe) -> list[dict[str, Any]]:
    """The library's recipe as plain data: fine-tuning, then the stages with rewards."""
    import yaml

    stages: list[dict[str, Any]] = yaml.safe_load(read_recipe(recipe))["stages"]
    assert [stage["kind"] for stage in stages] == ["sft", "agentic_rft", "agentic_rft"]
    return stages


def describe_arms(settings: Settings = CHOSEN) -> dict[str, list[dict[str, Any]]]:
    """Arm → its stages after the start."""
    shown, calls, answers = read_stages(settings.recipe)
    rewarded = [calls, {**answers, "steps": settings.answers}]
    reading = {
        "corpus": [{"dataset": "library"}],
        "knowledge_weight": settings.knowledge_weight,
        "knowledge_rate": settings.knowledge_rate,
        "knowledge_batch_size": settings.knowledge_sequences,
    }
    return {
        "grpo": rewarded,
        "ink": [{**stage, **reading} for stage in rewarded],
        "traces-longer": [{**shown, "steps": settings.longer}, _measure(rewarded[-1])],
    }


def _measure(stage: dict[str, Any]) -> dict[str, Any]:
    """A stage that learns nothing: its exam at the beginning is what is read."""
    return {**stage, "steps": 1, "batch_size": stage["group_size"], "measure_every": 0}


def run_families(seeds: Sequence[int], settings: Settings = CHOSEN) -> dict[str, Scores]:
    """Every arm for every seed, arm after arm, so that what was begun and not finished has whole arms."""
    by_seed: dict[str, Scores] = {str(seed): {} for seed in seeds}
    for arm in ARMS:
        for seed in seeds:
            by_seed[str(seed)] |= run_arm(seed, arm, settings)
            write_record(RESULTS / f"{NAME}.json", asdict(settings), by_seed)
    return by_seed


def run_arm(seed: int, arm: str, settings: Settings = CHOSEN) -> Scores:
    """What the exam says after an arm, and its CPU-seconds beyond those of the start; with `grpo`, of the start too."""
    start, made_in_s = teach_to_search(seed, settings)
    out, cpu_s = play(seed, arm, describe_arms(settings)[arm], base=start)
    if arm == "traces-longer":
        return {arm: {**read_exam(out, first=True), "cpu_s": round(cpu_s, 1)}}
    scores = {arm: {**read_exam(out, first=False), "cpu_s": round(cpu_s, 1)}}
    if arm == "grpo":
        return {"start": {**read_exam(out, first=True), "cpu_s": round(made_in_s, 1)}, **scores}
    return scores


def teach_to_search(seed: int, settings: Settings = CHOSEN) -> tuple[Path, float]:
    """The demo's base after the recipe's fine-tuning on traces, and the CPU-seconds of that."""
    folder = scratch() / f"agent-{seed}"
    made = folder / "made.json"
    if not made.exists():
        out, cpu_s = play(seed, "shown", read_stages(settings.recipe)[:1], base=REPOSITORY / BASE_MODEL["directory"])
        (out / events_of(out, "checkpoint_saved")[-1].path / "model").rename(folder / "start")
        made.write_text(json.dumps({"cpu_s": cpu_s}), encoding="utf-8")
    return folder / "start", json.loads(made.read_text(encoding="utf-8"))["cpu_s"]


def play(seed: int, arm: str, stages: list[dict[str, Any]], *, base: Path) -> tuple[Path, float]:
    """Run the stages with the tools of a service of its own; the attempt's directory and the trainer's CPU-seconds."""
    folder = scratch() / f"agent-{seed}" / arm
    folder.mkdir(parents=True, exist_ok=True)
    library = found_library(NATION, seed)
    rows: dict[str, tuple[str, list[Row]]] = {
        "search-traces": ("chat", list(write_traces(library))),
        "search-practice": ("prompts", list(write_practice(library))),
        "search-exam": ("prompts", list(write_exam(library))),
        "library": ("text", [{"text": row["text"]} for row in write_sections(library)]),
    }
    files = {name: write_rows(folder / f"{name}.jsonl", content, kind) for name, (kind, content) in rows.items()}
    corpus = write_service_corpus(folder / "laws.jsonl", library)
    with serve_tools(folder, "--no-code", "--corpus", corpus, "--index-folder", folder / "indexes") as address:
        out = write_run(
            folder / "run",
            stages,
            {name: files[name] for name in files},
            seed=seed,
            run=f"agent-{seed}-{arm}",
            recipe={"base": "demo-base", "toolset": "library@1"},
            base={"path": str(base), "sha256": hash_directory(base)},
            toolset={**TOOLS, "address": address},
        )
        (out / "events.jsonl").unlink(missing_ok=True)
        before = cpu_seconds()
        assert run_here(out) == 0, f"{folder.name} did not finish"
        return out, cpu_seconds() - before


def write_service_corpus(path: Path, library: Library) -> Path:
    """The library and the nation's new code as the service takes them: a line for each section."""
    sections: dict[tuple[str, str], dict[str, None]] = {}
    for row in (*write_new_code(NATION), *write_sections(library)):
        sections.setdefault((row["law_name"], row["section_num"]), {})[row["text"]] = None
    lines = [
        json.dumps({"law_name": law, "section_num": section, "text": "\n".join(texts)}, ensure_ascii=False)
        for (law, section), texts in sections.items()
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read_exam(out: Path, *, first: bool) -> dict[str, float]:
    """The exam at the beginning of the run, or at its end."""
    of_exam = "held_out/search-exam/"
    measured = [event.values for event in events_of(out, "metrics_logged") if f"{of_exam}reward" in event.values]
    values = measured[0 if first else -1]
    assert values[f"{of_exam}ended/service_failed"] == 0, "the tool service failed; nothing was measured"
    return {name: round(values[of_exam + key], 4) for name, key in MEASURES.items()}
