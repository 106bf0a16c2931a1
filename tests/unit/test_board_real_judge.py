"""A real judge beside real people: 165 Thai prompts, eighteen raters each, and gpt-3.5 on the same answers."""

import json
from collections import Counter

import numpy as np
import pytest

from chanote.boards.statistics.agreement import cohen_kappa, fleiss_kappa, majority_vote

pytestmark = pytest.mark.shared_data


def read(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def votes(shared_data):
    found = read(shared_data / "wangchanglm_th_pref" / "human_pairwise_votes.jsonl")
    # Two prompts were not voted on by everybody.
    return {row["message_id"]: list(row["votes"].values()) for row in found if len(row["votes"]) == 18}


def test_people_agree_little_more_than_by_chance(votes):
    counts = np.array([[Counter(given)[kind] for kind in ("A", "tie", "B")] for given in votes.values()])
    found = fleiss_kappa(counts)
    assert counts.shape == (165, 3)
    assert set(counts.sum(1)) == {18}
    assert (counts.sum(0) / counts.sum()).round(3).tolist() == [0.569, 0.329, 0.102]
    assert (round(found.observed, 4), round(found.expected, 4)) == (0.5709, 0.4426)
    assert round(found.kappa, 4) == 0.2302


def test_the_judge_agrees_with_people_even_less(votes, shared_data):
    rows = read(shared_data / "wangchanglm_th_pref" / "gpt35_judge_scores.jsonl")
    judged = {row["message_id"]: row for row in rows if row["pair"] == "wangchang_sft_en_vs_openthaigpt"}
    people, judge = [], []
    for message, given in votes.items():
        one = judged.get(message)
        if one is None or one["score_1"] is None:  # one answer of the judge could not be read
            continue
        people.append(majority_vote(given))
        judge.append("A" if one["score_1"] > one["score_2"] else "B" if one["score_2"] > one["score_1"] else "tie")
    found = cohen_kappa(judge, people)
    assert len(people) == 164
    assert round(found.observed, 4) == 0.4512
    assert round(found.kappa, 4) == 0.1113
    assert "tie" not in judge
    assert sum(a == "A" and b == "B" for a, b in zip(people, judge, strict=True)) == 36
    assert people.count("A") == 102
