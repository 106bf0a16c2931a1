"""Does the answer follow its prompt's instructions (IFEval), by prompt or by instruction, strictly or loosely."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample
from trainer.contract.metrics import InstructionOptions
from trainer.evaluation.instructions.reading import follows, follows_loosely, read_instructions
from trainer.evaluation.metrics.base import Further, Judgement, RowMetric

if TYPE_CHECKING:
    from trainer.evaluation.tasks import Item


class InstructionFollowing(RowMetric):
    """prompt: 1 when all are followed. instruction: one judgement each.

    Instructions that cannot be checked in the answer's language are skipped; a prompt of which none is left is left
    out. All four published numbers are told beside the score: they are one answer, read in four ways.
    """

    name = "ifeval"

    def configure(self, task: TaskSpec) -> None:
        self.options = cast(InstructionOptions, task.options)

    def check_item(self, item: "Item") -> str:
        try:
            read_instructions(item.row, thai=self.options.language == "th")
        except (ValueError, AttributeError) as error:
            return str(error)
        return ""

    def judge_item(self, output: str, item: "Item") -> list[Judgement]:
        asked = read_instructions(item.row, thai=self.options.language == "th")
        checked = [one for one in asked if not one.skipped]
        skipped = "; ".join(f"{one.name}: {one.skipped}" for one in asked if one.skipped)
        if not checked:
            return [Judgement(None, "left_out", {"reason": f"No instruction can be checked: {skipped}."})]
        strict = [float(follows(output, one)) for one in checked]
        loose = [float(kept or follows_loosely(output, one)) for kept, one in zip(strict, checked, strict=True)]
        chosen = loose if self.options.reading == "loose" else strict
        told: dict[str, float | int | str | list[float]] = {"skipped": skipped} if skipped else {}
        if self.options.level == "prompt":
            told |= {"instructions": ", ".join(one.name for one in checked), "strict": strict, "loose": loose}
            return [Judgement(float(all(chosen)), detail=told)]
        return [
            Judgement(
                score,
                detail={**told, "instruction": one.name, "strict": [strict[place]], "loose": [loose[place]]},
                part=f"{place + 1}-{one.name}",
            )
            for place, (score, one) in enumerate(zip(chosen, checked, strict=True))
        ]

    def further(self, samples: Sequence[ScoredSample]) -> list[Further]:
        told = []
        for reading in ("strict", "loose"):
            found = [
                (cast("list[float]", one.detail[reading]), one.cluster or one.item)
                for one in samples
                if reading in one.detail
            ]
            if not found:
                continue
            if self.options.level == "prompt":
                told.append(Further(f"prompt, {reading}", [float(all(v)) for v, _ in found], [c for _, c in found]))
            pairs = [(value, cluster) for values, cluster in found for value in values]
            told.append(Further(f"instruction, {reading}", [v for v, _ in pairs], [c for _, c in pairs]))
        return told
