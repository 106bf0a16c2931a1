"""Does an objective that trusts the policy's own belief beat likelihood as the base knows more, and lose as it knows
less?

Fine-tuning data of the same kind, half of whose answers carry a wrong value, is made on laws that the base knows by
heart (the neighbour's), has half learned (their text was read for a while) or has never met. Two objectives train on
it from the same weights: −log p, and f_α with α = 1, which is 1 − p and gives little to tokens the policy thinks
unlikely. The score is the right value in a question form that was not trained.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.replication.bases import Family, open_family
from tests.replication.laws import chat_rows, chats_as_text, prompt_rows, spoil_values, text_rows
from tests.replication.runs import Scores, scratch, train

TUNING_SEED = 100
SEEDS = (1, 2, 3)
LEVELS = ("known", "half-learned", "unknown")
OBJECTIVES: dict[str, dict[str, Any]] = {
    "nll": {"objective": "nll"},
    "f-alpha-1": {"objective": "f_alpha", "alpha": 1.0},
}
TRAINED_FORMS, ASKED_FORMS = (0, 1), (2,)
FACTS = 48


@dataclass(frozen=True)
class Settings:
    """Chosen on the tuning seed's laws."""

    steps: int = 60
    learning_rate: float = 1e-3
    wrong: float = 0.5
    """Share of answers with a wrong value."""
    reading_steps: int = 40
    """Of the text, before the half-learned level is fine-tuned."""


CHOSEN = Settings()


def run_family(seed: int, settings: Settings = CHOSEN) -> Scores:
    """Score at each level before training and after each objective, for one seed; arms are `level objective`."""
    family = open_family(seed)
    scores: Scores = {}
    for level in LEVELS:
        facts = family.nation.neighbour[:FACTS] if level == "known" else family.nation.taught[:FACTS]
        start = _read(family, settings) if level == "half-learned" else family.chat
        data = spoil_values(facts, share=settings.wrong, forms=TRAINED_FORMS, seed=seed)
        tasks = {"right": prompt_rows(facts, forms=ASKED_FORMS)}
        folder = scratch() / f"objectives-{seed}" / level
        scores[f"{level} start"] = train(folder / "start", [], {}, base=start, seed=seed, tasks=tasks).as_record()
        for name, fields in OBJECTIVES.items():
            stage = {
                "kind": "sft",
                "data": [{"dataset": "answers@1"}],
                "steps": settings.steps,
                "batch_size": 4,
                "sequence_length": 128,
                "optimizer": {"learning_rate": settings.learning_rate, "schedule": "cosine", "warmup_steps": 5},
                **fields,
            }
            outcome = train(folder / name, [stage], {"answers": chat_rows(data)}, base=start, seed=seed, tasks=tasks)
            scores[f"{level} {name}"] = outcome.as_record()
    return scores


def _read(family: Family, settings: Settings) -> Path:
    """The family's chat model after some of the new code's text, with old conversations against forgetting."""
    stage = {
        "kind": "cpt",
        "data": [{"dataset": "law@1"}, {"dataset": "replay@1"}],
        "steps": settings.reading_steps,
        "batch_size": 8,
        "sequence_length": 128,
        "optimizer": {"learning_rate": 1e-3, "schedule": "constant", "warmup_steps": 5},
    }
    data = {
        "law": text_rows(family.nation.taught[:FACTS]),
        "replay": chats_as_text(chat_rows(prompt_rows(family.nation.neighbour))),
    }
    return train(
        scratch() / f"objectives-{family.seed}" / "reading", [stage], data, base=family.chat, seed=family.seed
    ).model
