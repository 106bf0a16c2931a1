"""Answers to tasks as people may see them: personal data of the task's rows, and whatever models wrote, masked."""

from collections.abc import Iterable

from django.db.models import QuerySet

from chanote.boards.models import Sample, Task
from chanote.checks.masking import Mask, find_mask_of_writing

TEXTS = ("prompt", "output", "target", "detail", "episode")


def find_mask_of_task(task: Task) -> Mask:
    return find_mask_of_writing([task.dataset_version] if task.dataset_version else [])


def mask_samples(samples: Iterable[Sample], mask: Mask) -> list[Sample]:
    """The samples with every text masked; not to be saved."""
    shown = list(samples)
    for one in shown:
        for name in TEXTS:
            setattr(one, name, mask.apply(getattr(one, name)))
    return shown


def leave_out_covered(found: QuerySet[Sample], mask: Mask, words: str) -> QuerySet[Sample]:
    """Of a search those that hold the words where nothing is masked: else it would tell a number digit by digit."""
    wanted = words.casefold().split()
    if not wanted or (not mask.names and not any("@" in word or any(map(str.isdigit, word)) for word in wanted)):
        return found
    texts = found.values_list("pk", "item", "prompt", "output", "target")
    kept = [
        pk
        for pk, item, *said in texts.iterator(chunk_size=500)
        if all(word == item.casefold() or word in " ".join(map(mask.apply, said)).casefold() for word in wanted)
    ]
    return found.filter(pk__in=kept)
