"""Seventeen real models on IFEval: the case in which numbered places would be false."""

import json
from collections import defaultdict
from itertools import pairwise

import pytest

from chanote.boards.statistics import Scores, Verdict, compare_family, display_letters, rank_intervals

pytestmark = pytest.mark.shared_data


@pytest.fixture(scope="module")
def models(shared_data):
    scores = defaultdict(dict)
    for line in (
        (shared_data / "ifeval_real_paired_results" / "m_ifeval_en_strict.jsonl").read_text("utf-8").splitlines()
    ):
        row = json.loads(line)
        scores[row["model"]][str(row["idx"])] = float(row["follow_all"])
    order = sorted(scores, key=lambda model: -sum(scores[model].values()))
    return {model: Scores(scores[model]) for model in order}


def find(models, part):
    (name,) = [model for model in models if part in model]
    return name


def test_one_hundred_and_six_of_136_pairs_shrink_to_98_when_all_are_shown(models):
    family = compare_family(models).values()
    assert len(family) == 136
    assert sum(one.p < 0.05 for one in family) == 106
    assert sum(one.p_adjusted < 0.05 for one in family) == 98
    assert sum(one.verdict in (Verdict.A_BETTER, Verdict.B_BETTER) for one in family) == 98


@pytest.mark.parametrize(
    ("a", "b", "delta", "error", "only_a", "only_b", "p"),
    [
        ("gpt-4o-2024", "claude-3-5-sonnet", 0.0185, 0.0189, 57, 47, 0.3776),
        ("claude-3-opus", "o1-preview", 0.0, 0.0194, 55, 55, 1.0),
        ("Qwen2.5-14B", "Qwen2.5-7B", 0.0536, 0.0175, 60, 31, 0.0031),
        ("Llama-3.1-8B", "claude-3-haiku", 0.0351, 0.0230, 87, 68, 0.148),
        ("Mistral-7B", "aya-23-8B", 0.0758, 0.0234, 102, 61, 0.0016),
    ],
)
def test_pairs_as_the_oracle_has_them(models, a, b, delta, error, only_a, only_b, p):
    a, b = find(models, a), find(models, b)
    one = compare_family({a: models[a], b: models[b]})[a, b]
    assert one.delta == pytest.approx(delta, abs=5e-5)
    assert one.error == pytest.approx(error, abs=5e-5)
    assert (one.only_a, one.only_b) == (only_a, only_b)
    assert one.p == pytest.approx(p, abs=5e-5)


@pytest.mark.parametrize(("a", "b", "adjusted"), [("Qwen2.5-14B", "Qwen2.5-7B", 0.1152), ("Mistral", "aya", 0.0626)])
def test_what_is_better_in_a_table_of_two_is_undecided_in_the_full_one(models, a, b, adjusted):
    a, b = find(models, a), find(models, b)
    assert compare_family({a: models[a], b: models[b]})[a, b].verdict is Verdict.A_BETTER
    full = compare_family(models)[a, b]
    assert full.p_adjusted == pytest.approx(adjusted, abs=5e-5)
    assert full.verdict is Verdict.UNDECIDED


def test_no_neighbours_among_the_top_seven_are_separated(models):
    names = list(models)
    family = compare_family(models)
    neighbours = [family[pair] for pair in pairwise(names)]
    assert sum(one.p < 0.05 for one in neighbours) == 5
    assert not any(one.p < 0.05 for one in neighbours[:6])
    better = defaultdict(set)
    for (a, b), one in family.items():
        if one.verdict is Verdict.A_BETTER:
            better[a].add(b)
    ranks = rank_intervals(names, better)
    assert ranks[names[0]] == (1, 8)
    assert ranks[names[-1]] == (17, 17)
    letters = display_letters(names, [frozenset((a, b)) for a in better for b in better[a]])
    assert all("a" in letters[name] for name in names[:7])
