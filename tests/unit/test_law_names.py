"""Which law a name means, and which sections a text cites."""

import pytest

from toolsandbox.law.citations import find_citations
from toolsandbox.law.language import open_language
from toolsandbox.law.names import LawNames

THAI = [
    "ประมวลรัษฎากร",
    "พระราชบัญญัติการบัญชี พ.ศ. 2543",
    "พระราชบัญญัติวิชาชีพบัญชี พ.ศ. 2547",
    "พระราชบัญญัติหอการค้า พ.ศ. 2509",
    "พระราชบัญญัติหอการค้า พ.ศ. 2560",
    "ประมวลกฎหมายแพ่งและพาณิชย์",
]
GERMAN = ["Bürgerliches Gesetzbuch (BGB)", "Grundgesetz für die Bundesrepublik Deutschland (GG)"]


@pytest.fixture(scope="module")
def thai():
    return LawNames(THAI, open_language("th"))


@pytest.fixture(scope="module")
def german():
    return LawNames(GERMAN, open_language("de"))


@pytest.mark.parametrize(
    ("written", "law"),
    [
        ("ประมวลรัษฎากร", 0),
        (" ประมวล รัษฎากร\n", 0),
        ("รัษฎากร", 0),
        ("ตามประมวลรัษฎากรนี้", 0),
        ("พระราชบัญญัติการบัญชี", 1),
        ("พระราชบัญญัติการบัญชี พ.ศ.๒๕๔๓", 1),
        ("พ.ร.บ. การบัญชี พ.ศ. 2543", 1),
        ("พรบ.การบัญชี", 1),
        ("พระราชบัญญัติหอการค้า พ.ศ. 2560", 4),
        ("ป.พ.พ.", 5),
    ],
)
def test_a_name_that_is_one_law(thai, written, law):
    assert thai.find(written).law == law


def test_two_versions_of_a_law_are_ambiguous_without_the_year(thai):
    answer = thai.find("พระราชบัญญัติหอการค้า")
    assert answer.law is None
    assert answer.ambiguous
    assert answer.candidates == (3, 4)


def test_a_part_that_several_names_have_is_ambiguous(thai):
    answer = thai.find("บัญชี")
    assert answer.ambiguous
    assert answer.candidates == (1, 2)


def test_a_year_that_the_law_does_not_have_is_another_law(thai):
    answer = thai.find("พระราชบัญญัติการบัญชี พ.ศ. 2599")
    assert answer.law is None
    assert not answer.ambiguous
    assert answer.candidates[0] == 1


@pytest.mark.parametrize("written", ["ก", "พ", "กฎหมายดวงจันทร์", "?", "\u200b", "2543"])
def test_a_name_that_is_no_law_matches_none(thai, written):
    assert thai.find(written).law is None


def test_a_misspelt_name_is_not_guessed_but_shown(thai):
    answer = thai.find("ประมวลกฏหมายแพ่งและพานิช")
    assert answer.law is None
    assert answer.candidates == (5,)


@pytest.mark.parametrize(
    ("written", "law"), [("BGB", 0), ("gg", 1), ("Grundgesetz", 1), ("bürgerliches GESETZBUCH", 0)]
)
def test_german_abbreviations(german, written, law):
    assert german.find(written).law == law


def test_citations_take_the_law_named_after_them(thai):
    text = "ตามมาตรา ๘๒/๓ และมาตรา 82/4 แห่งประมวลรัษฎากร และมาตรา 8 แห่งพระราชบัญญัติการบัญชี พ.ศ. 2543"
    assert find_citations(text, thai) == [
        (0, (82, 1, "", (3,))),
        (0, (82, 1, "", (4,))),
        (1, (8, 1, "", ())),
    ]


def test_a_number_without_any_law_is_no_citation(thai):
    assert find_citations("ตามมาตรา 65 บริษัทต้องเสียภาษีร้อยละ 20", thai) == []


def test_german_citations(german):
    assert find_citations("Nach §§ 433, 434 BGB und Art. 1 GG", german) == [
        (0, (433, 1, "", ())),
        (0, (434, 1, "", ())),
        (1, (1, 1, "", ())),
    ]


def test_an_abbreviation_inside_a_word_names_no_law(german):
    assert find_citations("§ 1 des Waggons", german) == []
