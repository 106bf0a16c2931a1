"""Small stages that sample from a tiny policy: specs, opened stages, stored rollouts."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zstandard

from tests.trainer_runs import PLACES, TINY, chat_rows, law_texts, open_here, text_rows, write_rows, write_run
from trainer.contract.hashing import hash_directory
from trainer.contract.rollouts import StoredRollout

if TYPE_CHECKING:
    from trainer.stage import StageWork

GRPO: dict[str, Any] = {
    "kind": "grpo",
    "data": [{"dataset": "questions@1"}],
    "steps": 4,
    "batch_size": 8,
    "group_size": 4,
    "sequence_length": 96,
    # Stop strings give a policy that knows nothing completions of unequal length.
    "sampling": {"max_new_tokens": 16, "stop": ["a", "n"]},
    "rewards": [{"kind": "overlong", "buffer": 16}],
    "optimizer": {"learning_rate": 3e-3, "schedule": "constant", "clip_norm": 1e6},
}
INK: dict[str, Any] = {**GRPO, "kind": "ink_grpo", "corpus": [{"dataset": "law@1"}], "knowledge_batch_size": 2}


def question_rows(count: int) -> list[dict[str, Any]]:
    return [
        {"question": f"When does market {n} of {PLACES[n % 7]} open?", "answer": f"On day {n % 28 + 1}."}
        for n in range(count)
    ]


def write_base(directory: Path, **shape: Any) -> Path:
    """A policy with random weights that knows the words of the tests' laws; `shape` changes what it is like."""
    import torch

    from trainer.contract.stages.cpt import ModelShape
    from trainer.policy import initialise_policy
    from trainer.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(law_texts(60), vocab_size=320, context_length=128)
    policy = initialise_policy(ModelShape(**{**TINY, **shape}), tokenizer, seed=5, device=torch.device("cpu"))
    directory.mkdir(parents=True, exist_ok=True)
    policy.save(directory)
    return directory


def write_rollout_run(out: Path, stages: list[dict[str, Any]], base: Path, **fields: Any) -> Path:
    """An attempt directory whose recipe starts from the base; its datasets lie beside it."""
    out.mkdir(parents=True, exist_ok=True)
    datasets = {
        "questions@1": write_rows(out / "questions.jsonl", question_rows(12), "prompts"),
        "others@1": write_rows(out / "others.jsonl", question_rows(15)[12:], "prompts"),
        "law@1": write_rows(out / "law.jsonl", text_rows(20), "text"),
        "chat@1": write_rows(out / "chat.jsonl", chat_rows(10), "chat"),
    }
    return write_run(
        out,
        stages,
        fields.pop("datasets", datasets),
        recipe={"base": "tiny", **fields.pop("recipe", {})},
        base={"path": str(base), "sha256": hash_directory(base)},
        **fields,
    )


def open_stage(out: Path, stage: dict[str, Any], base: Path) -> "StageWork":
    """The first stage of a run, ready to collect."""
    from trainer.stage import StageWork

    session = open_here(write_rollout_run(out, [stage], base))
    work = StageWork(session, 0, session.spec.recipe.stages[0])  # type: ignore[arg-type]
    work.tell_started()
    return work


def gradients(work: "StageWork") -> dict[str, Any]:
    """Of the last optimiser step, before anything clipped them: the tests' clip_norm is out of reach."""
    return {
        name: weight.grad.clone() for name, weight in work.policy.model.named_parameters() if weight.grad is not None
    }


def read_rollouts(out: Path, step: int) -> list[StoredRollout]:
    content = zstandard.ZstdDecompressor().decompress((out / f"rollouts/step-{step:08d}.jsonl.zst").read_bytes())
    return [StoredRollout.model_validate(json.loads(line)) for line in content.splitlines()]
