"""Direct preference optimisation on pairs of answers from a dataset.

    L = (1/B) Σ_b ℓ(h_b),    h = [log π(y_w|x) − log π_ref(y_w|x)] − [log π(y_l|x) − log π_ref(y_l|x)]

over the B pairs of an optimiser step; y_w is the chosen answer, y_l the rejected one, log-probabilities are sums over
the answer's tokens and its end token, and the reference is the policy as it entered the stage.

    sigmoid    ℓ = −log σ(β h)          Rafailov et al. 2023, arXiv:2305.18290, equation 7
    ipo        ℓ = (h − 1/(2β))²        Azar et al. 2023, arXiv:2310.12036, equation 17

The two answers of a pair are read apart, each after the prompt, in the same micro-batch. A pair that is longer than
`sequence_length` is left out and counted: cut answers would be other answers.
"""

from typing import TYPE_CHECKING, Any

from trainer.algorithms.base import LossTerms, Note
from trainer.algorithms.documents import DocumentAlgorithm
from trainer.contract.stages.dpo import DpoStage
from trainer.data.chat import render_answer
from trainer.data.documents import Document, begin_apart
from trainer.data.rows import Row
from trainer.data.templates import chat_renderer, ensure_template

if TYPE_CHECKING:
    from trainer.data.batch import TokenBatch
    from trainer.policy import Policy
    from trainer.reference import Reference


class Dpo(DocumentAlgorithm):
    stage_class = DpoStage
    may_cut = False
    stage: DpoStage
    reference: "Reference"

    def prepare(self, policy: "Policy") -> None:
        ensure_template(policy)

    def open(self) -> None:
        from trainer.reference import Reference

        super().open()
        self.reference = Reference(self.context.policy)
        self.context.placement.hold_policy("reference", self.reference.policy, phases=("student", "save"))

    def render(self, row: Row, policy: "Policy") -> list[Document]:
        render = chat_renderer(policy.tokenizer, row.get("tools"))
        chosen, rejected = (
            render_answer(row["messages"], {"role": "assistant", "content": row[field]}, render)
            for field in ("chosen", "rejected")
        )
        return [[*chosen, *begin_apart(rejected)]]

    def loss(self, batch: "TokenBatch", policy: "Policy", *, targets: int) -> LossTerms:
        from trainer.preferences import compare_pairs

        losses_B, reported = compare_pairs(policy, self.reference, batch, beta=self.stage.beta, loss=self.stage.loss)
        return LossTerms({"preference": losses_B.sum() / max(1, targets)}, counted=len(losses_B), reported=reported)

    def tensors(self) -> dict[str, Any]:
        return self.reference.tensors()

    def restore(self, state: dict[str, Any], tensors: dict[str, Any]) -> None:
        super().restore(state, tensors)
        self.reference.restore(tensors)

    def notes(self) -> dict[str, Note]:
        return {"objective": self.stage.loss, "reference": "the policy as it entered the stage"}
