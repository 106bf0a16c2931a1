"""Rewards of correctness, form and script, on answers as policies write them."""

import time
from typing import Any

import pytest
from pydantic import ValidationError

from tests.reward_rows import answer, fault, rewards, value
from trainer.contract.rewards.regex_format import RegexFormatReward
from trainer.rewards import check_rows
from trainer.rewards.multiple_choice import pick_option


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [
        ("  ๕๐\u200bบาท ", "๕๐บาท", 1.0),
        ("50 บาท", "๕๐ บาท", 0.0),
        ("Paris", "paris", 0.0),
        ("paris", ["Rome", "paris"], 1.0),
        ("", "x", 0.0),
        ("7", 7, 1.0),
    ],
)
def test_exact(text: str, reference: Any, expected: float):
    assert value({"kind": "exact"}, answer(text, reference=reference)) == expected


def test_exact_without_case():
    assert value({"kind": "exact", "ignore_case": True}, answer("STRASSE", reference="Straße")) == 1.0


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [
        ("รวม ๑,๒๐๐ บาท", "1200", 1.0),
        ("1200.0", "1,200 baht", 1.0),
        ("first 5, then −7", "-7", 1.0),
        ("no number", "7", 0.0),
        ("", "7", 0.0),
        ("8", "7", 0.0),
    ],
)
def test_numeric(text: str, reference: str, expected: float):
    assert value({"kind": "numeric"}, answer(text, reference=reference)) == expected


def test_numeric_with_a_tolerance_is_exact_in_decimals():
    config = {"kind": "numeric", "tolerance": 0.1}
    assert value(config, answer("1.1", reference="1")) == 1.0
    assert value(config, answer("1.1001", reference="1")) == 0.0
    assert value(config, answer("-0.9", reference="-1")) == 1.0
    assert value(config, answer("0.1", reference="0")) == 0.0


def test_a_row_without_a_reference_is_a_fault_never_a_zero():
    assert fault({"kind": "exact"}, answer(row={})) == "The row has no `answer`."
    assert fault({"kind": "numeric"}, answer(reference="seven")) == "The row has no number in its `answer`."
    assert fault({"kind": "multiple_choice"}, answer(reference="Z")) == (
        "The row has a `answer` that names none of its options."
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>8</think>7", 1.0),
        ("<think>8</think><think>9</think> 7", 1.0),
        ("7", 1.0),
        ("<think>7", 0.0),
        ("<think>7</think>", 0.0),
        ("<think>7</think>8", 0.0),
    ],
)
def test_only_what_follows_the_thinking_is_the_answer(text: str, expected: float):
    assert value({"kind": "exact"}, answer(text)) == expected


def test_thinking_that_the_prompt_opened_counts_as_thinking():
    assert value({"kind": "exact"}, answer("7", prompt_text="q\n<think>\n")) == 0.0
    assert value({"kind": "exact"}, answer("8</think>7", prompt_text="q\n<think>\n")) == 1.0


@pytest.mark.parametrize(
    ("text", "truncated", "expected"),
    [
        ("<answer>7</answer>", False, 1.0),
        ("so <answer>8</answer> no, <answer> 7 </answer> done", False, 1.0),
        ("<think><answer>7</answer></think> none", False, 0.0),
        ("7", False, 0.0),
        ("<answer>7", False, 1.0),
        ("<answer>7", True, 0.0),
    ],
)
def test_the_answer_may_be_read_from_its_tag(text: str, truncated: bool, expected: float):
    assert value({"kind": "exact", "read": "answer_tag"}, answer(text, truncated=truncated)) == expected


