"""Task files of lm-evaluation-harness, read into ours: what is carried, what is told, what is refused."""

from pathlib import Path

import pytest
import yaml

from trainer.__main__ import main
from trainer.contract import ExitCode, TaskSpec
from trainer.contract.harness import HarnessError, is_harness_task, load_task_yaml, read_harness_task
from trainer.evaluation.metrics import metrics
from trainer.evaluation.outputs.generate import judge_answer
from trainer.evaluation.tasks import render_items

MATHEMATICS = r"""
task: Sums_CoT
tag: [math]
dataset_path: some/sums
dataset_name: main
test_split: test
output_type: generate_until
doc_to_text: "Q: {{question}}\nA:"
doc_to_target: "{{answer}}"
num_fewshot: 2
repeats: 1
generation_kwargs: {until: ["Q:"], do_sample: false, temperature: 0.0, max_gen_toks: 64, seed: 3}
filter_list:
  - name: strict-match
    filter:
      - {function: regex, regex_pattern: '#### (\-?[0-9\.\,]+)'}
      - {function: take_first}
  - name: flexible
    filter:
      - {function: regex, regex_pattern: '(-?[0-9]+)', group_select: -1}
      - {function: take_first}
  - name: vote
    filter: [{function: majority_vote}, {function: take_first}]
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
    ignore_punctuation: false
    regexes_to_ignore: [",", "(?s).*#### "]
  - {metric: bleu, aggregation: bleu}
metadata: {version: 3.0}
process_results: something
x_stats: {cluster: doc.law_name, chance: 0.1, unit: item, k: 8}
x_language: en
x_license: MIT
"""


def read(text, dataset="sums"):
    return read_harness_task(load_task_yaml(text), dataset=dataset)


def test_a_task_is_carried_with_filters_metrics_and_statistics():
    found = read(MATHEMATICS)
    strict, flexible = found.tasks
    assert [strict.task, flexible.task] == ["sums_cot-strict-match", "sums_cot-flexible"]
    assert (strict.dataset, strict.num_fewshot, strict.version, strict.x_language) == ("sums", 2, "3.0", "en")
    assert strict.generation_kwargs.model_dump() == {
        "until": ["Q:"], "max_gen_toks": 64, "temperature": 0.0, "top_p": 1.0, "seed": 3,
    }  # fmt: skip
    assert (strict.x_stats.cluster, strict.x_stats.chance) == ("law_name", 0.1)
    assert strict.metric_options == {
        "ignore_case": True, "ignore_punctuation": False, "regexes_to_ignore": [",", "(?s).*#### "],
    }  # fmt: skip


def test_what_is_not_carried_is_told_in_a_sentence_each():
    told = read(MATHEMATICS).told
    assert told == [
        "Rows are those of sums: import some/sums, main (test) under that name.",
        "process_results is not carried.",
        "Solved items are the first 2 rows of the dataset, not drawn from a split of their own.",
        "x_stats.k is not carried.",
        "x_license (MIT) belongs to the dataset; name it when you import the rows.",
        "Filter vote is not carried: a filter has the steps regex, remove_whitespace, lowercase and take_first, with "
        "their own settings.",
        "Metric bleu is not carried: its aggregation bleu is no mean over items.",
        "Filters and metrics become 2 tasks, each asked on its own: a task here has one score.",
    ]


def test_a_carried_task_scores_as_the_harness_would():
    strict, flexible = (task.model_copy(update={"num_fewshot": 0}) for task in read(MATHEMATICS).tasks)
    answer = "so 3 and 4\n#### 1,200"
    for task, score in ((strict, 1.0), (flexible, 0.0)):
        metric = metrics()[task.metric]
        metric.configure(task)
        (item,) = render_items(task, [{"question": "q", "answer": "work #### 1200", "law_name": "L"}], tokenizer=None)
        assert item.prompt == "Q: q\nA:"
        (sample,) = judge_answer(task, metric, item, answer, cut=False, tokens=1)
        assert (sample.score, sample.output) == (score, answer)


def test_choices_and_bare_field_names():
    found = read(
        """
task: exam
output_type: multiple_choice
description: "Answer.\\n"
doc_to_text: question
doc_to_target: label
doc_to_choice: [no, "yes"]
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
    )
    first, second = found.tasks
    assert (first.task, second.task) == ("exam-acc", "exam-acc_norm")
    (item,) = render_items(first, [{"question": "So?", "label": 1}], tokenizer=None)
    assert (item.prompt, item.target) == ("Answer.\nSo?", "yes")


def test_perplexity_is_told_in_bits_per_byte():
    found = read(
        """
task: text
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{page}}"
metric_list:
  - {metric: word_perplexity, aggregation: weighted_perplexity}
  - {metric: bits_per_byte, aggregation: bits_per_byte}
"""
    )
    assert [task.metric for task in found.tasks] == ["perplexity"]
    assert "word_perplexity is told in bits per byte, the mean over texts." in found.told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task: a\ndoc_to_text: !function utils.ask", "line 2: !function utils.ask is a Python program"),
        ("task: a\nprocess_docs: !function 'os.system'", "which a task may not bring"),
        ("include: base.yaml\ntask: a", "put both into one file"),
        ("task: [a, b]", "a group of tasks is no task"),
        ("task: a\noutput_type: loglikelihood", "output_type: loglikelihood is not known here"),
        ("task: a\noutput_type: multiple_choice", "must say where its options are"),
        ("task: a\nmetric_list: [{metric: bleu}]", "nothing is left to score"),
        ("task: a\nrepeats: 4", "set a temperature above 0"),
        ("- a", "the file holds no task"),
        ("a: [", "the file is no YAML"),
        ("task: !!python/object/apply:os.system [ls]", "the file is no YAML"),
        ("task: a\nmetric_list: [{metric: exact_match, regexes_to_ignore: ['(']}]", "is no regular expression"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(text, said):
    with pytest.raises(HarnessError) as caught:
        read(text)
    assert said in str(caught.value)


def test_ours_and_theirs_are_told_apart():
    assert is_harness_task(load_task_yaml(MATHEMATICS))
    assert not is_harness_task({"task": "a", "dataset": "rows", "metric": "acc"})


def test_the_command_writes_tasks_that_can_be_read_again(tmp_path, capsys):
    file = tmp_path / "sums.yaml"
    file.write_text(MATHEMATICS, "utf-8")
    assert main(["tasks", "read", str(file), "--dataset", "sums", "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert "process_results is not carried." in told.err
    paths = told.out.split()
    written = [TaskSpec.model_validate(yaml.safe_load(Path(path).read_text("utf-8"))) for path in paths]
    assert written == read(MATHEMATICS).tasks
    file.write_text("task: a\nx: !function b.c", "utf-8")
    assert (
        main(["tasks", "read", str(file), "--dataset", "sums", "--out", str(tmp_path / "out")]) == ExitCode.INVALID_SPEC
    )
    assert "!function b.c is a Python program" in capsys.readouterr().err


def test_the_command_shows_the_library(capsys):
    assert main(["tasks", "list"]) == 0
    assert "ifeval-instructions" in capsys.readouterr().out
    assert main(["tasks", "show", "gsm8k"]) == 0
    assert TaskSpec.model_validate(yaml.safe_load(capsys.readouterr().out)).dataset == "gsm8k-test"
    assert main(["tasks", "show", "nothing"]) == ExitCode.INVALID_SPEC
    assert "nothing is no task of the library: bavarian-intents," in capsys.readouterr().err
