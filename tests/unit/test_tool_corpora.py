"""A dataset version as the tool service's corpus file: by section, the same bytes always, refused with the row."""

import hashlib
import io
import json

import pytest

from chanote.datasets.services import import_dataset
from chanote.tools.corpora import CorpusRefused, measure_corpus, write_corpus
from toolsandbox.law.corpus import read_corpus

pytestmark = pytest.mark.django_db

ROWS = [
    {"law_name": "Tax  Code", "section_num": "1", "text": "Who earns pays.", "language": "en"},
    {"law_name": "ประมวลรัษฎากร", "section_num": "65 ทวิ", "text": "การคำนวณกำไรสุทธิ"},
    {"law_name": "Tax Code", "section_num": 1, "text": "ผู้มีรายได้ต้องเสียภาษี"},
    {"law_name": "Tax Code", "section_num": "1", "text": "Who earns pays."},
]


@pytest.fixture
def take(project, researcher):
    def take(rows, slug="laws", kind="text"):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        return import_dataset(
            project=project, slug=slug, kind=kind, file=io.BytesIO(lines), format="jsonl", actor=researcher
        )

    return take


def test_rows_of_one_section_become_one_section_with_each_text_once(take, tmp_path):
    path = write_corpus(take(ROWS), tmp_path / "out" / "laws.jsonl")
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == [
        {"law_name": "Tax Code", "section_num": "1", "text": "Who earns pays.\nผู้มีรายได้ต้องเสียภาษี"},
        {"law_name": "ประมวลรัษฎากร", "section_num": "65 ทวิ", "text": "การคำนวณกำไรสุทธิ"},
    ]


def test_the_hash_is_that_of_the_file_and_the_service_reads_it(take, tmp_path):
    version = take(ROWS)
    path = write_corpus(version)
    facts = measure_corpus(version)
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    assert (facts.sections, facts.laws, facts.bytes) == (2, 2, path.stat().st_size)
    assert [one.section_num for one in read_corpus(path)] == ["1", "65 ทวิ"]
    assert write_corpus(version) == path


@pytest.mark.parametrize(
    ("row", "missing"),
    [({"text": "No law."}, "law_name"), ({"text": "No section.", "law_name": "Tax Code"}, "section_num")],
)
def test_a_row_without_its_place_is_named(take, row, missing):
    with pytest.raises(CorpusRefused, match=f"row 2 of laws@1 has no {missing}"):
        measure_corpus(take([ROWS[0], row]))


def test_other_kinds_are_no_corpus(take):
    version = take([{"question": "?", "answer": "!"}], slug="asked", kind="prompts")
    with pytest.raises(CorpusRefused, match="asked@1 holds prompts rows; a corpus is a text dataset"):
        measure_corpus(version)


def test_nothing_half_is_left_when_a_corpus_is_refused(take, tmp_path):
    with pytest.raises(CorpusRefused):
        write_corpus(take([ROWS[0], {"text": "No law."}]), tmp_path / "laws.jsonl")
    assert list(tmp_path.iterdir()) == []
