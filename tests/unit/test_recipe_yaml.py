"""Reading recipes: what is refused, where, and in which words."""

import time

import pytest

from chanote.recipes.checking import check_yaml, read_path
from chanote.recipes.yaml_text import MAXIMUM_BYTES, parse_yaml
from trainer.demoworld.catalogue import RECIPES, read_recipe

GOOD = """\
base: tiny
stages:
  - kind: sft
    data:
      - {dataset: talk@2}
    steps: 5
"""


def problems_of(text: str) -> list[str]:
    return [str(problem) for problem in check_yaml(text).problems]


@pytest.mark.parametrize("slug", [entry["slug"] for entry in RECIPES])
def test_every_library_recipe_reads_without_a_problem(slug):
    assert check_yaml(read_recipe(slug)).problems == []


def test_a_syntax_error_names_line_and_column():
    (message,) = problems_of("base: tiny\nstages: [\n  kind: sft\n")
    assert "cannot be read as YAML" in message
    assert "(line 4, column 1)" in message


def test_a_field_given_twice_is_refused_with_its_second_line():
    assert problems_of("base: a\nseed: 1\nbase: b\n") == ["base: base stands twice; keep one of them (line 3)"]


def test_a_fault_deep_inside_is_named_by_path_and_line():
    text = GOOD.replace("{dataset: talk@2}", "{dataset: talk@2, weight: -1}")
    assert problems_of(text) == ["stages[0].data[0].weight: must be greater than 0 (line 5)"]


def test_a_missing_field_points_at_the_stage_that_lacks_it():
    text = "base: tiny\nstages:\n  - kind: evaluate\n"
    assert problems_of(text) == ["stages[0].tasks: is missing; add it (line 3)"]


def test_a_misspelt_field_is_told_its_likely_spelling():
    text = GOOD.replace("steps: 5", "step: 5\n    epochs: 1")
    assert problems_of(text) == ["stages[0].step: is not a known field; did you mean steps? (line 6)"]
    nested = GOOD + "    optimizer: {learning_rat: 1}\n"
    assert problems_of(nested) == [
        "stages[0].optimizer.learning_rat: is not a known field; did you mean learning_rate? (line 7)"
    ]


def test_an_unknown_kind_lists_the_known_ones():
    (message,) = problems_of("base: tiny\nstages:\n  - kind: ppo\n")
    assert message.startswith("stages[0].kind: ppo is no kind of stage; use one of agentic_rft, cpt, ")
    assert message.endswith("(line 3)")


def test_a_rule_over_two_fields_points_at_the_stage():
    (message,) = problems_of(GOOD + "    epochs: 2\n")
    assert message == "stages[0]: give either steps or epochs, not both and not neither (line 3)"


def test_an_exponent_without_a_point_is_a_number():
    checked = check_yaml(GOOD + "    optimizer: {learning_rate: 3e-4}\n")
    assert checked.parsed.data["stages"][0]["optimizer"] == {"learning_rate": 0.0003}
    assert checked.ready


def test_infinity_is_refused():
    text = GOOD + "    optimizer: {learning_rate: .inf}\n"
    assert problems_of(text) == ["stages[0].optimizer.learning_rate: must be a finite number (line 7)"]


def test_python_objects_and_merge_keys_are_refused():
    (tag,) = problems_of("base: !!python/object/apply:os.getcwd []\n")
    assert tag == "base: The tag !!python/object/apply:os.getcwd is not read here; write a plain value. (line 1)"
    (merge,) = problems_of("x: &a {b: 1}\ny:\n  <<: *a\n")
    assert merge == "y: `<<` is not read here; write the fields out. (line 3)"


def test_an_alias_bomb_is_refused_quickly():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 5)}]" for n in range(1, 10)]
    started = time.process_time()
    (message,) = problems_of("\n".join(lines))
    assert "stands for more than 20,000 values" in message
    assert time.process_time() - started < 5


def test_many_aliases_depth_size_and_self_reference_are_bounded():
    assert "more than 50 aliases" in problems_of("a: &a 1\nb: [" + "*a, " * 60 + "]")[0]
    assert "nested more than 20 deep" in problems_of("a: " + "[" * 5000)[0]
    assert f"at most {MAXIMUM_BYTES:,} are read" in problems_of("a: " + "x" * MAXIMUM_BYTES)[0]
    assert "contains itself" in problems_of("a: &a\n  b: *a\n")[0]


def test_two_documents_a_list_and_nothing_are_refused():
    assert "more than one YAML document" in problems_of(GOOD + "---\n" + GOOD)[0]
    assert problems_of("- 1\n") == ["must be a list of named fields, written `name: value` (line 1)"]
    assert "is empty" in problems_of("# only a remark\n")[0]


def test_lines_are_found_for_nested_fields():
    parsed = parse_yaml(GOOD)
    assert parsed.line_of(("stages", 0, "data", 0, "dataset")) == 5
    assert parsed.line_of(("stages", 0, "optimizer", "beta1")) == 3


def test_paths_are_read_as_they_are_written():
    assert read_path("stages[0].data[12].dataset") == ("stages", 0, "data", 12, "dataset")
    assert read_path("base") == ("base",)
    assert read_path("") == ()
