"""Metrics of written answers beside the exact ones, with values worked out by hand."""

import json
import time

import pytest
import pythainlp

from trainer.contract import TaskSpec
from trainer.evaluation.errors import TaskError
from trainer.evaluation.evaluate import evaluate_items, mean_score
from trainer.evaluation.filters import filter_answer
from trainer.evaluation.last_object import find_last_object
from trainer.evaluation.metrics import metrics
from trainer.evaluation.outputs.generate import judge_answer
from trainer.evaluation.results import summarise, write_table
from trainer.evaluation.tasks import render_items


def spec(metric, **changes):
    options = changes.pop("options", {})
    return TaskSpec(
        **{
            "task": "t",
            "dataset": "rows@1",
            "output_type": "generate_until",
            "metric": metric,
            "metric_options": options,
            "generation_kwargs": {"max_gen_toks": 8},
            **changes,
        }
    )


def score(task, rows, answers):
    metric = metrics()[task.metric]
    metric.configure(task)
    items = render_items(task, rows, tokenizer=None)
    assert [metric.check_item(item) for item in items] == [""] * len(items)
    return [
        sample
        for item, answer in zip(items, answers, strict=True)
        for sample in judge_answer(task, metric, item, answer, cut=False, tokens=1)
    ]


def further(task, samples, tmp_path):
    return {name: one["mean"] for name, one in summarise(task, samples, tmp_path)["further"].items()}


THAI = "กฎหมายนี้ว่าด้วยเรื่องใด"
SWITCHING = spec("code_switching", doc_to_target="")


@pytest.mark.parametrize(
    ("question", "answer", "pure", "enough"),
    [
        (THAI, "ว่าด้วยภาษี", 1, 1),
        (THAI, "ว่าด้วย税", 0, 1),
        (THAI, "ว่าด้วยналог", 0, 1),
        (THAI, "It is about tax", 1, 0),
        # ก ข ค against three Latin letters: a share of one half is enough.
        (THAI, "กขค abc", 1, 1),
        (THAI, "กขค abcd", 1, 0),
        (THAI, "กขค ```def value(): 税```", 1, 1),
        (THAI, "ดูที่ https://example.org/税", 1, 1),
        ("คำว่า “税金 ใหม่” แปลว่าอะไร", "税金 ใหม่ แปลว่าภาษีใหม่", 1, 1),
        ("Φ ใน Python คืออะไร", "Φ คือค่าของ Python", 1, 1),
        ("Φ ใน Python คืออะไร", "Ψ คือค่าของ Python", 0, 1),
        ("What is tax?", "It is money", 1, 1),
        ("What is tax?", "It is деньги", 0, 1),
        (THAI, "๔๗", 1, 1),
        (THAI, "", 0, 0),
        (THAI, "```code```", 0, 0),
    ],
)
def test_an_answer_stays_in_the_scripts_it_was_asked_in(question, answer, pure, enough):
    (sample,) = score(SWITCHING, [{"question": question}], [answer])
    assert (sample.detail["no_foreign_letters"], sample.detail["enough_main_script"]) == (pure, enough)
    assert sample.score == pure * enough


def test_both_halves_of_code_switching_are_told(tmp_path):
    samples = score(SWITCHING, [{"question": THAI, "n": n} for n in range(4)], ["ภาษี", "税 ภาษี", "tax", "税"])
    assert [sample.score for sample in samples] == [1, 0, 0, 0]
    assert samples[1].detail["foreign"] == "税"
    assert further(SWITCHING, samples, tmp_path) == {"no_foreign_letters": 1 / 2, "enough_main_script": 1 / 2}


def test_exact_match_and_f1_over_characters(tmp_path):
    task = spec("answer_overlap")
    rows = [{"question": "q", "answer": "๕ ปี", "n": n} for n in range(3)]
    same, half, wrong = score(task, rows, ["5 ปี.", "5 ปีเต็ม", "abc"])
    # 5 ป ี against 5 ป ี เ ต ็ ม: 3 in common of 3 and 7.
    assert [(one.detail["em"], one.detail["f1"]) for one in (same, half, wrong)] == [(1, 1), (0, 6 / 10), (0, 0)]
    assert further(task, [same, half, wrong], tmp_path) == {"em": 1 / 3, "f1": pytest.approx(1.6 / 3)}


