"""Citations of law: what is the same section, which law a text means, and precision, recall and F1 by hand."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.reward_rows import answer, fault, rewards, value
from trainer.citations import find_citations, fold_law, fold_section, read_citations
from trainer.rewards import check_rows

REVENUE = "ประมวลรัษฎากร"
CIVIL = "ประมวลกฎหมายแพ่งและพาณิชย์"
ACCOUNTS = "พระราชบัญญัติการบัญชี พ.ศ. 2543"
ROW = {
    "citations": [
        {"law": REVENUE, "section": "40"},
        {"law": REVENUE, "section": "65 ทวิ"},
        {"law": REVENUE, "section": "77/1"},
        {"law": CIVIL, "section": "587"},
    ]
}


@pytest.mark.parametrize(
    ("written", "section"),
    [
        ("40", "40"),
        ("๔๐", "40"),
        ("040", "40"),
        ("มาตรา ๔๐ ทวิ", "40 ทวิ"),
        ("มาตรา40ทวิ", "40 ทวิ"),
        ("ม. 65 ตรี", "65 ตรี"),
        ("Section 40 bis", "40 ทวิ"),
        ("๑๒/๑", "12/1"),
        ("12 / 1", "12/1"),
        ("65 อัฏฐ/1", "65 อัฏฐ/1"),
        ("65 อัฎฐ", "65 อัฏฐ"),
        ("65 ฉัพพีสติ", "65 ฉัพพีสติ"),
        ("65 สัตตรส", "65 สัตตรส"),
        ("40 (8)", "40"),
        ("40 วรรคหนึ่ง", "40"),
        ("57 ฉ", "57 ฉ"),
        ("5 ฉบับ", "5"),
        ("3 ทศวรรษ", "3"),
        ("§ 312a", "312a"),
        ("บัญชีอัตราอากรแสตมป์ ๕", "บัญชีอัตราอากรแสตมป์5"),
    ],
)
def test_one_section_has_one_form(written: str, section: str):
    assert fold_section(written) == section


def test_sections_of_the_thai_codes_stay_apart():
    """40, 40 ทวิ and 40/1 are three sections."""
    assert len({fold_section(one) for one in ("40", "40 ทวิ", "40/1", "40 ตรี", "401", "4/1", "4")}) == 7


def test_a_law_is_its_title_and_its_year():
    assert fold_law("พ.ร.บ. การบัญชี  พ.ศ.๒๕๔๓") == fold_law(ACCOUNTS) == ("พระราชบัญญัติการบัญชี", "2543")
    assert fold_law("ป.พ.พ.") == fold_law(CIVIL) == (CIVIL, "")
    assert fold_law("แห่งประมวล\u200bรัษฎากร") == (REVENUE, "")


def found(text: str, *laws: str) -> list[tuple[str, str]]:
    return [(one.law, one.section) for one in find_citations(text, laws)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("มาตรา 40 แห่งประมวลรัษฎากร", [(REVENUE, "40")]),
        ("ประมวลรัษฎากร มาตรา ๔๐ (๘) วรรคสอง และมาตรา 65 ทวิ", [(REVENUE, "40"), (REVENUE, "65 ทวิ")]),
        ("มาตรา 40, 42 และ 50ทวิแห่งประมวลรัษฎากร", [(REVENUE, "40"), (REVENUE, "42"), (REVENUE, "50 ทวิ")]),
        ("มาตรา 40 มาตรา 42 และมาตรา 50 แห่งประมวลรัษฎากร", [(REVENUE, "40"), (REVENUE, "42"), (REVENUE, "50")]),
        ("มาตรา 40 แห่งประมวลรัษฎากร ประกอบมาตรา 587 แห่ง ป.พ.พ.", [(REVENUE, "40"), (CIVIL, "587")]),
        ("ประมวลรัษฎากร มาตรา 40 ประมวลกฎหมายแพ่งและพาณิชย์ มาตรา 587", [(REVENUE, "40"), (CIVIL, "587")]),
        ("ม.587 ป.พ.พ.", [(CIVIL, "587")]),
        ("ม.40 ป.รัษฎากร ม.587, 588 ป.พ.พ.", [(REVENUE, "40"), (CIVIL, "587"), (CIVIL, "588")]),
        ("ประมวลรัษฎากร มาตรา 40 ในพระราชบัญญัตินี้ มาตรา 42", [(REVENUE, "40"), (REVENUE, "42")]),
        ("มาตรา 40 ถึง 43 แห่งประมวลรัษฎากร", [(REVENUE, one) for one in ("40", "43", "41", "42")]),
        ("มาตรา 1 ถึง 9999 แห่งประมวลรัษฎากร", [(REVENUE, "1"), (REVENUE, "9999")]),
        ("มาตรา 12 และ 3 ปี แห่งประมวลรัษฎากร", [(REVENUE, "12")]),
        ("มาตรา 9 แห่งพระราชบัญญัติการบัญชี พ.ศ. ๒๕๔๓ กำหนดให้", [("พระราชบัญญัติการบัญชี", "9")]),
        ("— พระราชบัญญัติ คาริน มาตรา 5", [("พระราชบัญญัติคาริน", "5")]),
        ("มาตรา 5", [("", "5")]),
        ("มาตรา 5 นั้น ประมวลรัษฎากรกำหนดไว้", [(REVENUE, "5")]),
        ("Under section 5 of the Karin Act and Boro Act, section 7", [("karinact", "5"), ("boroact", "7")]),
        ("§ 433 Abs. 1 BGB, §§ 434, 437 BGB", [("bgb", "433"), ("bgb", "434"), ("bgb", "437")]),
        ("Art. 5 GG", [("gg", "5")]),
        ("ไม่มีกฎหมายใด 40 บาท ประมวลรัษฎากร", []),
        ("", []),
    ],
)
def test_citations_in_text(text: str, expected: list[tuple[str, str]]):
    assert found(text, REVENUE, "Karin Act", "BGB", "GG") == expected


def test_a_longer_name_is_not_taken_for_a_shorter_one_that_it_holds():
    petroleum = "พระราชบัญญัติภาษีเงินได้ปิโตรเลียม พ.ศ. 2514"
    assert found("มาตรา 4 แห่งพระราชบัญญัติภาษีเงินได้ปิโตรเลียม", "พระราชบัญญัติภาษีเงินได้", petroleum) == [
        ("พระราชบัญญัติภาษีเงินได้ปิโตรเลียม", "4")
    ]


def cite(*sections: str) -> str:
    return "มาตรา " + ", ".join(sections) + " แห่งประมวลรัษฎากร"


@pytest.mark.parametrize(
    ("text", "precision", "recall"),
    [
        (f"{cite('40', '65 ทวิ', '77/1')} และมาตรา 587 แห่ง ป.พ.พ.", 1.0, 1.0),
        (cite("๔๐", "๖๕ ทวิ"), 1.0, 2 / 4),
        (cite("40", "65 ทวิ", "77/1", "2", "3"), 3 / 5, 3 / 4),
        (cite("40", "40", "มาตรา 40"), 1.0, 1 / 4),
        (cite("65", "77"), 0.0, 0.0),
        ("มาตรา 40 แห่งประมวลกฎหมายแพ่งและพาณิชย์", 0.0, 0.0),
        ("มาตรา 40", 0.0, 0.0),
        ("ไม่ทราบ", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_precision_recall_and_f1(text: str, precision: float, recall: float):
    config, one = {"kind": "citation_f1"}, answer(text, row=ROW)
    f1 = 2 * precision * recall / (precision + recall) if precision else 0.0
    assert value({**config, "measure": "precision"}, one) == pytest.approx(precision)
    assert value({**config, "measure": "recall"}, one) == pytest.approx(recall)
    assert value(config, one) == pytest.approx(f1)


def test_citing_everything_does_not_pay():
    assert value({"kind": "citation_f1"}, answer(cite(*map(str, range(1, 101))), row=ROW)) == pytest.approx(2 / 104)


@pytest.mark.parametrize(
    ("cited", "expected"),
    [
        ("มาตรา 9 แห่งพระราชบัญญัติการบัญชี", 1.0),
        ("มาตรา 9 แห่งพระราชบัญญัติการบัญชี พ.ศ. 2543", 1.0),
        ("มาตรา 9 แห่งพระราชบัญญัติการบัญชี พ.ศ. 2499", 0.0),
        ("มาตรา 9 แห่งพระราชบัญญัติการบัญชี และมาตรา 9 แห่ง พ.ร.บ. การบัญชี พ.ศ. 2543", 1.0),
    ],
)
def test_the_year_may_be_left_out_but_not_be_wrong(cited: str, expected: float):
    row = {"citations": [{"law": ACCOUNTS, "section": "9"}]}
    assert value({"kind": "citation_f1"}, answer(cited, row=row)) == expected
    without = {"citations": [{"law": "พระราชบัญญัติการบัญชี", "section": "9"}]}
    assert value({"kind": "citation_f1"}, answer(cited, row=without)) == 1.0


def test_citations_as_json():
    config = {"kind": "citation_f1", "written": "json"}
    right = json.dumps({"answer": "x", "citations": ROW["citations"]}, ensure_ascii=False)
    assert value(config, answer(right, row=ROW)) == 1.0
    assert value(config, answer(f"```json\n{right}\n```\n", row=ROW)) == 1.0
    assert value(config, answer(f'{right} or {{"citations": []}}', row=ROW)) == 0.0
    named = '{"citations": [{"law_name": "ป.พ.พ.", "section_num": 587}, {"law": 5}, "x", null]}'
    assert value(config, answer(named, row=ROW)) == pytest.approx(2 * 1 / (1 + 4))
    for text in ("{", '{"citations": 5}', '{"citations": [[]]}', "[" * 50_000, '{"a":' * 50_000, cite("40")):
        assert value(config, answer(text, row=ROW)) == 0.0


def test_only_the_answer_counts_not_the_thinking():
    text = f"<think>{cite('40')}</think>{cite('2')}"
    assert value({"kind": "citation_f1"}, answer(text, row=ROW)) == 0.0


@pytest.mark.parametrize("citations", [None, [], "40", [{"law": REVENUE}], [{"law": "", "section": "4"}], ["40"]])
def test_a_row_without_citations_is_a_fault_and_refused_before_launch(citations: Any):
    row = {"citations": citations}
    assert "`citations`" in fault({"kind": "citation_f1"}, answer(row=row))
    [error] = check_rows(rewards({"kind": "citation_f1"}), [ROW, row], path="rewards", dataset="ask@1")
    assert error.startswith("rewards[0] (citation_f1): 1 of 2 rows of ask@1")


@pytest.mark.parametrize(
    "text",
    [
        "มาตรา 1" + ",1" * 20_000,
        "มาตรา 40 และ " * 5000,
        "พระราชบัญญัติก 5 " * 5000,
        "ประมวลรัษฎากร มาตรา 4 " * 5000,
        "(" * 50_000,
        "Ab " * 20_000,
        "มาตรา 1" + "(1)" * 20_000,
        "มาตรา 1 ถึง 6 " * 2000,
        "มาตรา 1 แห่ง" + " ," * 20_000 + "x มาตรา 2",
    ],
)
def test_no_text_takes_long_to_read(text: str):
    started = time.process_time()
    value({"kind": "citation_f1"}, answer(text, row=ROW))
    assert time.process_time() - started < 2


def test_the_rows_of_a_dataset_are_read_as_they_are_stored():
    both = [{"law": REVENUE, "section": "40"}, {"law_name": REVENUE, "section_num": 40}]
    assert len(set(read_citations(both))) == 1


@pytest.mark.shared_data
def test_the_sections_of_36_thai_laws_are_told_apart_and_found_in_their_own_text(shared_data: Path):
    """Each text begins with its law and section; those that name other laws after that are the harder ones."""
    rows = [
        json.loads(line)
        for file in sorted((shared_data / "thai_law_sections").glob("*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    assert len({(fold_law(row["law_name"]), fold_section(row["section_num"])) for row in rows}) == len(rows) == 5127
    missed = []
    for row in rows[::4]:
        text, named = row["text"][: len(row["law_name"]) + 60], {"law": row["law_name"], "section": row["section_num"]}
        if "มาตรา" in text:
            [right] = read_citations([named])
            if right not in find_citations(text, [row["law_name"]])[:1]:
                missed.append(text)
    assert missed == []
