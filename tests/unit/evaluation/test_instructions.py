"""Every instruction of IFEval: an answer that follows it and one that does not, worked out by hand."""

import json
import time

import pytest

from trainer.contract import TaskSpec
from trainer.evaluation.instructions import CHECKERS, Wish
from trainer.evaluation.instructions.language import is_written_in
from trainer.evaluation.instructions.length import count_sentences
from trainer.evaluation.instructions.reading import follows, follows_loosely, loose_readings, read_instructions
from trainer.evaluation.metrics import metrics
from trainer.evaluation.outputs.generate import judge_answer
from trainer.evaluation.results import summarise
from trainer.evaluation.tasks import render_items

AT_LEAST, LESS = {"relation": "at least"}, {"relation": "less than"}
CASES = [
    ("keywords:existence", {"keywords": ["Law", "fine"]}, "the LAWS set a fine", "the law"),
    ("keywords:frequency", {"keyword": "tax", "frequency": 2, **AT_LEAST}, "Tax and taxes", "tax"),
    ("keywords:frequency", {"keyword": "tax", "frequency": 2, **LESS}, "tax", "tax tax"),
    ("keywords:forbidden_words", {"forbidden_words": ["art"]}, "a part of it", "it is Art, they say"),
    ("keywords:letter_frequency", {"letter": "e", "let_frequency": 3, "let_relation": "at least"}, "EeE", "ee"),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 1, "let_relation": "less than"}, "none", "#"),
    ("language:response_language", {"language": "de"}, "Das ist nicht der Hund", "This is the house of the dog"),
    ("language:response_language", {"language": "th"}, "สวัสดี SMS", "hello สวัส"),
    ("language:response_language", {"language": "ur"}, "یہ ایک کتاب ہے اور وہ بھی", "هذا كتاب من على إلى"),
    ("language:response_language", {"language": "mr"}, "हे एक पुस्तक आहे आणि ते नाही", "यह एक किताब है और वह नहीं"),
    ("length_constraints:number_words", {"num_words": 3, **AT_LEAST}, "one, two three", "one two"),
    ("length_constraints:number_words", {"num_words": 3, **LESS}, "one two", "well-known fact"),
    ("length_constraints:number_characters", {"num_characters": 5, **AT_LEAST}, "ab c\nde", "a b c d"),
    ("length_constraints:number_sentences", {"num_sentences": 2, **LESS}, "Dr. Who came.", "He came. He saw."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb\n***", "a\n***\n***\nb"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Then"},
        'First this.\n\n"Then," she said.',
        "Then this.\n\nAnd that.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] of [a [b]", "[name] of [street"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye\np. s. More", "Bye. PS more"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "P.P.S more", "P.S. more"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n  - b\n**c**", "* a\n* b\n- c"),
    ("detectable_format:constrained_response", {}, "Well. My answer is maybe.", "My answer is perhaps."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and **b**", "*a* and ** **"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        "SECTION 1 a SECTION2 b",
        "SECTION 1 a Section 2 b",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "a: 1"),
    ("detectable_format:title", {}, "<<On law>>\ntext", "<< >> and <<open\n>>"),
    ("combination:two_responses", {}, "one\n******\ntwo", "one******one"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it. "}, " say it. Yes", "Yes. Say it."),
    ("startend:end_checker", {"end_phrase": "Any questions?"}, 'So: "any questions?"', "Any questions? No."),
    ("startend:quotation", {}, ' "all of it" ', '"'),
    ("change_case:english_capital", {}, "THIS IS THE LAW 5.", "THIS IS the law"),
    ("change_case:english_lowercase", {}, "this is the law 5.", "This is the law"),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "I saw NASA",
        "I saw Nasa",
    ),
    ("punctuation:no_comma", {}, "one; two", "one, two"),
]


def row(*instructions, **fields):
    return {
        "question": "q",
        "instruction_id_list": [name for name, _ in instructions],
        "kwargs": [values for _, values in instructions],
        **fields,
    }


