"""Tasks in the harness's own YAML over rows of the demo's world, which the demo's base model answers in part."""

import json
import random
import re
from pathlib import Path
from typing import Any

from trainer.demoworld.datasets import write_open_book_exam
from trainer.demoworld.nation import found_nation

DEMO_MODEL = Path(__file__).resolve().parent.parent / "artifacts/demo-base/model"
ITEMS = 48
CHOICES = """
task: market_choices
dataset_path: json
dataset_kwargs: {data_files: {test: ROWS}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{dialogue}}"
doc_to_target: right
doc_to_choice: choices
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""
ANSWERS = r"""
task: market_answers
dataset_path: json
dataset_kwargs: {data_files: {test: ROWS}}
test_split: test
output_type: generate_until
doc_to_text: "{{dialogue}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\n"], do_sample: false, temperature: 0.0, max_gen_toks: 24}
filter_list:
  - name: none
    filter: [{function: take_first}]
  - name: number
    filter:
      - {function: regex, regex_pattern: '(\d+)', group_select: -1}
      - {function: take_first}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true, regexes_to_ignore: ['^\D+', '\D+$']}
metadata: {version: 1.0}
"""  # noqa: E501
TEXTS = """
task: market_texts
dataset_path: json
dataset_kwargs: {data_files: {test: ROWS}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{question}}"
metric_list:
  - {metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}
metadata: {version: 1.0}
"""
TELL = {"en": "\nA: ", "th": "\nตอบ: "}


def make_rows(count: int = ITEMS) -> list[dict[str, Any]]:
    """Open-book questions; wrong options differ from the right one in their number alone."""
    draw = random.Random("market-choices")
    rows = []
    for number, row in enumerate(write_open_book_exam(found_nation())):
        if number == count:
            break
        value = int(re.findall(r"\d+", row["answer"])[0])
        others = [one for one in {int(n) for n in re.findall(r"\d+", row["question"])} if one != value]
        while len(others) < 3:
            others.append(value + draw.choice([-7, -3, 1, 2, 11]) + len(others))
        values = [value, *draw.sample(others, 3)]
        draw.shuffle(values)
        choices = [row["answer"].replace(str(value), str(one)) for one in values]
        rows.append(
            {
                "id": f"q{number}",
                "question": row["question"],
                "dialogue": row["question"] + TELL[row["language"]].rstrip(" "),
                "choices": choices,
                "right": values.index(value),
                "answer": row["answer"],
                "law_name": row["law_name"],
            }
        )
    return rows


def write_tasks(folder: Path, count: int = ITEMS) -> Path:
    """YAML files and their rows in `folder`, as `lm_eval --include_path` takes them; the file of rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in make_rows(count)), "utf-8")
    for name, text in (("market_choices", CHOICES), ("market_answers", ANSWERS), ("market_texts", TEXTS)):
        (folder / f"{name}.yaml").write_text(text.lstrip().replace("ROWS", str(rows)), "utf-8")
    return rows
