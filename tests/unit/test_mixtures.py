"""Mixtures over the course of a stage: weights, moments of entry, caps; values worked out by hand."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.rollout_runs import GRPO, INK, write_base, write_rollout_run
from tests.trainer_runs import TINY, events_of, metric, run_here, text_rows, write_rows, write_run
from trainer.contract import Recipe
from trainer.contract.hashing import hash_directory
from trainer.contract.mixture import MixtureSource, find_empty_span, limit_of, plan_shares
from trainer.data.mixing import Mixture, MixtureEmpty
from trainer.data.packing import Packer, count_steps


def source(name: str = "a", **fields: Any) -> MixtureSource:
    return MixtureSource(dataset=name, **fields)


def make_mixture(*parts: tuple[int, MixtureSource], length: int = 1) -> Mixture:
    """Sources of so many documents, each of the same length."""
    return Mixture([np.full(count, length) for count, _ in parts], [plan for _, plan in parts], seed=(1, 0))


def drawn(mixture: Mixture, moments: list[float]) -> str:
    """The sources drawn at these moments, as letters."""
    keys = [mixture.draw(moment) for moment in moments]
    return "".join("-" if key is None else "ABC"[key[0]] for key in keys)


def test_a_late_source_enters_at_its_moment_with_its_share_and_does_not_catch_up():
    # Nine tenths of A alone; then 1 : 1, from the first draw after the entry on.
    mixture = make_mixture((9, source()), (9, source("b", enters=0.9)))
    assert drawn(mixture, [k / 20 for k in range(20)]) == "A" * 18 + "AB"
    assert drawn(mixture, [1.0] * 4) == "ABAB"


def test_the_moment_of_entry_is_that_step_exactly():
    # Of ten steps the last is begun when 9/10 are done; a tie goes to the first source.
    mixture = make_mixture((9, source(enters=0.9)), (9, source("b")))
    assert drawn(mixture, [step / 10 for step in range(10)]) == "BBBBBBBBBA"


def test_weights_change_where_they_say_and_the_count_begins_anew():
    # 3 : 1 in the first half, 1 : 3 in the second. Ties go to the first source.
    plan = source(weight=3.0, changes=[{"at": 0.5, "weight": 1.0}])
    mixture = make_mixture((50, plan), (50, source("b", changes=[{"at": 0.5, "weight": 3.0}])))
    first, second = drawn(mixture, [0.0] * 8), drawn(mixture, [0.5] * 8)
    assert Counter(first) == {"A": 6, "B": 2}
    assert Counter(second) == {"A": 2, "B": 6}


def test_a_weight_of_zero_takes_a_source_out():
    mixture = make_mixture((5, source()), (5, source("b", changes=[{"at": 0.25, "weight": 0.0}])))
    assert drawn(mixture, [0.0, 0.0, 0.25, 0.25, 0.25]) == "ABAAA"


def test_a_source_leaves_when_its_tokens_are_drawn_and_the_others_share_the_rest():
    # Documents of 10 tokens; B may give 25, so two of its documents.
    mixture = make_mixture((50, source()), (50, source("b", max_tokens=25)), length=10)
    assert drawn(mixture, [0.0] * 8) == "ABABAAAA"
    assert mixture.state()["sources"][1]["tokens"] == 20


def test_passes_are_capped_by_documents():
    # Half a pass over 4 documents are 2, one and a half are 6.
    mixture = make_mixture((4, source(max_passes=0.5)), (4, source("b", max_passes=1.5)))
    assert drawn(mixture, [0.0] * 10) == "ABABBBBB--"


def test_few_rows_of_a_source_are_chosen_by_the_seed_and_stay_the_same_in_every_pass():
    mixture = make_mixture((100, source(max_rows=3)))
    passes = [sorted(mixture.draw()[1] for _ in range(3)) for _ in range(4)]
    assert passes[0] == passes[1] == passes[2] == passes[3]
    assert len(set(passes[0])) == 3
    assert passes[0] != [0, 1, 2]
    assert mixture.size == 3
    other = Mixture([np.full(100, 1)], [source(max_rows=3)], seed=(2, 0))
    assert sorted(other.draw()[1] for _ in range(3)) != passes[0]


def test_nothing_left_before_the_next_source_enters_is_said():
    mixture = make_mixture((2, source(max_passes=1.0)), (2, source("b", enters=0.5)))
    assert drawn(mixture, [0.0, 0.1]) == "AA"
    with pytest.raises(MixtureEmpty, match=r"at 0\.2 of the stage"):
        mixture.draw(0.2)
    assert drawn(mixture, [0.5]) == "B"


def test_a_mixture_goes_on_from_its_state_in_the_middle_of_a_change():
    def make() -> Mixture:
        return make_mixture(
            (7, source(weight=2.0, max_rows=5)),
            (6, source("b", enters=0.3, max_tokens=9)),
            (5, source("c", enters=0.6, weight=0.5, changes=[{"at": 0.8, "weight": 4.0}])),
        )

    moments = [k / 40 for k in range(40)]
    whole = make()
    expected = [whole.draw(moment) for moment in moments]
    for cut in range(41):
        first, second = make(), make()
        head = [first.draw(moment) for moment in moments[:cut]]
        second.restore(json.loads(json.dumps(first.state())))
        assert head + [second.draw(moment) for moment in moments[cut:]] == expected


def test_progress_of_epochs_is_the_share_of_tokens_drawn():
    # 10 + 10 documents of 1 token in one epoch: 20 draws, B enters after 18 of them.
    mixture = make_mixture((10, source()), (10, source("b", enters=0.9, weight=3.0)))
    packer = Packer(mixture, lambda _: 1, sequences=1, sequence_length=5, tokens=20)
    steps = [[key[0] for key in sequences[0]] for sequences in iter(packer.next_step, [])]
    assert steps == [[0] * 5, [0] * 5, [0] * 5, [0, 0, 0, 0, 1]]


def test_steps_are_counted_with_their_caps():
    mixture = make_mixture((10, source(max_passes=2.0)))
    packer = Packer(mixture, lambda _: 1, sequences=1, sequence_length=4)
    assert count_steps(packer, wanted=100) == 5


# What the platform shows before a launch


def test_the_plan_says_the_shares_of_every_span():
    sources = [source(weight=3.0), source("b"), source("c", enters=0.9, weight=4.0)]
    spans = plan_shares(sources, total=None, limits=[limit_of(one, None) for one in sources])
    assert [(span.start, span.stop, span.shares) for span in spans] == [
        (0.0, 0.9, [0.75, 0.25, 0.0]),
        (0.9, 1.0, [3 / 8, 1 / 8, 4 / 8]),
    ]


def test_the_plan_lets_a_source_leave_where_its_cap_is_reached():
    # 1000 tokens at 1 : 1; B may give 100: they are drawn after 200 of all, at 0.2.
    sources = [source(), source("b", max_tokens=100)]
    spans = plan_shares(sources, total=1000, limits=[limit_of(one, 5000) for one in sources])
    assert [(round(span.start, 9), round(span.stop, 9), span.shares) for span in spans] == [
        (0.0, 0.2, [0.5, 0.5]),
        (0.2, 1.0, [1.0, 0.0]),
    ]
    # two passes over 50 rows are the same 100
    again = [source(), source("b", max_passes=2.0)]
    assert plan_shares(again, total=1000, limits=[limit_of(again[0], None), limit_of(again[1], 50)]) == spans


def test_the_plan_shows_where_nothing_is_left():
    sources = [source(max_passes=1.0)]
    spans = plan_shares(sources, total=100, limits=[limit_of(sources[0], 50)])
    assert [(span.start, span.stop, span.shares) for span in spans] == [(0.0, 0.5, [1.0]), (0.5, 1.0, [0.0])]


def test_the_plan_and_the_drawing_agree():
    plans = [
        source(weight=2.0),
        source("b", max_tokens=2000),
        source("c", enters=0.9, weight=3.0, changes=[{"at": 0.95, "weight": 1.0}]),
    ]
    mixture = Mixture([np.full(3000, 3), np.full(900, 5), np.full(90, 2)], plans, seed=(4, 1))
    total, taken = 20_000, [0, 0, 0]
    spans = plan_shares(plans, total=total, limits=[limit_of(one, None) for one in plans])
    wanted = [sum((span.stop - span.start) * span.shares[place] for span in spans) * total for place in range(3)]
    lengths = (3, 5, 2)
    while sum(taken) < total:
        key = mixture.draw(sum(taken) / total)
        assert key is not None
        taken[key[0]] += lengths[key[0]]
    assert taken == pytest.approx(wanted, abs=15)  # a few documents
    assert math.isclose(sum(wanted), total)


# What a writer of a recipe hears

CPT = {
    "kind": "cpt",
    "data": [{"dataset": "english"}, {"dataset": "bavarian"}],
    "steps": 20,
    "batch_size": 2,
    "sequence_length": 64,
    "initialise": TINY,
    "optimizer": {"learning_rate": 1e-3},
}


def complaints(data: list[dict[str, Any]], **fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as refused:
        Recipe.model_validate({"stages": [{**CPT, "data": data, **fields}]})
    return [(".".join(map(str, error["loc"][2:])), error["msg"]) for error in refused.value.errors()]


def test_weights_that_cannot_be_are_each_told_in_a_sentence():
    assert complaints([{"dataset": "a", "enters": 0.2}, {"dataset": "b", "enters": 0.4}]) == [
        (
            "cpt",
            "Value error, data leaves nothing to draw from 0 to 0.2 of the stage; let a source enter earlier or give "
            "it a weight there",
        )
    ]
    assert complaints([{"dataset": "a", "changes": [{"at": 0.5, "weight": 0}, {"at": 0.7, "weight": 1}]}])[0][
        1
    ].startswith("Value error, data leaves nothing to draw from 0.5 to 0.7 of the stage")
    assert complaints([{"dataset": "a", "changes": [{"at": 0.5, "weight": 2}, {"at": 0.4, "weight": 1}]}]) == [
        (
            "cpt.data.0",
            "Value error, changes must lie one after the other and after enters, and 0.4 does not come after the "
            "change before it at 0.5; put them in order",
        )
    ]
    assert complaints([{"dataset": "a", "enters": 1.0}]) == [("cpt.data.0.enters", "Input should be less than 1")]
    assert complaints([{"dataset": "a", "weight": 0}]) == [("cpt.data.0.weight", "Input should be greater than 0")]
    assert complaints([{"dataset": "a", "max_passes": -1}])[0][0] == "cpt.data.0.max_passes"


def test_prompts_have_no_cap_in_tokens():
    stage = {**GRPO, "data": [{"dataset": "a", "max_tokens": 10}]}
    with pytest.raises(ValidationError, match=r"data\[0\]\.max_tokens: prompts are drawn by the row here"):
        Recipe.model_validate({"base": "b", "stages": [stage]})


def test_a_span_without_weights_is_found():
    assert find_empty_span([source(), source("b", enters=0.5)]) is None
    assert find_empty_span([source(changes=[{"at": 0.25, "weight": 0}]), source("b", enters=0.5)]) == (0.25, 0.5)


# Runs


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("corpora")
    return {
        "english": write_rows(directory / "english.jsonl", text_rows(60), "text"),
        "bavarian": write_rows(directory / "bavarian.jsonl", text_rows(12, start=500), "text"),
    }


STAGED = [{"dataset": "english"}, {"dataset": "bavarian", "enters": 0.9, "weight": 1.0}]


def test_a_run_reads_the_late_source_in_its_last_tenth_and_tells_it(corpora: dict[str, Any], tmp_path: Path):
    out = write_run(tmp_path / "run", [{**CPT, "data": STAGED, "batch_size": 8}], corpora)
    assert run_here(out) == 0
    english = metric(out, "mixture/data/english/tokens")
    bavarian = metric(out, "mixture/data/bavarian/tokens")
    assert next(step for step in range(1, 21) if bavarian[step] > 0) == 19
    assert bavarian[18] == 0
    assert english[20] + bavarian[20] == pytest.approx(20 * 512, rel=0.1)
    last = (english[20] - english[18], bavarian[20] - bavarian[18])
    assert last[1] / sum(last) == pytest.approx(0.5, abs=0.2)


def test_a_resumed_run_draws_the_same_mixture_bit_for_bit(corpora: dict[str, Any], tmp_path: Path):
    # 10 steps; B enters at step 6, A leaves at its cap; checkpoints stand before and behind both.
    data = [
        {"dataset": "english", "max_tokens": 700, "max_rows": 20},
        {"dataset": "bavarian", "enters": 0.5, "changes": [{"at": 0.8, "weight": 5.0}]},
    ]
    stage = {**CPT, "data": data, "steps": 10, "checkpoint_every": 2}
    whole = write_run(tmp_path / "whole", [stage], corpora, keep_checkpoints=9)
    assert run_here(whole) == 0
    keys = ("mixture/data/english/tokens", "mixture/data/bavarian/tokens", "train/loss")
    for step in (4, 8):
        again = write_run(
            tmp_path / f"from-{step}", [stage], corpora, resume_from=str(whole / f"checkpoints/step-{step:06d}")
        )
        assert run_here(again) == 0
        for key in keys:
            expected = {at: value for at, value in metric(whole, key).items() if at > step}
            assert metric(again, key) == expected
        assert hash_directory(again / "checkpoints/step-000010/model") == hash_directory(
            whole / "checkpoints/step-000010/model"
        )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            [{"dataset": "english", "max_tokens": 300}, {"dataset": "bavarian", "max_tokens": 100}],
            "recipe.stages[0].data: the caps leave enough to draw for",
        ),
        (
            [{"dataset": "english", "max_tokens": 300}, {"dataset": "bavarian", "enters": 0.9}],
            "recipe.stages[0].data: nothing is left to draw at",
        ),
    ],
)
def test_caps_that_end_before_the_stage_are_refused_before_the_first_step(
    data: list[dict[str, Any]], said: str, corpora: dict[str, Any], tmp_path: Path
):
    out = write_run(tmp_path / "run", [{**CPT, "data": data}], corpora)
    assert run_here(out) == 2
    (failed,) = events_of(out, "attempt_failed")
    assert failed.error.startswith(said)
    assert "raise max_tokens or max_passes" in failed.error


def test_a_corpus_that_is_read_out_is_read_no_more(tmp_path: Path):
    base = write_base(tmp_path / "base")
    corpus = [{**INK["corpus"][0], "max_passes": 0.2}]
    out = write_rollout_run(tmp_path / "run", [{**INK, "corpus": corpus, "knowledge_rate": 1.0}], base)
    assert run_here(out) == 0
    coins = metric(out, "knowledge/coin")
    assert coins[1] == 1.0
    assert coins[max(coins)] == 0.0


def test_prompts_of_two_sources_are_counted_and_the_late_one_enters_late(tmp_path: Path):
    base = write_base(tmp_path / "base")
    name = GRPO["data"][0]["dataset"]
    data = [{"dataset": name}, {"dataset": name + "-late", "enters": 0.5}]
    out = write_rollout_run(tmp_path / "run", [{**GRPO, "data": data}], base)
    spec = json.loads((out / "run.json").read_text())
    spec["datasets"][name + "-late"] = spec["datasets"][name]
    (out / "run.json").write_text(json.dumps(spec))
    assert run_here(out) == 0
    late = metric(out, f"mixture/data/{name}-late/prompts")
    half = max(late) // 2
    assert late[half] == 0
    assert late[half + 1] > 0
