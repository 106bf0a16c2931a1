"""Questions with exact keys: each kind by hand, one key only, no law on both sides, the same file twice."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.__main__ import main
from trainer.lawtasks.command import choose_test_laws
from trainer.lawtasks.corpus import CorpusFault, Section, read_corpus, strip_heading
from trainer.lawtasks.languages import LANGUAGES
from trainer.lawtasks.questions import Question, make_questions
from trainer.lawtasks.thai_numbers import read_thai_number

LAW = "Market Code"
SECTIONS = [
    Section(LAW, "1", "“Market hall” means a building in which goods are sold to the public at retail."),
    Section(LAW, "2", "Whoever keeps a market hall shall keep its books for 7 years after the end of the year."),
    Section(LAW, "3", "The keeper named in section 2 shall show the books to the mayor whenever he asks for them."),
    Section(
        LAW, "4", "The mayor may close a market hall.\nThe mayor may close a market hall whose keeper has no books."
    ),
    Section(LAW, "7", "A fine of 20 baht or of 30 baht is due from a keeper of a market hall who has no books at all."),
]


def make(sections: list[Section] = SECTIONS, language: str = "en", each: int = 20) -> dict[str, list[Question]]:
    found: dict[str, list[Question]] = {}
    for one in make_questions(sections, LANGUAGES[language], each=each, seed=0):
        found.setdefault(one.kind, []).append(one)
    return found


def asked(questions: list[Question]) -> set[tuple[str, str]]:
    return {(one.question, one.answer) for one in questions}


def test_a_number_left_out_is_the_key_where_it_is_the_only_one():
    assert asked(make()["cloze"]) == {
        (
            "Which number is missing in section 2 of Market Code: “Whoever keeps a market hall shall keep its books "
            "for ____ years after the end of the year.”?",
            "7",
        )
    }


def test_a_section_left_out_is_the_key():
    assert asked(make()["reference"]) == {
        (
            "Which section does section 3 of Market Code refer to in the gap: “The keeper named in section ____ shall "
            "show the books to the mayor whenever he asks for them.”?",
            "2",
        )
    }


def test_a_term_is_found_where_it_is_defined():
    assert asked(make()["definition"]) == {("Which section of Market Code says what “Market hall” means?", "1")}


def test_a_sentence_that_stands_in_two_sections_is_no_question():
    twice = [*SECTIONS, Section(LAW, "8", SECTIONS[2].text)]
    assert {one.section for one in make()["find"]} == {"1", "2", "3", "4", "7"}
    assert {one.section for one in make(twice)["find"]} == {"1", "2", "4", "7"}


def test_sections_that_are_not_there_are_asked_for_as_often_as_such_that_are():
    found = make(each=4)
    assert [one.section for one in found["absent"]] == ["5", "6", "8", "9"]
    assert found["absent"][0].answer == "There is no such section 5 in Market Code."
    assert found["absent"][0].row()["citations"] == []
    assert len(found["present"]) == 4
    assert all(one.row()["answerable"] for one in found["present"])


def test_what_is_chosen_does_not_hang_on_the_order_of_the_file():
    forwards, backwards = make(each=2), make(SECTIONS[::-1], each=2)
    assert {kind: asked(forwards[kind]) for kind in forwards} == {kind: asked(backwards[kind]) for kind in backwards}


def test_thai_sections_are_read_as_they_are_written():
    law = "ประมวลตลาด"
    sections = [
        Section(law, "1", "“ตลาด” หมายความว่า สถานที่ซึ่งจัดไว้ให้ผู้ค้าใช้เป็นที่ชุมนุมเพื่อจำหน่ายสินค้า"),
        Section(law, "2", "ผู้ใดฝ่าฝืนบทบัญญัติตามมาตรา ๑ ต้องระวางโทษปรับตามที่กำหนดไว้ในกฎกระทรวง"),
        Section(law, "3", "ให้เก็บค่าธรรมเนียมการใช้สถานที่ในอัตราร้อยละ ๓ ของรายได้ก่อนหักรายจ่ายใด ๆ"),
    ]
    found = make(sections, "th")
    assert [one.answer for one in found["reference"]] == ["1"]
    assert [one.answer for one in found["cloze"]] == ["3"]
    assert "ร้อยละ ____ ของรายได้" in found["cloze"][0].question
    assert asked(found["definition"]) == {("มาตราใดของประมวลตลาดให้นิยามคำว่า “ตลาด”", "1")}


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("หนึ่ง", 1),
        ("สิบ", 10),
        ("สิบเอ็ด", 11),
        ("ยี่สิบ", 20),
        ("ยี่สิบเอ็ด", 21),
        ("สามสิบห้า", 35),
        ("หนึ่งร้อยแปดสิบ", 180),
        ("หนึ่งร้อยเอ็ด", 101),
        ("หนึ่งพันห้าร้อย", 1_500),
        ("หกหมื่น", 60_000),
        ("หนึ่งแสนสองหมื่น", 120_000),
        ("สิบล้าน", 10_000_000),
        ("สองล้านห้าแสน", 2_500_000),
        ("หนึ่งล้านล้าน", 1_000_000_000_000),
        ("สองสิบ", None),
        ("หนึ่งสิบ", None),
        ("เอ็ด", None),
        ("พัน", None),
        ("ล้าน", None),
        ("ยี่", None),
        ("สิบร้อย", None),
        ("สองสาม", None),
        ("สามร้อยสี่ร้อย", None),
        ("สิบวัน", None),
        ("", None),
    ],
)
def test_a_number_in_thai_words(words: str, value: int | None):
    assert read_thai_number(words) == value


@settings(deadline=None)
@given(st.integers(1, 9_999_999_999))
def test_every_number_is_read_as_it_is_spoken(value: int):
    assert read_thai_number(speak(value)) == value


def speak(value: int) -> str:
    """By the rules of the language, from the largest unit to the smallest."""
    if value >= 1_000_000:
        return speak(value // 1_000_000) + "ล้าน" + (speak(value % 1_000_000) if value % 1_000_000 else "")
    words = ["", "หนึ่ง", "สอง", "สาม", "สี่", "ห้า", "หก", "เจ็ด", "แปด", "เก้า"]
    said = ""
    for size, unit in ((100_000, "แสน"), (10_000, "หมื่น"), (1_000, "พัน"), (100, "ร้อย")):
        said += words[value // size] + unit if value // size else ""
        value %= size
    tens, ones = divmod(value, 10)
    said += ("" if tens == 1 else "ยี่" if tens == 2 else words[tens]) + "สิบ" if tens else ""
    return said + ("เอ็ด" if ones == 1 and said else words[ones])


@pytest.mark.parametrize(
    ("text", "left", "key"),
    [
        ("ต้องระวางโทษจำคุกไม่เกินหกเดือนตามที่ศาลเห็นสมควรแก่ความผิด", "ไม่เกิน____เดือน", "6"),
        ("ต้องระวางโทษปรับไม่เกินหนึ่งแสนสองหมื่นบาทตามที่ศาลเห็นสมควร", "ไม่เกิน____บาท", "120000"),
        ("ให้อุทธรณ์ต่อคณะกรรมการภายในสามสิบวันนับแต่วันที่ได้รับแจ้งคำสั่ง", "ภายใน____วัน", "30"),
        ("ให้เสียเงินเพิ่มอีกร้อยละสิบห้าของจำนวนเงินภาษีที่ต้องเสียอีกด้วย", "ร้อยละ____ของ", "15"),
    ],
)
def test_an_amount_in_words_is_left_out_whole_and_its_key_is_written_in_digits(text: str, left: str, key: str):
    (one,) = make([Section("ประมวลตลาด", "9", text)], "th")["cloze"]
    assert left in one.question
    assert one.answer == key


@pytest.mark.parametrize(
    "text",
    [
        "จำคุกไม่เกินหนึ่งปีหรือปรับไม่เกินสองหมื่นบาทหรือทั้งจำทั้งปรับ",  # two gaps
        "ถ้าผู้ค้าไม่มาในวันหนึ่งวันใดให้ถือว่าผู้ค้านั้นสละสิทธิในที่ของตน",  # any day
        "ให้ผู้ค้าชำระค่าเช่าครั้งต่อไปในปีที่สองปีถัดจากปีที่ได้ทำสัญญานี้",  # the second
        "เมื่อผู้ค้าเกินกึ่งหนึ่งวันใดก็ตามเห็นชอบให้ตลาดหยุดทำการในวันนั้น",  # half of them
    ],
)
def test_what_is_no_single_amount_is_no_question(text: str):
    assert "cloze" not in make([Section("ประมวลตลาด", "9", text)], "th")


@pytest.mark.parametrize(
    ("text", "number", "rest"),
    [
        ("ประมวลตลาด มาตรา 65 ทวิ การคำนวณกำไรสุทธิ", "65 ทวิ", "การคำนวณกำไรสุทธิ"),
        ("ประมวลตลาด มาตรา ๑๒\nให้เก็บ", "12", "ให้เก็บ"),
        ("มาตรา 8 ให้สภา", "8", "ให้สภา"),
        ("ตามมาตรา 9 ให้สภา", "8", "ตามมาตรา 9 ให้สภา"),
        ("มาตรา 9 ให้สภา", "8", "มาตรา 9 ให้สภา"),
    ],
)
def test_the_heading_is_no_text_of_the_section(text: str, number: str, rest: str):
    assert strip_heading(text, "ประมวลตลาด", number) == rest


def test_laws_are_split_and_keep_their_side():
    laws = [f"law {number}" for number in range(10)]
    test = choose_test_laws(laws, share=0.3, seed=0)
    assert len(test) == 3
    assert choose_test_laws(laws[::-1], share=0.3, seed=0) == test
    assert choose_test_laws(laws, share=0.3, seed=1) != test
    assert choose_test_laws(laws, share=0, seed=0) == set()
    with pytest.raises(CorpusFault, match="one law, which cannot stand on both sides"):
        choose_test_laws(laws[:1], share=0.3, seed=0)


def write_corpus(path: Path) -> Path:
    rows = [
        {"law_name": law, "section_num": one.number, "text": one.text}
        for law in ("Market Code", "Harbour Code", "River Code")
        for one in SECTIONS
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_command_writes_both_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    corpus = write_corpus(tmp_path / "laws.jsonl")
    assert main(["lawtasks", str(corpus), "--language", "en", "--out", str(tmp_path / "one")]) == 0
    train, test = read(tmp_path / "one/train.jsonl"), read(tmp_path / "one/test.jsonl")
    laws = [{row["law_name"] for row in side} for side in (train, test)]
    assert [len(side) for side in laws] == [2, 1]
    assert not laws[0] & laws[1]
    assert (
        f"test: {len(test)} questions on 1 laws (find 5, cloze 1, reference 1, definition 1," in capsys.readouterr().out
    )
    assert main(["lawtasks", str(corpus), "--language", "en", "--out", str(tmp_path / "two")]) == 0
    assert (tmp_path / "two/train.jsonl").read_bytes() == (tmp_path / "one/train.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            '{"law_name": "a", "section_num": "1", "text": "b"}\n{"law_name": "a"}\n',
            "line 2: a JSON object with law_name",
        ),
        ("not JSON\n", "line 1: a JSON object with law_name"),
        ("", "has no section"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_named(tmp_path: Path, content: str, said: str):
    path = tmp_path / "laws.jsonl"
    path.write_text(content)
    with pytest.raises(CorpusFault, match=said):
        read_corpus(path)


@pytest.mark.shared_data
def test_the_real_thai_laws_give_every_kind(shared_data: Path):
    sections = [
        one for file in sorted((shared_data / "thai_law_sections").glob("*.jsonl")) for one in read_corpus(file)
    ]
    revenue = [one for one in sections if one.law == "ประมวลรัษฎากร"]
    found = make(revenue, "th")
    assert {kind: len(questions) >= 5 for kind, questions in found.items()} == dict.fromkeys(
        ("find", "cloze", "reference", "definition", "absent", "present"), True
    )
    numbers = {one.number for one in revenue}
    assert {one.section for one in found["find"]} <= numbers
    assert not {one.section for one in found["absent"]} & numbers
