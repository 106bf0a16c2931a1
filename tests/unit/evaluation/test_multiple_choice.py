"""Multiple choice: log-likelihoods worked out by hand from known probabilities."""

import math

import pytest

from trainer.contract import TaskSpec
from trainer.evaluation.errors import TaskError
from trainer.evaluation.evaluate import evaluate_items, mean_score
from trainer.evaluation.outputs.multiple_choice import MultipleChoice
from trainer.evaluation.tasks import render_items

KNOWN = {
    "q": {" ": 1.0},
    " ": {"a": 0.5, "b": 0.3, "c": 0.2},
    "b": {"b": 0.9, "c": 0.1},
    "a": {"a": 0.25, "c": 0.75},
}


def task(**changes):
    return TaskSpec(
        **{"task": "exam", "dataset": "exam@1", "output_type": "multiple_choice", "metric": "acc", **changes}
    )


def score(policy, spec, rows):
    _, samples = evaluate_items(spec, rows, model=policy.model, tokenizer=policy.tokenizer, should_stop=lambda: False)
    return list(samples)


def test_an_option_scores_the_sum_of_its_tokens_after_the_delimiter(bigram):
    rows = [{"question": "q", "choices": ["a", "bb", "ac"], "answer": 0}]
    sample = score(bigram(KNOWN), task(), rows)[0]
    expected = [math.log(0.5), math.log(0.3 * 0.9), math.log(0.5 * 0.75)]
    assert sample.detail["loglikelihoods"] == pytest.approx(expected, abs=1e-4)
    assert (sample.output, sample.target, sample.score, sample.tokens) == ("a", "a", 1.0, 2 + 3 + 3)


def test_acc_norm_divides_by_characters_and_may_pick_another_option(bigram):
    # ln .5 = -.693 against ln .27 = -1.309, but per character -.693 against -.655.
    rows = [{"question": "q", "choices": ["a", "bb"], "answer": 1}]
    plain = score(bigram(KNOWN), task(), rows)[0]
    normed = score(bigram(KNOWN), task(metric="acc_norm"), rows)[0]
    assert (plain.output, plain.score) == ("a", 0.0)
    assert (normed.output, normed.score) == ("bb", 1.0)


def test_acc_norm_counts_characters_not_bytes(bigram):
    # Three bytes each for ก and ข: by bytes the first would win (-3/3 > -2/1), by characters the second (-3 < -2).
    ko, kho = "ก".encode(), "ข".encode()
    assert len(ko) == len(kho) == 3
    metric = MultipleChoice(task(metric="acc_norm"), model=None, tokenizer=None).metric
    assert metric.choose([-3.0, -2.0], ["ก", "b"]) == 1


def test_likelihoods_do_not_depend_on_company(random_policy):
    rows = [
        {"question": "q" * n, "choices": ["yes", "no, not at all, never", "ไม่", "x" * n], "answer": n % 4}
        for n in range(1, 30)
    ]
    together = score(random_policy, task(), rows)
    for row, company in zip(rows, together, strict=True):
        lone = score(random_policy, task(), [row])[0]
        assert company.detail["loglikelihoods"] == pytest.approx(lone.detail["loglikelihoods"], abs=1e-4)
        assert company.output == lone.output


def test_there_is_no_delimiter_in_a_chat_or_after_white_space(bigram):
    policy = bigram(KNOWN)
    rows = [{"question": "q", "choices": ["a", "b"], "answer": 0}]
    for spec, before in [
        (task(), "q"),
        (task(doc_to_text="{{question}} "), "q "),
        (task(chat=True), "[user]q<|end|>[assistant]"),
        (task(target_delimiter="="), "q"),
    ]:
        item = render_items(spec, rows, tokenizer=policy.tokenizer)[0]
        options = MultipleChoice(spec, model=policy.model, tokenizer=policy.tokenizer).encode_options(item)
        option = options[0]
        assert policy.tokenizer.decode(option.ids[: option.start]) == before
        text = policy.tokenizer.decode(option.ids[option.start :])
        assert text == {"q": f"{spec.target_delimiter}a"}.get(before, "a")