def test_f1_over_words_drops_articles_and_takes_the_best_reference():
    task = spec("answer_overlap", options={"split": "words", "references": "also"})
    rows = [{"question": "q", "answer": "Vienna", "also": ["the city of Vienna"]}]
    (sample,) = score(task, rows, ["A city, Vienna!"])
    # city vienna against city of vienna: 2 in common of 2 and 3; against vienna alone 2/3.
    assert (sample.score, sample.detail["em"]) == (4 / 5, 0)
    assert score(spec("answer_overlap", options={"measure": "em"}), rows, ["vienna."])[0].score == 1


def test_words_of_newmm_belong_to_one_version_of_pythainlp(bigram):
    task = spec("answer_overlap", options={"split": "newmm", "pythainlp": pythainlp.__version__})
    (sample,) = score(task, [{"question": "q", "answer": "แมวกินปลา"}], ["แมว กินข้าว"])
    # กินข้าว is one word of its dictionary: แมว กินข้าว against แมว กิน ปลา.
    assert sample.score == pytest.approx(2 / 5)
    policy = bigram({})
    with pytest.raises(TaskError, match="is installed, which cuts other words"):
        evaluate_items(
            spec("answer_overlap", options={"split": "newmm", "pythainlp": "0.1"}),
            [{"question": "q", "answer": "a"}],
            model=policy.model,
            tokenizer=policy.tokenizer,
            should_stop=lambda: False,
        )


CITED = [{"law": "ประมวลรัษฎากร", "section": "40"}, {"law": "ประมวลรัษฎากร", "section": "65 ทวิ"}]
CITING = '{"citations": [{"law": "ประมวลรัษฎากร", "section": "มาตรา ๔๐ วรรคสอง"}%s]}'
THREE = CITING % "".join(f', {{"law": "ประมวลรัษฎากร", "section": "{number}"}}' for number in (1, 2))


def test_citations_by_answer_and_over_all(tmp_path):
    rows = [{"question": "q", "answer": "a", "citations": CITED, "n": n} for n in range(2)]
    task = spec("citations")
    # First: 1 met of 1 cited and 2 right. Second: 1 met of 3 cited and 2 right.
    samples = score(task, rows, [CITING % "", THREE])
    assert [one.score for one in samples] == [2 / 3, 2 / 5]
    assert further(task, samples, tmp_path) == {
        "macro precision": pytest.approx((1 + 1 / 3) / 2),
        "macro recall": 1 / 2,
        "macro f1": pytest.approx((2 / 3 + 2 / 5) / 2),
        "micro precision": 2 / 4,
        "micro recall": 2 / 4,
        "micro f1": 4 / 8,
    }
    table = write_table([summarise(task, samples, tmp_path)])
    assert "micro f1" in table
    assert "macro precision" in table


def test_as_nitibench_publishes_them_precision_and_recall_are_exchanged():
    rows = [{"question": "q", "answer": "a", "citations": CITED}]

    def measured(measure, compat):
        return score(spec("citations", options={"measure": measure, "compat": compat}), rows, [THREE])[0].score

    assert [measured(one, "") for one in ("precision", "recall", "f1")] == [1 / 3, 1 / 2, 2 / 5]
    assert [measured(one, "nitibench") for one in ("precision", "recall", "f1")] == [1 / 2, 1 / 3, 2 / 5]


def test_citations_in_running_text_and_none_at_all():
    rows = [{"question": "q", "answer": "a", "citations": CITED}]
    task = spec("citations", options={"written": "text"})
    assert score(task, rows, ["ตามมาตรา 40 และ 65 ทวิ แห่งประมวลรัษฎากร"])[0].score == 1
    assert score(task, rows, ["ไม่ทราบ"])[0].score == 0


