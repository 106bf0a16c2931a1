"""Bits per byte of whole texts, worked out by hand."""

import math

import pytest

from trainer.contract import TaskSpec
from trainer.evaluation.evaluate import evaluate_items, mean_score
from trainer.evaluation.outputs.perplexity import roll_windows

END = "<|end|>"
SPEC = TaskSpec(
    task="law",
    dataset="law@1",
    output_type="loglikelihood_rolling",
    metric="perplexity",
    doc_to_target="{{text}}",
)


def score(policy, rows, spec=SPEC):
    _, samples = evaluate_items(spec, rows, model=policy.model, tokenizer=policy.tokenizer, should_stop=lambda: False)
    return list(samples)


def test_bits_per_byte_of_a_known_text(bigram):
    # Predicted from the end token: a 1/4 (2 bits), b 1/8 (3 bits), a 1/2 (1 bit): 6 bits over 3 bytes.
    policy = bigram({END: {"a": 0.25, "c": 0.75}, "a": {"b": 0.125, "c": 0.875}, "b": {"a": 0.5, "c": 0.5}})
    sample = score(policy, [{"text": "aba"}])[0]
    assert sample.score == pytest.approx(2.0, abs=1e-4)
    assert sample.detail["loglikelihood"] == pytest.approx(-6 * math.log(2), abs=1e-4)
    assert (sample.tokens, sample.prompt, sample.target) == (3, "", "aba")


def test_a_thai_letter_counts_as_its_three_bytes(random_policy):
    sample = score(random_policy, [{"text": "ก"}])[0]
    assert sample.tokens == 3
    assert sample.score == pytest.approx(-sample.detail["loglikelihood"] / math.log(2) / 3)


def test_a_task_may_give_a_context_that_is_not_scored(bigram):
    policy = bigram({"q": {"a": 0.25, "c": 0.75}})
    spec = SPEC.model_copy(update={"doc_to_text": "{{before}}"})
    sample = score(policy, [{"text": "a", "before": "q"}], spec)[0]
    assert sample.score == pytest.approx(2.0, abs=1e-4)
    assert sample.prompt == "q"


def test_windows_score_every_token_once_with_half_a_context_before_it():
    windows = roll_windows(range(100, 111), first=1, context=4)
    assert [(window.ids, window.start) for window in windows] == [
        ((100, 101, 102, 103), 1),
        ((102, 103, 104, 105), 2),
        ((104, 105, 106, 107), 2),
        ((106, 107, 108, 109), 2),
        ((108, 109, 110), 2),
    ]
    assert [token for window in windows for token in window.ids[window.start :]] == list(range(101, 111))


@pytest.mark.parametrize("context", [None, 11, 200])
def test_a_text_that_fits_is_one_window(context):
    assert [(w.ids, w.start) for w in roll_windows(range(11), first=3, context=context)] == [(tuple(range(11)), 3)]


def test_a_long_text_of_a_bigram_model_scores_as_a_short_one(bigram):
    policy = bigram({END: {"a": 0.5, "c": 0.5}, "a": {"a": 0.5, "c": 0.5}})
    short, long = score(policy, [{"text": "a"}, {"text": "a" * 500}])
    assert short.score == pytest.approx(1.0, abs=1e-4)
    assert long.score == pytest.approx(1.0, abs=1e-4)
    assert long.tokens == 500


def test_an_empty_text_fails_and_is_left_out_of_the_mean(bigram):
    policy = bigram({END: {"a": 0.5, "c": 0.5}})
    samples = score(policy, [{"text": ""}, {"text": "a"}])
    assert (samples[0].score, samples[0].status) == (None, "error")
    assert mean_score(SPEC, samples) == pytest.approx(1.0, abs=1e-4)
    assert math.isnan(mean_score(SPEC, samples[:1]))
    assert not SPEC.higher_is_better


def test_scores_do_not_depend_on_company(random_policy):
    rows = [{"text": "กฎหมาย " * n + "x"} for n in range(1, 12)]
    together = score(random_policy, rows)
    lone = [score(random_policy, [row])[0] for row in rows]
    assert [s.score for s in together] == pytest.approx([s.score for s in lone], abs=1e-5)
