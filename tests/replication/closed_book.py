"""Closed book: does reinforcement learning on questions about a new code of law need the text of the code?

Every arm starts from the same base, which knows the neighbour's code and how to answer, and nothing of the new one.
Half of the new code is *asked* (its questions are prompts of the reinforcement learning), the other half is *held*: it
stands in the text that some arms read, no question on it is ever trained on, and the score is taken there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.replication.bases import Family, open_family
from tests.replication.laws import (
    Row,
    chat_rows,
    chats_as_text,
    choice_rows,
    prompt_rows,
    shuffle_values,
    strange_facts,
    text_rows,
)
from tests.replication.runs import Scores, scratch, train

TUNING_SEED = 100
SEEDS = (1, 2, 3)
MAIN_ARMS = ("start", "grpo", "ink", "ink-paper")
CONTROL_ARMS = ("start", "ink", "grpo-longer", "ink-shuffled", "text", "text-replay")

RHO = 0.6
PAPER_LAMBDA = 0.1
GROUPS, GROUP_SIZE = 6, 8


@dataclass(frozen=True)
class Settings:
    """Chosen on the tuning seed's laws."""

    repeating_steps: int = 100
    strange_facts: int = 800
    steps: int = 120
    learning_rate: float = 1e-3
    knowledge_weight: float = 1.0
    """λ. Not the paper's 0.1, which is an arm of its own."""
    knowledge_sequences: int = 8
    longer: float = 1.5
    """Steps of the arm with equal compute, over those of InK-GRPO."""


CHOSEN = Settings()


def run_family(seed: int, arms: Sequence[str], settings: Settings = CHOSEN) -> Scores:
    """Score of every task after every arm, for one seed."""
    family = open_family(seed)
    start = teach_to_repeat(family, settings)
    recipes = describe_arms(family, settings)
    tasks = make_tasks(family)
    scores: Scores = {}
    for arm in arms:
        stages, data = recipes[arm]
        folder = scratch() / f"closed-book-{seed}" / arm
        outcome = train(folder, stages, data, base=start, seed=seed, tasks=tasks)
        answers = zip(outcome.samples("held"), tasks["held"], strict=True)
        formed = [sample["output"] in row["well_formed"] for sample, row in answers]
        scores[arm] = {**outcome.as_record(), "held-form": round(sum(formed) / len(formed), 4)}
    return scores


def teach_to_repeat(family: Family, settings: Settings) -> Path:
    """The chat model after more conversations, most of them on made-up laws whose values are a guess.

    It then names the law that was asked about, the new code's laws included, whose names stand here with values drawn
    at random. A policy that does not name it never samples the right form, and what would be measured is whether
    chance finds the form before the text has worn it away.
    """
    folder = scratch() / f"closed-book-{family.seed}" / "repeating"
    if (folder / "start").exists():
        return folder / "start"
    nation = family.nation
    names = [*nation.pool_names, *dict.fromkeys(fact.law for fact in nation.new_code)]
    strange = prompt_rows(strange_facts(nation, names=names, count=settings.strange_facts, seed=family.seed))
    stage = {
        "kind": "sft",
        "data": [{"dataset": "questions@1"}],
        "steps": settings.repeating_steps,
        "batch_size": 8,
        "sequence_length": 128,
        "optimizer": {"learning_rate": 2e-3, "schedule": "cosine", "warmup_steps": 5},
    }
    rows = chat_rows([*prompt_rows(nation.neighbour), *strange])
    outcome = train(folder, [stage], {"questions": rows}, base=family.chat, seed=family.seed)
    return outcome.model.rename(folder / "start")


def make_tasks(family: Family) -> dict[str, list[Row]]:
    nation = family.nation
    return {
        "held": prompt_rows(nation.read_only),
        "held-choices": choice_rows(nation.read_only, seed=family.seed),
        "asked": prompt_rows(nation.taught[:32]),
        "neighbour": prompt_rows(nation.neighbour),
    }


def describe_arms(family: Family, settings: Settings) -> dict[str, tuple[list[dict[str, Any]], dict[str, list[Row]]]]:
    """Arm → its stages and its data."""
    nation = family.nation
    asked, held = nation.taught[:32], nation.read_only
    true = text_rows([*asked, *held])
    wrong = text_rows(shuffle_values([*asked, *held], seed=family.seed))
    prompts = prompt_rows(asked)
    replay = chats_as_text(chat_rows(prompt_rows(nation.neighbour)))
    readings = round(RHO * settings.steps)
    optimizer = {"learning_rate": settings.learning_rate, "schedule": "constant", "warmup_steps": 5}

    def rollouts(kind: str, steps: int, **fields: Any) -> dict[str, Any]:
        return {
            "kind": kind,
            "data": [{"dataset": "prompts@1"}],
            "steps": steps,
            "batch_size": GROUPS * GROUP_SIZE,
            "group_size": GROUP_SIZE,
            "sequence_length": 128,
            "sampling": {"max_new_tokens": 16},
            "rewards": [
                {"kind": "exact", "weight": 0.7},
                {"kind": "exact", "name": "form", "reference": "well_formed", "weight": 0.3},
            ],
            "optimizer": optimizer,
            **fields,
        }

    def ink(weight: float) -> dict[str, Any]:
        return rollouts(
            "ink_grpo",
            settings.steps,
            corpus=[{"dataset": "law@1"}],
            knowledge_weight=weight,
            knowledge_rate=RHO,
            knowledge_batch_size=settings.knowledge_sequences,
        )

    def read(steps: int, *sources: str) -> dict[str, Any]:
        return {
            "kind": "cpt",
            "data": [{"dataset": f"{source}@1"} for source in sources],
            "steps": steps,
            "batch_size": settings.knowledge_sequences * len(sources),
            "sequence_length": 128,
            "optimizer": optimizer,
        }

    return {
        "start": ([], {}),
        "grpo": ([rollouts("grpo", settings.steps)], {"prompts": prompts}),
        "grpo-longer": ([rollouts("grpo", round(settings.longer * settings.steps))], {"prompts": prompts}),
        "ink": ([ink(settings.knowledge_weight)], {"prompts": prompts, "law": true}),
        "ink-paper": ([ink(PAPER_LAMBDA)], {"prompts": prompts, "law": true}),
        "ink-shuffled": ([ink(settings.knowledge_weight)], {"prompts": prompts, "law": wrong}),
        "text": ([read(readings, "law")], {"law": true}),
        "text-replay": ([read(readings, "law", "replay")], {"law": true, "replay": replay}),
    }
