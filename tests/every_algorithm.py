"""A small stage for every algorithm, from one base and with one teacher: what all of them must have in common."""

from pathlib import Path
from typing import Any

from tests.rollout_runs import GRPO, INK, question_rows, write_base, write_rollout_run
from tests.trainer_runs import chat_rows, text_rows, write_rows
from trainer.contract.hashing import hash_directory

OPTIMIZER = {"learning_rate": 3e-3, "schedule": "constant", "clip_norm": 1e6}
ROWS = {"steps": 10, "batch_size": 8, "sequence_length": 80, "optimizer": OPTIMIZER}
OWN = {**GRPO, "steps": 10, "batch_size": 16, "group_size": 2}
LATER: dict[str, Any] = {"updates_per_rollout": 2}
"""The second update of a round weighs tokens against weights that are no longer the present ones."""

STAGES: dict[str, dict[str, Any]] = {
    "cpt": {"kind": "cpt", "data": [{"dataset": "law@1"}], **ROWS, "sequence_length": 64},
    "sft": {"kind": "sft", "data": [{"dataset": "chat@1"}], **ROWS},
    "dpo": {"kind": "dpo", "data": [{"dataset": "pairs@1"}], **ROWS, "sequence_length": 128},
    "opd": {
        **{"kind": "opd", "teacher": "teacher", "data": [{"dataset": "questions@1"}], **ROWS, "sequence_length": 96},
        **{"on_policy": 0.5, "cross_entropy_weight": 0.3, "sampling": GRPO["sampling"]},
    },
    "grpo": {**OWN, **LATER, "group_size": 4, "kl_weight": 0.1},
    "ink_grpo": {**INK, "steps": 10, "knowledge_rate": 0.5, "knowledge_batch_size": 8},
    "online_dpo": {**OWN, "kind": "online_dpo"},
    "rf_nll": {**OWN, "kind": "rf_nll"},
}
"""One of each kind."""

VARIANTS: dict[str, dict[str, Any]] = {
    "cpt": STAGES["cpt"],
    "sft": STAGES["sft"],
    "sft, f_alpha": {**STAGES["sft"], "objective": "f_alpha", "alpha": 0.5},
    "sft over kept tokens": {
        **{**STAGES["sft"], "objective": "only_bottom_logp", "threshold": 0.003, "denominator": "kept"}
    },
    "dpo": STAGES["dpo"],
    "dpo, ipo": {**STAGES["dpo"], "loss": "ipo"},
    "opd off policy": {**STAGES["opd"], "on_policy": 0.0},
    "opd on policy": {**STAGES["opd"], "on_policy": 1.0, "cross_entropy_weight": 0.0, "beta": 0.5, "temperature": 1.3},
    "opd, top k": {**STAGES["opd"], "on_policy": 0.0, "beta": 1.0, "top_k": 7, "teacher_prompt": "Name the day."},
    "grpo": {**OWN, **LATER, "group_size": 4},
    "grpo, by rollout": {**STAGES["grpo"], "ratio": "sequence", "aggregation": "sequence_mean", "clip_low": 0.01},
    "grpo, constant": {
        **{**STAGES["grpo"], "aggregation": "constant", "divide_by_std": False, "dual_clip": 1.05},
        **{"filter_overlong": True, "clip_low": 0.02, "clip_high": 0.03},
    },
    "ink_grpo": {**INK, **LATER, "knowledge_rate": 1.0, "knowledge_batch_size": 8},
    "online_dpo": STAGES["online_dpo"],
    "rf_nll": STAGES["rf_nll"],
}
"""Those and what their options change about the loss."""


def pair_rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "messages": [{"role": "user", "content": f"When does market {n} open?"}],
            "chosen": f"On day {n % 28 + 1}." + " It closes at dusk." * (n % 2),
            "rejected": "Later." + " Wait." * (n % 4),
        }
        for n in range(count)
    ]


def write_models(folder: Path) -> dict[str, Path]:
    """A base, and a teacher with its tokens and other weights."""
    import torch

    from trainer.policy import load_policy

    base = write_base(folder / "base")
    teacher = load_policy(base, device=torch.device("cpu"), field="teacher")
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for weight in teacher.model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    teacher.save(folder / "teacher")
    return {"base": base, "teacher": folder / "teacher"}


def write_stages(out: Path, stages: list[dict[str, Any]], models: dict[str, Path], **fields: Any) -> Path:
    """An attempt directory; every dataset that the stages above name lies beside it."""
    rows = out / "rows"
    rows.mkdir(parents=True, exist_ok=True)
    datasets = {
        "questions@1": write_rows(rows / "questions.jsonl", question_rows(20), "prompts"),
        "others@1": write_rows(rows / "others.jsonl", question_rows(24)[20:], "prompts"),
        "law@1": write_rows(rows / "law.jsonl", text_rows(30), "text"),
        "chat@1": write_rows(rows / "chat.jsonl", chat_rows(30), "chat"),
        "pairs@1": write_rows(rows / "pairs.jsonl", pair_rows(20), "preferences"),
    }
    teacher = {"path": str(models["teacher"]), "sha256": hash_directory(models["teacher"])}
    return write_rollout_run(out, stages, models["base"], datasets=datasets, models={"teacher": teacher}, **fields)
