"""Several rewards made one: weights, gates, faults that mask, names that refer to each other."""

import math
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from tests.reward_rows import ADAPTER, answer, rewards
from trainer.contract.rewards import RewardBase, check_longest, reward_kinds
from trainer.failures import StopNow
from trainer.rewards import _REWARDS, Answer, Reward, Score, check_rows, score_all, summarise
from trainer.rewards.base import Fault, SingleReward


class Plain(RewardBase):
    """Only in this test: kinds come from files of the package, so it has no `kind` of its own to be registered by."""

    name: str = "plain"


class Breaks(SingleReward):
    """Values an answer by its text: what it says happens."""

    config_class = Plain
    range = (0.0, 1.0)

    def value(self, answer: Answer) -> float:
        if answer.text == "fault":
            raise Fault("The judge is away.")
        if answer.text == "bug":
            raise KeyError("score")
        if answer.text == "stop":
            raise StopNow("asked")
        if answer.text == "interrupt":
            raise KeyboardInterrupt
        return float(answer.text)


class Whole(Reward):
    """A reward of many answers at once that gives what it was made with."""

    config_class = Plain
    range = (0.0, 1.0)
    given: Any = ()

    def score(self, answers: Sequence[Answer]) -> list[Score]:
        if isinstance(self.given, Exception):
            raise self.given
        return self.given  # type: ignore[no-any-return]


def whole(given: Any) -> Whole:
    reward = Whole(Plain())
    reward.given = given
    return reward


def test_the_total_is_the_weighted_sum_and_every_component_is_told():
    [right, wrong] = score_all(
        rewards({"kind": "exact", "weight": 0.9}, {"kind": "numeric", "weight": -0.5}), [answer(" 7 "), answer("007")]
    )
    assert right.components == {"exact": 1.0, "numeric": 1.0}
    assert right.total == pytest.approx(0.4)
    assert wrong.components == {"exact": 0.0, "numeric": 1.0}
    assert wrong.total == -0.5
    assert right.faults == wrong.faults == {}


def test_a_gate_multiplies_the_value_and_a_weight_of_zero_only_measures():
    listed = rewards(
        {"kind": "exact", "weight": 0},
        {"kind": "overlong", "gate": "exact", "weight": 2, "buffer": 50},
    )
    [right, wrong] = score_all(listed, [answer("7", tokens=75), answer("8", tokens=75)])
    assert right.components == {"exact": 1.0, "overlong": -0.5}
    assert right.total == -1.0
    assert wrong.total == 0.0
    assert math.copysign(1, wrong.components["overlong"] or 0.0) == 1


def test_one_failed_component_masks_that_answer_alone():
    [good, bad] = score_all([*rewards({"kind": "exact"}), Breaks(Plain())], [answer("7"), answer("fault")])
    assert good.total == 8.0
    assert bad.total is None
    assert bad.components == {"exact": 0.0, "plain": None}
    assert bad.faults == {"plain": "The judge is away."}


def test_a_reward_that_breaks_is_the_fault_of_its_row():
    [bad, good] = score_all([Breaks(Plain())], [answer("bug"), answer("1")])
    assert bad.total is None
    assert bad.faults == {"plain": "The reward broke: KeyError: 'score'"}
    assert good.total == 1.0


@pytest.mark.parametrize(("text", "raised"), [("stop", StopNow), ("interrupt", KeyboardInterrupt)])
def test_being_asked_to_stop_is_no_fault(text: str, raised: type[BaseException]):
    with pytest.raises(raised):
        score_all([Breaks(Plain())], [answer("1"), answer(text)])


def test_asking_to_stop_passes_through_a_reward_of_many_answers():
    with pytest.raises(StopNow):
        score_all([whole(StopNow("asked"))], [answer()])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (RuntimeError("no"), "The reward broke: RuntimeError: no"),
        ([Score(1.0)], "The reward gave 1 scores for 2 answers."),
        ([Score(math.nan)] * 2, "The reward gave nan, which is no number."),
        ([Score(math.inf)] * 2, "The reward gave inf, which is no number."),
        ([Score(None)] * 2, "The reward gave no value and no reason."),
        (None, "The reward broke: TypeError: 'NoneType' object is not iterable"),
    ],
)
def test_nonsense_from_a_reward_masks_its_answers(given: Any, sentence: str):
    scored = score_all([whole(given)], [answer(), answer()])
    assert [one.total for one in scored] == [None, None]
    assert [one.faults for one in scored] == [{"plain": sentence}] * 2


