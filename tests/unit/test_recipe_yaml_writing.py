"""Writing changes into a text that a person wrote."""

import pytest

from chanote.recipes.yaml_text import parse_yaml
from chanote.recipes.yaml_writing import rewrite
from trainer.demoworld.catalogue import RECIPES, read_recipe

TEXT = """\
# Why this recipe exists
base: tiny  # the small one
stages:
  - kind: sft
    # few rows
    data:
      - {dataset: talk@2}
    steps: 5
  - kind: evaluate
    tasks: [exam]
"""


def change(edit):
    data = parse_yaml(TEXT).data
    edit(data)
    written = rewrite(TEXT, data)
    assert parse_yaml(written.text).data == data
    return written


def test_a_changed_number_leaves_every_remark():
    written = change(lambda data: data["stages"][0].update(steps=7))
    assert written.text == TEXT.replace("steps: 5", "steps: 7")
    assert written.lost_remarks == 0


def test_a_new_field_goes_behind_the_stage_it_belongs_to():
    written = change(lambda data: data["stages"][0].update(batch_size=16))
    assert written.text == TEXT.replace("steps: 5\n", "steps: 5\n    batch_size: 16\n")


def test_a_new_field_of_the_recipe_goes_before_the_stages():
    written = change(lambda data: data.update(seed=3))
    assert written.text == TEXT.replace("stages:", "seed: 3\nstages:")


def test_a_removed_field_takes_its_line_along():
    written = change(lambda data: data["stages"][0].pop("steps"))
    assert written.text == TEXT.replace("    steps: 5\n", "")


def test_values_in_braces_are_written_in_braces():
    written = change(lambda data: data["stages"][0]["data"][0].update(weight=0.5))
    assert "- {dataset: talk@2, weight: 0.5}" in written.text
    assert written.lost_remarks == 0


def test_a_list_entry_is_added_and_removed_in_place():
    added = change(lambda data: data["stages"][0]["data"].append({"dataset": "more"}))
    assert added.text == TEXT.replace("- {dataset: talk@2}\n", "- {dataset: talk@2}\n      - {dataset: more}\n")
    removed = change(lambda data: data["stages"].pop())
    assert removed.text == TEXT.replace("  - kind: evaluate\n    tasks: [exam]\n", "")


def test_an_added_stage_follows_the_last():
    written = change(lambda data: data["stages"].append({"kind": "cpt", "data": [{"dataset": "laws"}], "steps": 2}))
    assert written.text.startswith(TEXT)
    assert written.lost_remarks == 0


def test_moved_stages_take_their_remarks_along():
    written = change(lambda data: data["stages"].reverse())
    evaluate, sft = (
        "  - kind: evaluate\n    tasks: [exam]\n",
        TEXT[TEXT.index("  - kind: sft") : TEXT.index("  - kind: eval")],
    )
    assert written.text == TEXT.replace(sft + evaluate, evaluate + sft)


def test_a_text_written_anew_owns_up_to_its_lost_remarks():
    written = change(lambda data: data.update(stages=[{"kind": "evaluate", "tasks": ["a"]}] * 3))
    assert written.lost_remarks == 3


def test_a_folded_description_can_be_changed():
    text = "description: >\n  First line\n  second.\nbase: tiny\n"
    written = rewrite(text, {"description": "Something else.", "base": "tiny"})
    assert parse_yaml(written.text).data == {"description": "Something else.", "base": "tiny"}


@pytest.mark.parametrize(
    "value", ["no", "1", "1e5", "a: b", "# x", "ไทย", " padded ", "x" * 300, "two\nlines\n", "'", "@a"]
)
def test_any_text_survives(value):
    data = parse_yaml(TEXT).data | {"description": value}
    assert parse_yaml(rewrite(TEXT, data).text).data == data
    again = data | {"description": value + "."}
    assert parse_yaml(rewrite(rewrite(TEXT, data).text, again).text).data == again


@pytest.mark.parametrize("slug", [entry["slug"] for entry in RECIPES])
def test_library_recipes_take_a_change_without_losing_a_remark(slug):
    text = read_recipe(slug)
    data = parse_yaml(text).data
    data["seed"] = 12
    data["stages"][0]["name"] = "other"
    assert rewrite(text, data).lost_remarks == 0


def test_the_first_stage_of_an_empty_list_is_written_on_lines_of_its_own():
    written = rewrite("# mine\nstages: []\nseed: 1\n", {"stages": [{"kind": "evaluate", "tasks": ["exam"]}], "seed": 1})
    assert written.text == "# mine\nstages:\n  - kind: evaluate\n    tasks: [exam]\nseed: 1\n"
    assert written.lost_remarks == 0
