"""Supervised fine-tuning: likelihood of the answers in conversations, or another objective on their probability.

    L = (1/N) Σ_d Σ_t m_{d,t} f(p_{d,t}),    p_{d,t} = π(x_{d,t} | x_{d,<t}),    N = Σ m over the optimiser step

with mask m = 1 on the assistant's tokens and the token that ends its turn, 0 on everything that others say and that the
template adds (`loss_on: all` sets m = 1 everywhere). The mean runs over tokens, not over conversations, and over the
whole optimiser step, so that micro-batches of unequal length weigh what their tokens weigh.

    nll                f = −log p                          Ouyang et al. 2022, arXiv:2203.02155, section 3.5
    f_alpha            f = (1 − p^α) / α                   Li et al. 2025, arXiv:2510.00526
    only_top_p         f = (1 − p) · 1[p ≥ q]              ibid., the indicator is not differentiated
    only_bottom_p      f = (1 − p) · 1[p ≤ q]
    only_top_logp      f = −log p · 1[p ≥ q]
    only_bottom_logp   f = −log p · 1[p ≤ q]

The gradient of f_α is p^α times that of −log p. With `denominator: kept` N counts only the tokens that the threshold q
keeps, as the authors' own code does; their number is known after the last micro-batch, and the gradient is divided
then.
"""

from typing import TYPE_CHECKING

from trainer.algorithms.base import LossTerms
from trainer.algorithms.documents import DocumentAlgorithm
from trainer.contract.stages.sft import SftStage
from trainer.data.chat import render_conversation
from trainer.data.documents import Document
from trainer.data.rows import Row
from trainer.data.templates import chat_renderer, ensure_template

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.data.batch import TokenBatch
    from trainer.losses import Side
    from trainer.policy import Policy

THRESHOLDED: "dict[str, tuple[float, Side | None]]" = {
    "only_top_p": (1.0, "above"),
    "only_bottom_p": (1.0, "below"),
    "only_top_logp": (0.0, "above"),
    "only_bottom_logp": (0.0, "below"),
}
"""Objective → its α, and the side of the threshold that it keeps."""


class Sft(DocumentAlgorithm):
    stage_class = SftStage
    stage: SftStage

    def prepare(self, policy: "Policy") -> None:
        ensure_template(policy)

    def render(self, row: Row, policy: "Policy") -> list[Document]:
        render = chat_renderer(policy.tokenizer, row.get("tools"))
        return render_conversation(row["messages"], render, loss_on=self.stage.loss_on)

    def loss(self, batch: "TokenBatch", policy: "Policy", *, targets: int) -> LossTerms:
        from trainer.losses import IGNORED, f_alpha, keep_by_threshold, summed_objective

        stage = self.stage
        if stage.objective == "nll" or batch.targets == 0:
            return LossTerms({"nll": policy.summed_nll(batch) / max(1, targets)})
        alpha, side = THRESHOLDED.get(stage.objective, (stage.alpha, None))
        kept = 0

        def measure(logp_C: "Tensor", rows: slice) -> "Tensor":
            nonlocal kept
            if side is None:
                return f_alpha(logp_C, alpha)
            keep_C = keep_by_threshold(logp_C, stage.threshold, side)
            kept += int(keep_C.sum())
            return f_alpha(logp_C, alpha) * keep_C

        target_N = batch.labels_N != IGNORED
        total, logp_K = summed_objective(
            policy.hidden(batch)[target_N],
            policy.model.get_output_embeddings().weight,
            batch.labels_N[target_N],
            measure,
        )
        reported = {"train/nll": (-logp_K.sum().item(), batch.targets)}
        if side is not None:
            reported["train/kept_share"] = (float(kept), batch.targets)
        return LossTerms(
            {stage.objective: total / max(1, targets)},
            counted=kept if stage.denominator == "kept" else None,
            reported=reported,
        )

    def notes(self) -> dict[str, str | int | float | bool]:
        stage = self.stage
        facts: dict[str, str | int | float | bool] = {
            "loss_on": "answers and their end token" if stage.loss_on == "assistant" else "every token",
            "objective": stage.objective,
        }
        if stage.objective == "f_alpha":
            facts["alpha"] = stage.alpha
        if stage.objective in THRESHOLDED:
            facts |= {"threshold": stage.threshold, "denominator": f"{stage.denominator} tokens"}
        return facts