def test_a_failed_gate_masks_what_it_gates():
    listed = rewards({"kind": "exact", "name": "plain"}, {"kind": "overlong", "gate": "plain"})
    [scored] = score_all([Breaks(Plain()), listed[1]], [answer("fault")])
    assert scored.faults["overlong"] == "The reward plain, its gate, failed."


def test_a_costly_reward_does_not_see_answers_behind_a_closed_gate():
    class Costly(Whole):
        costly = True

        def score(self, answers: Sequence[Answer]) -> list[Score]:
            return [Score(0.25) for _ in answers if self.seen(answers)]

        def seen(self, answers: Sequence[Answer]) -> bool:
            return [one.text for one in answers] == ["7"]

    costly = Costly(Plain(gate="exact"))
    scored = score_all([*rewards({"kind": "exact"}), costly], [answer("8"), answer("7"), answer("9")])
    assert [one.components["plain"] for one in scored] == [0.0, 0.25, 0.0]


def test_metrics_leave_failed_components_out_of_the_mean_and_count_them():
    scored = score_all([Breaks(Plain())], [answer("1"), answer("0"), answer("fault"), answer("1")])
    assert summarise(scored) == {"reward/plain": 2 / 3, "reward/plain/faults": 1.0}
    assert summarise(score_all([Breaks(Plain())], [answer("fault")])) == {"reward/plain/faults": 1.0}
    assert summarise([]) == {}


def test_two_rewards_of_one_kind_need_names():
    with pytest.raises(ValidationError, match=r"rewards\[1\].name: exact is already the name of rewards\[0\]"):
        rewards({"kind": "exact"}, {"kind": "exact"})
    both = rewards({"kind": "exact"}, {"kind": "exact", "name": "loose", "ignore_case": True})
    assert [reward.config.component for reward in both] == ["exact", "loose"]


def test_a_gate_must_name_an_earlier_reward():
    with pytest.raises(ValidationError, match=r"rewards\[0\].gate: no reward before it is named exact; put the reward"):
        rewards({"kind": "overlong", "gate": "exact"}, {"kind": "exact"})
    with pytest.raises(ValidationError, match=r"rewards\[1\].gate: no reward before it is named exakt; use exact"):
        rewards({"kind": "exact"}, {"kind": "overlong", "gate": "exakt"})


def test_rows_without_a_reference_are_refused_with_the_field():
    rows = [{"answer": "7"}, {"question": "q"}, {"answer": ""}, {"answer": "seven"}]
    found = check_rows(
        rewards({"kind": "exact"}, {"kind": "numeric"}), rows, path="recipe.stages[0].rewards", dataset="ask@1"
    )
    assert found == [
        "recipe.stages[0].rewards[0] (exact): 2 of 4 rows of ask@1 give it nothing to compare with (row 2 has no "
        "`answer`); complete or remove those rows, or choose another reward.",
        "recipe.stages[0].rewards[1] (numeric): 3 of 4 rows of ask@1 give it nothing to compare with (row 2 has no "
        "`answer`); complete or remove those rows, or choose another reward.",
    ]
    assert check_rows(rewards({"kind": "exact"}), rows[:1], path="rewards", dataset="ask@1") == []


def test_a_limit_beyond_what_is_sampled_is_refused():
    listed = ADAPTER.validate_python([{"kind": "exact"}, {"kind": "overlong", "buffer": 128}])
    assert check_longest(listed, 128) == []
    assert check_longest(listed, 127) == [
        "rewards[1].buffer: 128 is more than the limit of 127 tokens; make it smaller"
    ]


def test_every_kind_of_the_contract_has_its_rule():
    for kind, config in reward_kinds().items():
        assert config in _REWARDS, kind


def test_rewards_and_the_probe_of_endpoints_need_no_torch():
    """The platform asks for judges before launch, and judging text must not wait for torch to load."""
    program = "import sys, trainer.rewards, trainer.contract.endpoints; print({'torch', 'numpy'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