def test_a_ranking_by_hand(tmp_path):
    rows = [{"question": "q", "answer": "a", "citations": [{"law": "L", "section": n} for n in (1, 2, 3)]}]
    answer = json.dumps({"citations": [{"law": "L", "section": n} for n in (9, 1, 9, 2, 8, 3)]})
    task = spec("retrieval", options={"k": 4})
    samples = score(task, rows, [answer])
    # 9 stands twice and counts once: places are 9, 1, 2, 8 and then 3, which is the fifth.
    assert further(task, samples, tmp_path) == {
        "recall at 4": 2 / 3,
        "hit_rate at 4": 1,
        "multi_hit_rate at 4": 0,
        "mrr at 4": 1 / 2,
        "multi_mrr at 4": pytest.approx(2 / 3 * (1 / 2 + 1 / (3 - 1)) / 2),
    }
    assert samples[0].score == 2 / 3
    assert score(spec("retrieval", options={"k": 5, "measure": "multi_hit_rate"}), rows, [answer])[0].score == 1


def test_intents_and_slots(tmp_path):
    rows = [
        {
            "question": "Wia werd s Weda moang in Minga?",
            "answer": "weather/find",
            "slots": [{"slot": "datetime", "text": "moang"}, {"slot": "location", "text": "Minga"}],
            "n": n,
        }
        for n in range(3)
    ]
    day, place = {"slot": "datetime", "text": "moang"}, {"slot": "location", "text": "minga"}
    right = json.dumps({"intent": "weather/find", "slots": [place, day]})
    wrong = [{"slot": "location", "text": "in Minga"}, day, {"slot": "x", "text": "Weda"}]
    part = "So: " + json.dumps({"intent": "weather/find", "slots": wrong})
    task = spec("intent_slots")
    samples = score(task, rows, [right, part, "weather"])
    assert [(one.score, one.status) for one in samples] == [(1, "ok"), (0, "ok"), (None, "unparsable")]
    # 3 right of 5 written and 6 wanted; the answer without JSON wrote none.
    assert further(task, samples, tmp_path) == {
        "intent accuracy": 2 / 3,
        "slot precision": 3 / 5,
        "slot recall": 3 / 6,
        "slot F1": pytest.approx(6 / 11),
    }
    by_slots = score(spec("intent_slots", options={"measure": "slot_f1"}), rows[:1], [part])
    assert by_slots[0].score == pytest.approx(2 / 5)


def test_rows_that_cannot_be_judged_are_refused_with_what_they_lack():
    for metric, row, said in [
        ("citations", {"citations": [{"law": "L"}]}, "whose entries each have `law` and `section`"),
        ("retrieval", {}, "no list citations"),
        ("intent_slots", {"slots": [{"text": "a"}]}, "each have `slot` and `text`"),
        ("answer_overlap", {"answer": "..."}, "no reference answer holds a letter"),
    ]:
        task = spec(metric)
        judge = metrics()[metric]
        judge.configure(task)
        (item,) = render_items(task, [{"question": "q", "answer": "a", **row}], tokenizer=None)
        assert said in judge.check_item(item)