def spec(**options):
    return TaskSpec(
        task="ifeval",
        dataset="ifeval@1",
        output_type="generate_until",
        metric="ifeval",
        doc_to_target="",
        metric_options=options,
        generation_kwargs={"max_gen_toks": 8},
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


@pytest.mark.parametrize(("name", "values", "right", "wrong"), CASES)
def test_an_instruction_is_followed_or_not(name, values, right, wrong):
    (instruction,) = read_instructions(row((name, values)), thai=False)
    assert follows(right, instruction)
    assert not follows(wrong, instruction)
    assert not follows(" \n", instruction)


def test_all_25_published_instructions_are_known_and_one_of_our_own():
    assert len(CHECKERS) == 26
    assert {name for name, *_ in CASES} == set(CHECKERS)


def test_the_eight_readings_of_a_loose_judgement():
    assert list(loose_readings("Sure!\n*a*\nBye")) == [
        "Sure!\n*a*\nBye", "*a*\nBye", "Sure!\n*a*", "*a*", "Sure!\na\nBye", "a\nBye", "Sure!\na", "a",
    ]  # fmt: skip
    (title,) = read_instructions(row(("startend:quotation", {})), thai=False)
    answer = 'Sure:\n*"all of it"*'
    assert not follows(answer, title)
    assert follows_loosely(answer, title)
    assert not follows_loosely('Sure:\nwell: "all of it"\nBye', title)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two! Three?", 3),
        ("It costs 3.50 euro. That is much", 2),
        ("Mr. Smith met Dr. No at 5 p.m. in the U.S. yesterday.", 1),
        ("1. First point\n2. Second point.", 1),
        ('Wait... what?! "No." End.', 4),
        ("J. R. R. Tolkien wrote it. So did I.", 2),
        ("He said no. She left at 5 p.m. Then it rained.", 3),
        ("...", 0),
    ],
)
def test_sentences_end_where_a_reader_would_say(text, count):
    assert count_sentences(text) == count


def test_languages_that_share_a_script_are_told_apart_by_their_words():
    for language, text in {
        "sw": "Hii ni habari ya watu wa Kenya na nchi yake.",
        "vi": "Đây là một ngôi nhà và những người trong đó không có tiền.",
        "it": "Il gatto è nella casa e non è con il cane della zia.",
        "pt": "O gato não está em casa com um cão e uma ave do campo.",
        "fi": "Se on hyvä ja hän ei ole täällä, mutta minä olen.",
        "bg": "Това е къща и аз не съм в нея със сестра си за пари.",
        "ru": "Это дом, и я не знаю, что он и как он так был.",
        "fa": "این کتاب را از آن برای تو که با است می خواهم.",
        "ne": "यो किताब मेरो हो र म यो पनि गर्न छैन छ।",
    }.items():
        assert [one for one in ("sw", "vi", "it", "pt", "fi", "bg", "ru", "fa", "ne") if is_written_in(text, one)] == [
            language
        ]
    assert is_written_in("42", "th"), "a text without letters is of any language"


def test_by_prompt_all_must_be_followed_and_by_instruction_each_counts_in_its_prompt():
    rows = [
        row(("punctuation:no_comma", {}), ("startend:quotation", {}), key=1),
        row(("punctuation:no_comma", {}), key=2),
    ]
    answers = ["no comma", "none either"]
    by_prompt = score(spec(), rows, answers)
    assert [sample.score for sample in by_prompt] == [0.0, 1.0]
    assert by_prompt[0].detail["strict"] == [1.0, 0.0]
    each = score(spec(level="instruction"), rows, answers)
    assert [sample.score for sample in each] == [1.0, 0.0, 1.0]
    assert each[0].cluster == each[1].cluster == by_prompt[0].item != each[2].cluster
    assert len({sample.item for sample in each}) == 3


def test_four_numbers_are_told_of_one_answer(tmp_path):
    rows = [row(("startend:quotation", {}), ("punctuation:no_comma", {}), key=key) for key in range(4)]
    # Strictly neither quoted nor free of commas; loosely, without its first line, both.
    samples = score(spec(), rows, ['Yes,\n"it is"', '"it is"', '"it, is"', "it, is"])
    told = summarise(spec(), samples, tmp_path)
    assert told["mean"] == 1 / 4
    means = {name: one["mean"] for name, one in told["further"].items()}
    assert means == {
        "prompt, strict": 1 / 4,
        "prompt, loose": 2 / 4,
        "instruction, strict": 3 / 8,
        "instruction, loose": 5 / 8,
    }
    assert told["further"]["instruction, strict"]["n"] == 8


def test_a_row_whose_wishes_are_broken_is_refused_in_a_sentence():
    metric = metrics()["ifeval"]
    metric.configure(spec())
    for broken, said in [
        (row(("no:such", {})), "no:such is no instruction"),
        (row(("startend:end_checker", {})), "startend:end_checker needs a text in end_phrase"),
        (row(("keywords:frequency", {"keyword": "a", "frequency": 1, "relation": "more"})), "knows at least and less"),
        (row(("language:response_language", {"language": "xx"})), "language:response_language knows ar, bg"),
        ({"question": "q"}, "are not two lists of one length"),
    ]:
        (item,) = render_items(spec(), [broken], tokenizer=None)
        assert said in metric.check_item(item)