@pytest.mark.parametrize(
    ("text", "picked"),
    [
        ("B", 1),
        ("(b)", 1),
        ("**ข**", 1),
        ("ข.", 1),
        ("ข้อ ๒", 1),
        ("2)", 1),
        ("The answer is (B).", 1),
        ("Not A. The answer is A? No, the answer is B", 1),
        ("คำตอบคือ ข้อ ข เพราะ", 1),
        ("คำตอบที่ถูกต้องคือ ง", 3),
        ("Antwort: D", 3),
        ("B) Bangkok", 1),
        ("Bangkok", 1),
        ("bangkok.", 1),
        ("การ", None),
        ("A good question", None),
        ("the answer is a matter of taste", None),
        ("A, B, C or D", None),
        ("คำตอบ: 2.5", None),
        ("F", None),
        ("9", None),
        ("", None),
    ],
)
def test_the_option_that_an_answer_picks(text: str, picked: int | None):
    assert pick_option(text, count=4, choices=["Ayutthaya", "Bangkok", "Chiang Mai", "Nan"]) == picked


def test_multiple_choice_takes_an_index_a_label_or_the_option():
    config = {"kind": "multiple_choice"}
    for right in (1, "B", "ข", "2", "Bangkok"):
        row = {"answer": right, "choices": ["Ayutthaya", "Bangkok"]}
        assert value(config, answer("ตอบ ข", row=row)) == 1.0
        assert value(config, answer("ตอบ ก", row=row)) == 0.0
        assert value(config, answer("ไม่ทราบ", row=row)) == 0.0
    assert value(config, answer("5", reference="E")) == 1.0
    assert value({**config, "options": 4}, answer("5", reference="A")) == 0.0


@pytest.mark.parametrize(
    ("settings", "text", "expected"),
    [
        ({"pattern": r"\d+ บาท"}, "50 บาท", 1.0),
        ({"pattern": r"\d+ บาท"}, "ค่าปรับ 50 บาท", 0.0),
        ({"pattern": r"\d+ บาท", "match": "search"}, "ค่าปรับ 50 บาท", 1.0),
        ({"pattern": r"a.b"}, "a\nb", 1.0),
        ({"pattern": r"a.b", "dot_matches_newline": False}, "a\nb", 0.0),
        ({"pattern": r"7", "read": "after_thinking"}, "<think>x</think>7", 1.0),
    ],
)
def test_a_pattern(settings: dict[str, Any], text: str, expected: float):
    assert value({"kind": "regex_format", **settings}, answer(text)) == expected


def test_a_pattern_that_never_ends_is_a_fault_after_its_time():
    started = time.process_time()
    sentence = fault({"kind": "regex_format", "pattern": r"(a|aa)+$", "seconds": 0.1}, answer("a" * 5000 + "b"))
    assert sentence == "The pattern took more than 0.1 s; simplify it."
    assert time.process_time() - started < 5


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(ValidationError, match="is no regular expression: missing"):
        RegexFormatReward(pattern="(")


WHOLE = "<think>a</think>\n<answer>b</answer>"