def test_the_last_json_object_is_found_in_bounded_time():
    assert find_last_object('a {"x": 1} b {"x": 2} {', lambda one: "x" in one) == {"x": 2}
    assert find_last_object('{"y": {"x": 1}}', lambda one: "x" in one) is None
    started = time.process_time()
    for hostile in ("{", '{"', "[{", '{"a":[', '{"a":"b'):
        assert find_last_object(hostile * (1_000_000 // len(hostile)), lambda one: True) is None
    assert time.process_time() - started < 60


def test_repeated_answers_are_samples_of_their_own_in_the_cluster_of_their_question(random_policy):
    task = spec(
        "exact_match", repeats=3, generation_kwargs={"max_gen_toks": 6, "temperature": 1.0, "seed": 4}, x_stats={}
    )
    rows = [{"id": "a", "question": "one", "answer": "x"}, {"id": "b", "question": "two", "answer": "x"}]
    items, samples = evaluate_items(
        task, rows, model=random_policy.model, tokenizer=random_policy.tokenizer, should_stop=lambda: False
    )
    found = list(samples)
    assert [one.item for one in found] == ["a#1", "a#2", "a#3", "b#1", "b#2", "b#3"]
    assert [one.cluster for one in found] == ["a", "a", "a", "b", "b", "b"]
    assert [one.detail["repeat"] for one in found] == [1, 2, 3, 1, 2, 3]
    assert len({one.output for one in found[:3]}) > 1
    assert len(items) == 6
    assert mean_score(task, found) == 0


def test_repeats_of_the_likeliest_answer_are_refused():
    with pytest.raises(ValueError, match="set a temperature above 0"):
        spec("exact_match", repeats=2)


def filtered(steps, text):
    return filter_answer(spec("exact_match", filter_list=[{"filter": steps}]), text)


def test_filters_cut_the_answer_as_the_harness_does():
    strict = {"function": "regex", "regex_pattern": r"#### (\-?[0-9\.\,]+)"}
    last = {"function": "regex", "regex_pattern": r"(-?[$0-9.,]{2,})|(-?[0-9]+)", "group_select": -1}
    take = {"function": "take_first"}
    assert filtered([strict, take], "so 4\n#### 1,234") == "1,234"
    assert filtered([strict, take], "so 4") == "[invalid]"
    assert filtered([last, take], "first 12, then 7") == "7"
    assert filtered([{"function": "remove_whitespace"}, {"function": "lowercase"}], " A b\n") == "ab"


def test_a_pattern_that_never_ends_leaves_an_item_in_error(monkeypatch):
    monkeypatch.setattr("trainer.evaluation.filters.SECONDS", 0.2)
    task = spec("exact_match", filter_list=[{"filter": [{"function": "regex", "regex_pattern": r"(?:a|a|b?a)+$"}]}])
    (sample,) = score(task, [{"question": "q", "answer": "x"}], ["a" * 5000 + "c"])
    assert (sample.status, sample.score) == ("error", None)
    assert "took more than" in str(sample.detail["reason"])


def test_options_are_frozen_with_their_defaults_and_wrong_ones_refused():
    assert spec("ifeval").metric_options == {"level": "prompt", "reading": "strict", "language": "en"}
    with pytest.raises(ValueError, match=r"metric_options\.level"):
        spec("ifeval", options={"level": "word"})
    with pytest.raises(ValueError, match="numeric_match has none; remove level"):
        spec("numeric_match", options={"level": "prompt"})
    for output_type, metric in (("multiple_choice", "acc"), ("loglikelihood_rolling", "perplexity")):
        with pytest.raises(ValueError, match="repeats belongs to output_type generate_until"):
            spec(metric, output_type=output_type, repeats=2)


def test_fields_that_change_no_score_are_named_so_that_older_scores_stay_comparable():
    plain = spec("exact_match")
    assert plain.idle_fields == {"agent", "metric_options", "repeats", "filter_list", "judging", "version"}
    assert "metric_options" not in spec("ifeval").idle_fields


def test_choices_from_a_template_from_the_task_and_by_their_words():
    def choose(row, **fields):
        task = spec("acc", output_type="multiple_choice", **fields)
        (item,) = render_items(task, [row], tokenizer=None)
        return item.choices, item.answer

    row = {"question": "q", "answer": "b", "texts": {"list": ["a", "b"]}}
    assert choose(row, doc_to_choice="{{texts.list}}") == (("a", "b"), 1)
    assert choose({"question": "q", "answer": 1}, doc_to_choice=["no", "yes"]) == (("no", "yes"), 1)
    with pytest.raises(TaskError, match="or the option itself"):
        choose({"question": "q", "answer": "c"}, doc_to_choice=["no", "yes"])
    with pytest.raises(TaskError, match="is not a list of two options"):
        choose(row, doc_to_choice="{{ '(' * 50000 }}")