def test_values_that_tables_leave_empty_are_no_wishes():
    (one,) = read_instructions(row(("startend:end_checker", {"end_phrase": "So.", "num_words": None})), thai=False)
    assert one.wish.values == {"end_phrase": "So."}


@pytest.mark.shared_data
def test_the_published_prompts_are_understood_whole(shared_data):
    lines = (shared_data / "ifeval/input_data.jsonl").read_text("utf-8").splitlines()
    read = [read_instructions(json.loads(line), thai=False) for line in lines]
    assert (len(read), sum(map(len, read))) == (541, 834)
    assert len({one.name for instructions in read for one in instructions}) == 25
    verdicts = (shared_data / "ifeval_real_paired_results/m_ifeval_en_strict.jsonl").read_text("utf-8").splitlines()
    counts = {(one["idx"], len(one["follow_list"])) for one in map(json.loads, verdicts)}
    assert counts == {(place, len(instructions)) for place, instructions in enumerate(read)}


@pytest.mark.parametrize(
    "hostile", ["[", "<<", "*", "a.", ".", "P. ", "\n\n", "- ", "***", " '\"", "SECTION 1", "A-", "``` "]
)
def test_no_checker_needs_more_than_linear_time(hostile):
    """A pattern that goes back needs minutes for these many characters; processor time, so that load does not count."""
    answer = (hostile * (200_000 // len(hostile)))[:199_999] + "x"
    for name, one in CHECKERS.items():
        kinds = {int: 3, str: "ab", list: ["ab"]}
        values = {key: kinds[kind] for key, kind in one.needs.items()}
        values |= {key: "at least" for key in values if key.endswith("relation")}
        values |= {"language": "en"} if "language" in values else {}
        started = time.process_time()
        one.check(answer, Wish(values))
        one.check(answer, Wish(values, thai=True))
        assert time.process_time() - started < 20, name


def test_thai_skips_what_means_nothing_in_thai_and_says_so():
    skipped = {name for name, one in CHECKERS.items() if one.thai}
    assert skipped == {
        "length_constraints:number_words",
        "length_constraints:number_sentences",
        "change_case:english_capital",
        "change_case:english_lowercase",
        "change_case:capital_word_frequency",
    }
    rows = [
        row(("length_constraints:number_words", {"num_words": 9, **AT_LEAST}), key=1),
        row(("length_constraints:number_words", {"num_words": 9, **AT_LEAST}), ("punctuation:no_comma", {}), key=2),
    ]
    left_out, judged = score(spec(language="th"), rows, ["ตอบ", "ตอบ"])
    assert (left_out.status, left_out.score) == ("left_out", None)
    assert "ask for characters" in str(left_out.detail["reason"])
    assert (judged.score, judged.detail["strict"]) == (1.0, [1.0])
    assert "number_words" in str(judged.detail["skipped"])


@pytest.mark.parametrize(
    ("name", "values", "right", "wrong"),
    [
        # Nikhahit and sara aa look like sara am; zero-width spaces are not seen at all.
        ("keywords:existence", {"keywords": ["ทำงาน"]}, "เขาท\u0e4d\u0e32\u200bงานดี", "เขาทงานดี"),
        ("keywords:forbidden_words", {"forbidden_words": ["ภาษี"]}, "เรื่องเงิน", "เรื่องภา\u200bษีเงินได้"),
        ("keywords:letter_frequency", {"letter": "ก", "let_frequency": 2, "let_relation": "at least"}, "กาก", "กา"),
        (
            "detectable_format:multiple_sections",
            {"section_spliter": "ส่วนที่", "num_sections": 2},
            "ส่วนที่ ๑ ก\nส่วนที่ ๒ ข",
            "ส่วนที่ ๑ ก\nส่วนที่สอง ข",
        ),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "ดังนั้น"},
            "ก่อนอื่น\n\nดังนั้นเราจึงไป",
            "ดังนั้น\n\nเราจึงไป",
        ),
        ("length_constraints:number_characters", {"num_characters": 4, **AT_LEAST}, "กา กา", "กา\u200bก "),
        ("detectable_content:postscript", {"postscript_marker": "P.S."}, "ลาก่อน\nป.ล. อีกเรื่อง", "ลาก่อน"),
        ("detectable_format:constrained_response", {"options": ["คำตอบคือใช่"]}, "คำตอบคือใช่", "ใช่"),
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "- ก\n* ข", "- ก"),
        ("language:response_language", {"language": "th"}, "ภาษาไทย", "English only"),
        ("punctuation:no_comma", {}, "ก ข", "ก, ข"),
    ],
)
def test_instructions_in_thai(name, values, right, wrong):
    (instruction,) = read_instructions(row((name, values)), thai=True)
    assert follows(right, instruction)
    assert not follows(wrong, instruction)
