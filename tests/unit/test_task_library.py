"""The ready-made tasks on the public data."""

import json

import pytest

from chanote.boards.services import hash_task
from chanote.datasets.shared import LOADERS
from chanote.datasets.shared.bavarian_xsid import join_slots
from trainer.contract import TaskSpec
from trainer.contract.library import library_tasks
from trainer.evaluation.metrics import metrics
from trainer.evaluation.metrics.base import AnswerMetric
from trainer.evaluation.tasks import render_items

HASH_BEFORE = "7ddddaaaf57106463df624ce4bacde5ae3c862b999a0844df1761a037ab4fca6"


class Template:
    """Stands for a tokenizer that has a chat template."""

    chat_template = "there is one"

    def apply_chat_template(self, messages, **settings):
        return "".join(message["content"] for message in messages)


@pytest.mark.shared_data
def test_every_task_of_the_library_asks_every_row_of_its_dataset(shared_data):
    datasets = {one.slug: one for name, load in LOADERS.items() for one in load(shared_data / name)}
    counts = {}
    for name, task in library_tasks().items():
        items = render_items(task, list(datasets[task.dataset].rows()), tokenizer=Template())
        metric = metrics()[task.metric]
        metric.configure(task)
        if isinstance(metric, AnswerMetric):
            assert {metric.check_item(item) for item in items} == {""}, name
        assert all(item.prompt.strip() for item in items), name
        counts[name] = len(items)
    assert counts == {
        "bavarian-intents": 500,
        "german-intents": 500,
        "gsm8k": 1319,
        "iapp-wiki-qa-th": len(list(datasets["iapp-wiki-qa-th-test"].rows())),
        "ifeval": 541,
        "ifeval-instructions": 541,
        "mgsm-en": 250,
        "mgsm-th": 250,
        "nitibench-tax": 50,
        "nitibench-tax-published": 50,
        "thai-code-switching-t07": 419 * 4,
        "thai-code-switching-t10": 419 * 4,
        "thai-exam": 952,
        "thai-exam-without-xnli": 752,
    }
    # The right answer, written as the prompt asks, is right.
    ruling = list(datasets["nitibench-tax"].rows())[1]
    task = library_tasks()["nitibench-tax"]
    metric = metrics()["citations"]
    metric.configure(task)
    (item,) = render_items(task, [ruling], tokenizer=Template())
    written = json.dumps({"answer": "", "citations": ruling["citations"]}, ensure_ascii=False)
    assert metric.judge_item(f"ดังนี้ {written}", item)[0].score == 1


def test_slots_are_joined_from_their_marks():
    words = [("um", "B-t"), ("viere", "I-t"), ("und", "O"), ("ei", "I-x"), ("a", "B-x"), ("b", "B-x"), ("c", "I-x")]
    assert join_slots(words) == [
        {"slot": "t", "text": "um viere"},
        {"slot": "x", "text": "ei"},
        {"slot": "x", "text": "a"},
        {"slot": "x", "text": "b c"},
    ]


def test_scores_of_tasks_from_before_options_and_repeats_stay_comparable():
    """The hash of a plain task as it was before these fields were there."""
    task = TaskSpec(
        task="t", dataset="d@1", output_type="generate_until", metric="exact_match", generation_kwargs={"seed": 1}
    )
    assert hash_task(task, "r") == HASH_BEFORE
    assert hash_task(task.model_copy(update={"repeats": 2}), "r") != HASH_BEFORE
