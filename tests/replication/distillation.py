"""Does on-policy distillation after fine-tuning answer held-out prompts better than more fine-tuning on the same rows?

The student is a base that has read the neighbour's code and never seen a chat. Rows are questions on half of the
neighbour's laws, in English and Thai. In one condition their answers are clean; in the other a share of them is given
in the other language than the question's, as translated corpora do. Both arms see the same rows for as many optimiser
steps; the distilled one takes a teacher's distributions over the student's own completions in place of the answers'
likelihood for the last of them. Scores are taken on the other half of the laws.
"""

from dataclasses import dataclass
from typing import Any

from tests.replication.bases import open_family
from tests.replication.laws import Row, chat_rows, mix_scripts, prompt_rows
from tests.replication.runs import Outcome, Scores, scratch, train
from trainer.demoworld.nation import LANGUAGES

TUNING_SEED = 100
SEEDS = (1, 2, 3)
CONDITIONS = ("clean", "mixed")
PAPER_ON_POLICY = 0.25


@dataclass(frozen=True)
class Settings:
    """Chosen on the tuning seed's laws."""

    sft_steps: int = 30
    further_steps: int = 60
    """Of distillation, or of more fine-tuning."""
    learning_rate: float = 5e-4
    mixed: float = 0.4
    """Share of answers in the other language, in the mixed condition."""


CHOSEN = Settings()


def run_family(seed: int, settings: Settings = CHOSEN) -> Scores:
    """Scores after every arm in both conditions, for one seed; arms are `condition arm`."""
    family = open_family(seed)
    seen, unseen = family.nation.neighbour[:48], family.nation.neighbour[48:]
    asked = prompt_rows(seen, languages=LANGUAGES)
    held = prompt_rows(unseen, languages=LANGUAGES)
    scores: Scores = {}
    for condition in CONDITIONS:
        share = settings.mixed if condition == "mixed" else 0.0
        rows = chat_rows(mix_scripts(asked, seen, share=share, seed=seed))
        for arm, stages in describe_arms(settings).items():
            outcome = train(
                scratch() / f"distillation-{seed}" / f"{condition}-{arm}",
                stages,
                {"rows": rows},
                base=family.base,
                seed=seed,
                tasks={"held": held},
                models={"teacher": family.chat},
            )
            scores[f"{condition} {arm}"] = {**outcome.as_record(), "switched": _share_switched(outcome, held)}
    return scores


def describe_arms(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """Arm → its stages. All but `sft` make the same number of optimiser steps."""
    optimizer = {"learning_rate": settings.learning_rate, "schedule": "constant", "warmup_steps": 5}

    def tune(steps: int) -> dict[str, Any]:
        return {
            "kind": "sft",
            "data": [{"dataset": "rows@1"}],
            "steps": steps,
            "batch_size": 4,
            "sequence_length": 128,
            "optimizer": optimizer,
        }

    def distil(on_policy: float) -> dict[str, Any]:
        return {
            "kind": "opd",
            "data": [{"dataset": "rows@1"}],
            "teacher": "teacher",
            "on_policy": on_policy,
            "steps": settings.further_steps,
            "batch_size": 16,
            "sequence_length": 128,
            "sampling": {"max_new_tokens": 24, "top_p": 0.95},
            "optimizer": optimizer,
        }

    first = tune(settings.sft_steps)
    return {
        "sft": [first],
        "sft-longer": [tune(settings.sft_steps + settings.further_steps)],
        "sft-opd": [first, distil(PAPER_ON_POLICY)],
        "sft-opd-on-policy": [first, distil(1.0)],
    }


def _share_switched(outcome: Outcome, held: list[Row]) -> float:
    """Share of answers with a letter of the script that the question is not written in."""
    switched = [
        _has_thai(sample["output"]) if row["language"] == "en" else _has_latin(sample["output"])
        for sample, row in zip(outcome.samples("held"), held, strict=True)
    ]
    return round(sum(switched) / len(switched), 4)


def _has_thai(text: str) -> bool:
    return any("\u0e00" <= letter <= "\u0e7f" for letter in text)


def _has_latin(text: str) -> bool:
    return any(letter.isascii() and letter.isalpha() for letter in text)
