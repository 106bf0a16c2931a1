"""Every folder of the public data, imported with the counts and the rights that its source states."""

import pytest

from chanote.datasets.errors import ImportRefused
from chanote.datasets.shared import LOADERS, load_shared_data
from chanote.datasets.shared.german_law import cut_sections
from chanote.datasets.shared.thai_instruct_human import parse_options
from chanote.datasets.storage import check_content, open_rows

ROWS = {
    "thai-law-sections": 5127,
    "german-law": 2643,
    "nitibench-tax": 50,
    "thai-exam": 952,
    "thai-exam-without-xnli": 752,
    "gsm8k-train": 7473,
    "gsm8k-test": 1319,
    "mgsm-th": 250,
    "mgsm-en": 250,
    "iapp-wiki-qa-th-train": 800,
    "iapp-wiki-qa-th-valid": 300,
    "iapp-wiki-qa-th-test": 739,
    "thai-instruct-human": 419 + 673 + 114 + 498 + 703,
    "thai-instruct-choices": 491,
    "oasst1-th": 166,
    "oasst1-th-model-answers": 166,
    "ifeval": 541,
    "xsid-bavarian-test": 500,
    "xsid-bavarian-valid": 300,
    "xsid-german-test": 500,
}


@pytest.mark.shared_data
def test_every_folder_is_imported_whole(project, researcher, shared_data):
    versions = {version.dataset.slug: version for version in load_shared_data(project, researcher, shared_data)}
    assert {slug: version.rows for slug, version in versions.items()} == ROWS
    for version in versions.values():
        check_content(version)
        assert version.source.startswith("https://github.com/"), "names where it comes from"

    assert versions["thai-law-sections"].statistics["laws"] == 36
    assert versions["thai-law-sections"].statistics["scripts"]["Thai"] > 0.99
    law = next(open_rows(versions["thai-law-sections"]))
    assert (law["law_name"], law["section_num"]) == ("ประมวลกฎหมายแพ่งและพาณิชย์", "1")

    tax = versions["nitibench-tax"]
    assert (tax.uses, tax.licence, tax.evaluation_only) == (["evaluate"], "LicenseRef-unknown", True)
    assert next(open_rows(tax, 1))["citations"][1] == {"law": "ประมวลรัษฎากร", "section": "91/2"}

    exam = list(open_rows(versions["thai-exam"]))
    assert sum(row["non_commercial"] for row in exam) == 200
    assert {row["subject"] for row in exam if row["non_commercial"]} == {"xnli2.0_th_200"}
    assert (versions["thai-exam"].non_commercial, versions["thai-exam-without-xnli"].non_commercial) == (True, False)

    problem = next(open_rows(versions["gsm8k-test"]))
    assert problem["answer"] == "18"
    assert problem["solution"].endswith("every day at the farmer’s market.")
    assert all(row["answer"].lstrip("-").isdigit() for row in open_rows(versions["gsm8k-test"]))
    assert versions["gsm8k-test"].evaluation_only, "the test split trains nothing"
    assert [row["answer"] for row in open_rows(versions["mgsm-th"])] == [
        row["answer"] for row in open_rows(versions["mgsm-en"])
    ]

    assert versions["oasst1-th-model-answers"].evaluation_only, "outputs of OpenAI train nothing"
    assert "gpt35turbo" not in next(open_rows(versions["oasst1-th"]))
    assert versions["ifeval"].evaluation_only

    spans = [(span.source.slug, span.start, span.stop) for span in versions["thai-exam"].spans.select_related("source")]
    assert ("xnli", 425, 625) in spans, "the rows that are not for commerce, and no others"
    assert {slug for slug, _, _ in spans} == {"openthaigpt-exams", "onet-exams", "belebele", "xcopa", "xnli"}
    assert {span.source.owner for span in versions["german-law"].spans.all()} == {"Federal Republic of Germany"}
    said = list(open_rows(versions["xsid-bavarian-test"]))[2]
    assert (said["answer"], said["sentence"]) == ("reminder/set_reminder", 3)
    assert said["slots"] == [{"slot": "datetime", "text": "heid um viere nammidog"}]

    again = load_shared_data(project, researcher, shared_data)
    assert all(version.unchanged and version.number == 1 for version in again)


def test_an_unknown_folder_is_refused(project, researcher, tmp_path):
    with pytest.raises(ImportRefused, match="none of the known folders: thai_law_sections"):
        load_shared_data(project, researcher, tmp_path)


def test_every_loader_stands_for_one_folder():
    assert len({load.__module__ for load in LOADERS.values()}) == len(LOADERS)
    assert all(load.__module__.endswith(f".{folder}") for folder, load in LOADERS.items())


def test_german_sections_are_cut_at_their_headings_and_repealed_ones_left_out():
    markdown = (
        "---\nTitle: x\n---\n# Gesetz (G)\n\nKopf\n## Abschnitt 1\n### § 1 Name\n\n(1) Eins.\n\n"
        "### § 2 (weggefallen)\n\n### Art 12a\nZwölf a.\n"
    )
    assert list(cut_sections(markdown)) == [
        {"text": "Gesetz (G) § 1 Name\n(1) Eins.", "law_name": "Gesetz (G)", "section_num": "1", "language": "de"},
        {"text": "Gesetz (G) Art 12a\nZwölf a.", "law_name": "Gesetz (G)", "section_num": "12a", "language": "de"},
    ]


@pytest.mark.parametrize(
    ("options", "answer", "parsed"),
    [
        ("a. หนึ่ง\nb. สอง", "คำตอบคือ b.  เพราะ", (["หนึ่ง", "สอง"], 1)),
        ("ก. หนึ่ง\nข. สอง\nค. สาม", "ข้อที่ถูกต้องคือ ค.  เนื่องจาก", (["หนึ่ง", "สอง", "สาม"], 2)),
        ("1. one\n2. two", "คำตอบคือ 1.  เพราะ", (["one", "two"], 0)),
        ("a. one\nc. two", "คำตอบคือ a.", None),
        ("a. one\nb. two", "ไม่มีข้อใดถูก", None),
        ("a. one\nb. two", "คำตอบคือ d.", None),
    ],
)
def test_options_are_read_only_where_they_are_lettered_clearly(options, answer, parsed):
    assert parse_options(options, answer) == parsed