def test_few_shot_rows_are_shown_solved_and_not_scored(bigram):
    policy = bigram(KNOWN)
    rows = [{"question": f"q{n}", "choices": ["a", "b"], "answer": n % 2} for n in range(4)]
    items = render_items(task(num_fewshot=2), rows, tokenizer=policy.tokenizer)
    assert [item.prompt for item in items] == ["q0 a\n\nq1 b\n\nq2", "q0 a\n\nq1 b\n\nq3"]
    chat = render_items(task(num_fewshot=1, chat=True, limit=1), rows, tokenizer=policy.tokenizer)
    assert [item.prompt for item in chat] == ["[user]q0<|end|>[assistant]a<|end|>[user]q1<|end|>[assistant]"]


def test_an_item_longer_than_the_context_is_an_error_and_counts_as_wrong(bigram):
    rows = [
        {"question": "q", "choices": ["a", "b"], "answer": 0},
        {"question": "q" * 64, "choices": ["a", "b"], "answer": 0},
    ]
    fine, failed = samples = score(bigram(KNOWN), task(), rows)
    assert (fine.score, failed.score, failed.status) == (1.0, None, "error")
    assert failed.detail["reason"] == "prompt and option have 66 tokens, the context is 64"
    assert mean_score(task(), samples) == 0.5


def test_a_model_that_gives_nan_fails_its_items_instead_of_winning_them(bigram):
    policy = bigram(KNOWN)
    policy.model.lm_head.weight.data.fill_(float("nan"))
    sample = score(policy, task(), [{"question": "q", "choices": ["a", "b"], "answer": 0}])[0]
    assert (sample.score, sample.status) == (None, "error")


def test_items_are_named_by_id_or_by_content_and_stay_unique(bigram):
    tokenizer = bigram(KNOWN).tokenizer
    row = {"question": "q", "choices": ["a", "b"], "answer": 0}
    items = render_items(task(), [row, dict(reversed(row.items())), {**row, "id": 7}], tokenizer=tokenizer)
    first, again, named = [item.id for item in items]
    assert len(first) == 16
    assert again == f"{first}-2"
    assert named == "7"


@pytest.mark.parametrize(
    ("changes", "row", "message"),
    [
        ({}, {"question": "q", "answer": 0}, "row 1: field choices .* is not a list"),
        ({}, {"question": "q", "choices": ["a", "b"], "answer": "B"}, "gives 'B'; .* position .* from 0"),
        ({}, {"question": "q", "choices": ["a", "b"], "answer": 2}, "option 2 is right, but there are 2"),
        ({}, {"choices": ["a", "b"], "answer": 0}, "doc_to_text fails: 'question' is undefined; the row has choices"),
        ({"doc_to_text": "{{question"}, {"question": "q", "choices": ["a", "b"], "answer": 0}, "doc_to_text fails"),
        (
            {"x_stats": {"cluster": "law_name"}},
            {"question": "q", "choices": ["a", "b"], "answer": 0},
            "no field law_name, which x_stats.cluster names",
        ),
        (
            {"num_fewshot": 1},
            {"question": "q", "choices": ["a", "b"], "answer": 0},
            "num_fewshot takes 1; none is left",
        ),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_number_and_field(bigram, changes, row, message):
    with pytest.raises(TaskError, match=message):
        render_items(task(**changes), [row], tokenizer=bigram(KNOWN).tokenizer)


def test_templates_cannot_reach_python(bigram):
    row = {"question": "q", "choices": ["a", "b"], "answer": 0}
    spec = task(doc_to_text="{{ question.__class__.__mro__ }}")
    with pytest.raises(TaskError, match="doc_to_text fails"):
        render_items(spec, [row], tokenizer=bigram(KNOWN).tokenizer)


def test_a_metric_of_another_output_type_is_refused():
    with pytest.raises(ValueError, match=r"metric exact_match does not fit multiple_choice; use acc or acc_norm"):
        task(metric="exact_match")
