"""The experiments' base models, one per seed: its own nation, weights, text and order."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.replication.laws import base_rows, chat_rows, prompt_rows, strange_facts
from tests.replication.runs import scratch, train
from tests.trainer_runs import REPOSITORY
from trainer.contract.hashing import hash_directory
from trainer.demoworld.nation import LANGUAGES, Nation, found_nation

BASE_STEPS = 600
CHAT_STEPS = 60
OPTIMIZER = {"learning_rate": 3e-3, "schedule": "cosine", "warmup_steps": 50}
SHAPE = {
    "hidden_size": 96,
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 32,
    "ffn_size": 256,
    "context_length": 512,
    "rope_theta": 100,
}
"""The demo base's, whose tokenizer they share: it has one token for every name and number of every nation."""


@dataclass(frozen=True)
class Family:
    """What one seed made: a nation, the base that read its neighbour's code, and that base taught to answer."""

    seed: int
    folder: Path

    @cached_property
    def nation(self) -> Nation:
        return found_nation(self.seed)

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def chat(self) -> Path:
        return self.folder / "chat"

    @property
    def record(self) -> dict[str, float]:
        """Scores and CPU-seconds of its making."""
        made: dict[str, float] = json.loads((self.folder / "made.json").read_text(encoding="utf-8"))
        return made


def open_family(seed: int) -> Family:
    """The family of a seed, made now where it was not made before."""
    family = Family(seed, scratch() / f"family-{seed}")
    if not (family.folder / "made.json").exists():
        _make(family)
    return family


def _make(family: Family) -> None:
    nation, seed, folder = family.nation, family.seed, family.folder
    questions = prompt_rows(nation.neighbour, languages=LANGUAGES)
    strange = prompt_rows(strange_facts(nation, count=96, seed=seed), languages=LANGUAGES)
    read = train(
        folder / "reading",
        [
            {
                "kind": "cpt",
                "data": [{"dataset": "documents@1"}],
                "steps": BASE_STEPS,
                "batch_size": 8,
                "sequence_length": 128,
                "optimizer": OPTIMIZER,
            }
        ],
        {"documents": list(base_rows(nation, seed=seed, documents=16 * BASE_STEPS))},
        base=_write_fresh(folder / "fresh", seed),
        seed=seed,
        tasks={"neighbour": questions},
    )
    answering = train(
        folder / "answering",
        [
            {
                "kind": "sft",
                "data": [{"dataset": "questions@1"}],
                "steps": CHAT_STEPS,
                "batch_size": 4,
                "sequence_length": 128,
                "optimizer": {"learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 5},
            }
        ],
        {"questions": chat_rows([*questions, *strange])},
        base=read.model,
        seed=seed,
        tasks={"neighbour": questions},
    )
    read.model.rename(family.base)
    answering.model.rename(family.chat)
    made = {
        "neighbour_base": read.scores["neighbour"],
        "neighbour_chat": answering.scores["neighbour"],
        "cpu_s": round(read.cpu_s + answering.cpu_s, 1),
    }
    (folder / "made.json").write_text(json.dumps(made) + "\n", encoding="utf-8")


def _write_fresh(folder: Path, seed: int) -> Path:
    import torch

    from trainer.contract.stages.cpt import ModelShape
    from trainer.policy import initialise_policy
    from trainer.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(REPOSITORY / "artifacts" / "demo-base" / "model")
    policy = initialise_policy(ModelShape(**SHAPE), tokenizer, seed=seed, device=torch.device("cpu"))
    folder.mkdir(parents=True, exist_ok=True)
    policy.save(folder)
    assert hash_directory(folder)
    return folder
