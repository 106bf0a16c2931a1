"""Written answers: what counts as equal, what as a number, and what happens to answers that never ended."""

from decimal import Decimal

import pytest

from trainer.contract import TaskSpec
from trainer.evaluation.errors import TaskError
from trainer.evaluation.evaluate import evaluate_items, mean_score
from trainer.evaluation.metrics.exact_match import ExactMatch
from trainer.evaluation.metrics.numeric_match import NumericMatch, last_number

END = "<|end|>"
COUNTS = {"q": {" ": 1.0}, " ": {"4": 1.0}, "4": {"7": 1.0}, "7": {END: 1.0}, "r": {"r": 1.0}, "w": {END: 1.0}}


def task(**changes):
    return TaskSpec(
        **{
            "task": "sums",
            "dataset": "sums@1",
            "output_type": "generate_until",
            "metric": "numeric_match",
            "generation_kwargs": {"max_gen_toks": 8},
            **changes,
        }
    )


def score(policy, spec, rows):
    _, samples = evaluate_items(spec, rows, model=policy.model, tokenizer=policy.tokenizer, should_stop=lambda: False)
    return list(samples)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("the answer is 47 coins .", "47"),
        ("จำนวน ๔๗ บาท", "47"),
        ("๑,๒๓๔,๕๖๗.๕๐ บาท", "1234567.5"),
        ("1,234", "1234"),
        ("first 3, then 4", "4"),
        ("3,4", "4"),
        ("between 10-20", "20"),
        ("it fell to -5.", "-5"),
        ("\u221212 degrees", "-12"),
        ("x=-0.25", "-0.25"),
        ("section-12", "12"),
        ("42.", "42"),
        ("4\uff12", "42"),
        ("none at all", None),
        ("", None),
    ],
)
def test_the_last_number_of_a_text(text, number):
    assert last_number(text) == (None if number is None else Decimal(number))


def test_numbers_are_compared_by_value():
    metric = NumericMatch()
    assert metric.judge("so 7.0", "7").score == 1.0
    assert metric.judge("1,000", "๑๐๐๐").score == 1.0
    assert metric.judge("0.1", "0.10").score == 1.0
    assert metric.judge("-7", "7").score == 0.0
    assert metric.judge("I do not know", "7").status == "unparsable"
    assert metric.judge("I do not know", "7").score is None


def test_exact_match_forgives_spaces_and_unicode_form_and_nothing_else():
    metric = ExactMatch()
    assert metric.judge("  the  fine\nis 5 ", "the fine is 5").score == 1.0
    assert metric.judge("cafe\u0301", "caf\u00e9").score == 1.0
    assert metric.judge("ค่า\u200bปรับ", "ค่าปรับ").score == 1.0
    assert metric.judge("The fine", "the fine").score == 0.0
    assert metric.judge("5.", "5").score == 0.0


def test_an_answer_is_generated_and_scored(bigram):
    sample = score(bigram(COUNTS), task(), [{"id": "n1", "question": "q", "answer": "47"}])[0]
    assert (sample.item, sample.prompt, sample.output, sample.target) == ("n1", "q", " 47", "47")
    assert (sample.score, sample.status, sample.tokens) == (1.0, "ok", 4)


def test_an_answer_cut_by_the_token_limit_is_named_truncated(bigram):
    cut, silent = samples = score(
        bigram(COUNTS), task(), [{"question": "r", "answer": "1"}, {"question": "w", "answer": "1"}]
    )
    assert (cut.output, cut.status, cut.score) == ("r" * 8, "truncated", None)
    assert (silent.output, silent.status, silent.score) == ("", "unparsable", None)
    assert mean_score(task(), samples) == 0.0


def test_until_ends_the_answer_before_the_limit(bigram):
    spec = task(metric="exact_match", generation_kwargs={"max_gen_toks": 8, "until": ["7"]})
    sample = score(bigram(COUNTS), spec, [{"question": "q", "answer": "4"}])[0]
    assert (sample.output, sample.score, sample.status) == (" 4", 1.0, "ok")


def test_a_sampled_answer_depends_on_seed_and_item_but_not_on_the_other_rows(random_policy):
    rows = [{"id": f"n{n}", "question": f"question {n}", "answer": "1"} for n in range(6)]

    def outputs(seed, chosen):
        settings = {"max_gen_toks": 12, "temperature": 1.0, "seed": seed}
        spec = task(metric="exact_match", generation_kwargs=settings)
        return {sample.item: sample.output for sample in score(random_policy, spec, chosen)}

    whole = outputs(1, rows)
    assert outputs(1, rows[3:5]) == {name: whole[name] for name in ("n3", "n4")}
    assert outputs(2, rows) != whole


def test_a_target_without_a_number_is_refused_before_anything_is_generated(bigram):
    policy = bigram(COUNTS)
    with pytest.raises(TaskError, match="item n1: the target 'seven' holds no number"):
        score(policy, task(), [{"id": "n1", "question": "q", "answer": "seven"}])


def test_a_prompt_that_fills_the_context_fails_alone(bigram):
    rows = [{"question": "q" * 64, "answer": "1"}, {"question": "q", "answer": "47"}]
    failed, fine = score(bigram(COUNTS), task(), rows)
    assert (failed.status, failed.score) == ("error", None)
    assert failed.detail["reason"] == "the prompt has 64 tokens, the context is 64"
    assert fine.score == 1.0


def test_chat_without_a_template_is_refused(bigram):
    policy = bigram(COUNTS)
    policy.tokenizer.chat_template = None
    with pytest.raises(TaskError, match="no chat template; set chat to false"):
        score(policy, task(chat=True), [{"question": "q", "answer": "1"}])
