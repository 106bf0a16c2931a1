"""What a speaker wants and with which details: intent accuracy and F1 over slots (xSID, van der Goot et al. 2021).

The answer holds a JSON object `{"intent": "weather/find", "slots": [{"slot": "location", "text": "Minga"}]}`; the last
one counts. A slot is right when label and words are the reference's, each as often as there; spaces and case of words
do not count. Over the sums of all sentences

    P = right / written,   R = right / wanted,   F1 = 2 right / (written + wanted).

Of one sentence without slots on both sides F1 is 1. An answer without such an object is unparsable.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample
from trainer.contract.metrics import IntentOptions
from trainer.evaluation.folding import normalise
from trainer.evaluation.last_object import find_last_object
from trainer.evaluation.metrics.base import Further, Judgement, RowMetric

if TYPE_CHECKING:
    from trainer.evaluation.tasks import Item

COUNTS = ("right", "written", "wanted")


class IntentSlots(RowMetric):
    """The intent is the target, the slots stand in the row."""

    name = "intent_slots"

    def configure(self, task: TaskSpec) -> None:
        self.options = cast(IntentOptions, task.options)

    def check_item(self, item: "Item") -> str:
        if not item.target.strip():
            return "doc_to_target gives no intent"
        if read_slots(item.row.get(self.options.slots)) is None:
            return f"the row has no list {self.options.slots} whose entries each have `slot` and `text`"
        return ""

    def judge_item(self, output: str, item: "Item") -> list[Judgement]:
        wanted = read_slots(item.row[self.options.slots])
        answer = find_last_object(output, lambda one: "intent" in one)
        if wanted is None or answer is None:
            return [
                Judgement(
                    None,
                    "unparsable",
                    {"intent": 0.0, "right": 0, "written": 0, "wanted": sum((wanted or Counter()).values())},
                )
            ]
        intent = float(normalise(str(answer.get("intent", ""))).lower() == normalise(item.target).lower())
        written = read_slots(answer.get("slots", [])) or Counter()
        right, many, needed = (sum(one.values()) for one in (written & wanted, written, wanted))
        f1 = 2 * right / (many + needed) if many + needed else 1.0
        score = {"intent": intent, "slot_f1": f1, "both": intent * (f1 == 1)}[self.options.measure]
        return [
            Judgement(
                float(score),
                detail={"intent": intent, "slot_f1": f1, "right": right, "written": many, "wanted": needed},
            )
        ]

    def further(self, samples: Sequence[ScoredSample]) -> list[Further]:
        found = [one for one in samples if "intent" in one.detail]
        if not found:
            return []
        clusters = [one.cluster for one in found]
        right, written, wanted = (sum(int(cast(int, one.detail[name])) for one in found) for name in COUNTS)
        none = [0.0] * len(found)
        return [
            Further("intent accuracy", [float(cast(float, one.detail["intent"])) for one in found], clusters),
            Further("slot precision", none, clusters, right / written if written else 0.0),
            Further("slot recall", none, clusters, right / wanted if wanted else 0.0),
            Further("slot F1", none, clusters, 2 * right / (written + wanted) if written + wanted else 1.0),
        ]


def read_slots(listed: Any) -> Counter[tuple[str, str]] | None:
    """Slots as (label, words) with how often each is there; None for anything that is no such list."""
    if not isinstance(listed, list):
        return None
    found: Counter[tuple[str, str]] = Counter()
    for one in listed:
        if not isinstance(one, Mapping) or not isinstance(one.get("slot"), str) or not isinstance(one.get("text"), str):
            return None
        found[(normalise(one["slot"]).lower(), normalise(one["text"]).lower().replace(" ", ""))] += 1
    return found