@pytest.mark.parametrize(
    ("text", "strict", "partial"),
    [
        (WHOLE, 1.0, 1.0),
        (f"\n {WHOLE} \n", 1.0, 1.0),
        (f"Well. {WHOLE}", 0.0, 2 / 3),
        (f"{WHOLE} Bye.", 0.0, 2 / 3),
        ("<think>a</think> so <answer>b</answer>", 0.0, 2 / 3),
        ("<answer>b</answer><think>a</think>", 0.0, 2 / 3),
        ("<think><answer>b</answer></think>", 0.0, 2 / 3),
        (f"<think>a</think>{WHOLE}", 0.0, 1 / 3),
        (f"{WHOLE}<answer>c</answer>", 0.0, 1 / 3),
        ("<think>a</think><answer>b", 0.0, 1 / 3),
        ("<think></think><answer>b</answer>", 0.0, 1 / 3),
        ("</think>a<think><answer>b</answer>", 0.0, 1 / 3),
        ("<think>a</think><answer> </answer>", 0.0, 1 / 3),
        ("b", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_thinking_and_answer_between_their_tags(text: str, strict: float, partial: float):
    assert value({"kind": "think_answer"}, answer(text)) == strict
    assert value({"kind": "think_answer", "partial": True}, answer(text)) == pytest.approx(partial)


def test_thinking_alone_between_tags_as_typhoon_s_asks_for_it():
    config = {"kind": "think_answer", "thinking_tag": "thinking", "answer_tag": ""}
    assert value(config, answer("<thinking>a</thinking> b")) == 1.0
    assert value(config, answer("<thinking>a</thinking>")) == 0.0
    assert value(config, answer("b <thinking>a</thinking> b")) == 0.0
    assert value(config, answer("a</thinking> b", prompt_text="q<thinking>\n")) == 1.0


@pytest.mark.parametrize(
    ("settings", "text", "expected"),
    [
        ({"scripts": ["Thai"]}, "ไทย", 1.0),
        ({"scripts": ["Thai"]}, "กข ab", 0.5),
        ({"scripts": ["Thai", "Latin"]}, "กข ab", 1.0),
        ({"scripts": ["Thai", "Latin"]}, "กขค 你", 0.75),
        ({"scripts": ["Thai"]}, "ที่นี่ a", 2 / 3),
        ({"scripts": ["Thai"], "at_least": 0.66}, "ที่นี่ a", 1.0),
        ({"scripts": ["Thai"], "at_least": 0.67}, "ที่นี่ a", 0.0),
        ({"scripts": ["Thai"]}, "๑๒ + 3 = 15!", 1.0),
        ({"scripts": ["Thai"]}, " \n", 0.0),
        ({"scripts": ["Thai"]}, "กข `ab` https://a.example/b", 1.0),
        ({"scripts": ["Thai"], "skip_code": False}, "กข `ab`", 0.5),
        ({"scripts": ["Thai"]}, "```\nprint(1)\n```", 0.0),
        ({"scripts": ["Thai"]}, "กข ```print(1)", 1.0),
        ({"scripts": ["Thai"]}, "ก ℝ µ 𝐀", 1.0),
    ],
)
def test_share_of_scripts(settings: dict[str, Any], text: str, expected: float):
    assert value({"kind": "script", **settings}, answer(text)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "text", "expected"),
    [
        ({}, "ค่าปรับห้าสิบบาท", 1.0),
        ({}, "ค่าปรับ 50 บาท (๕๐)", 1.0),
        ({}, "ใช้ Google และ DNA ได้ทุกวัน", 1.0),
        ({"names": False}, "ใช้ Google และ DNA ได้ทุกวัน", 0.0),
        ({}, "ค่าปรับ fifty บาท", 0.0),
        ({"also": ["Latin"]}, "ค่าปรับ fifty บาท", 1.0),
        ({"also": ["Latin"]}, "ค่าปรับ 五十 บาท", 0.0),
        ({"also": ["Latin"]}, "ค่าปรับ пять บาท", 0.0),
        ({}, "ถามเรื่อง zebra ในไทย", 1.0),
        ({}, "The Fine Is Fifty Baht ครับ", 0.0),
        ({"also": ["Latin"]}, "this is English ครับ", 0.0),
        ({"main_share": 0}, "The Fine Is Fifty", 1.0),
        ({"graded": True}, "กขคง ab", 1 - 2 / 6),
        ({"graded": True}, "ก abcd", 0.0),
        ({"main": "Lao"}, "ກຂຄ", 1.0),
        ({"main": "Lao"}, "กขค", 0.0),
        ({}, "", 0.0),
        ({}, "42", 1.0),
    ],
)
def test_code_switching(settings: dict[str, Any], text: str, expected: float):
    one = answer(text, row={"question": "zebra คืออะไร"})
    assert value({"kind": "code_switching", **settings}, one) == pytest.approx(expected)


def test_choices_that_no_row_can_meet_are_refused():
    rows = [{"answer": 2, "choices": ["a", "b"]}, {"answer": "B", "choices": ["a", "b"]}]
    [error] = check_rows(rewards({"kind": "multiple_choice"}), rows, path="rewards", dataset="ask@1")
    assert "1 of 2 rows of ask@1" in error
    assert "row 1 has a `answer` that names none of its options" in error
