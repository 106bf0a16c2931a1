"""Section numbers and spellings: what counts as the same, and which comes first."""

import pytest

from toolsandbox.law.sections import read_section, sort_sections
from toolsandbox.law.writing import normalise


@pytest.mark.parametrize(
    "written",
    ["65 ทวิ", "65ทวิ", "๖๕ ทวิ", "มาตรา 65 ทวิ", " มาตรา  ๖๕ทวิ ", "65 ทวิ (2)", "65\u00a0ทวิ", "ม. 65 ทวิ วรรคสอง"],
)
def test_one_section_in_many_spellings(written):
    assert read_section(written) == (65, 2, "", ())


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("12/1", (12, 1, "", (1,))),
        ("65 อัฏฐ/1", (65, 8, "", (1,))),
        ("65 ทวาทศ", (65, 12, "", ())),
        ("65 ทวาวีสติ", (65, 22, "", ())),
        ("§ 312a Abs. 2", (312, 1, "a", ())),
        ("Art. 1", (1, 1, "", ())),
        ("77/1 (5)", (77, 1, "", (1,))),
    ],
)
def test_parts_of_a_number(written, key):
    assert read_section(written) == key


@pytest.mark.parametrize("written", ["", "มาตรา", "abc", "65 วีสติสหัส", "-1", "6.5", "1" * 40, "Präambel", "65 66"])
def test_what_is_no_section(written):
    assert read_section(written) is None


def test_sections_sort_as_numbers_and_the_unnumbered_stay_at_their_end():
    written = ["Präambel", "10", "2", "65/2", "65 ตรี", "65", "65 ทวิ", "65a", "บัญชี 1"]
    ordered = [written[place] for place in sort_sections(written)]
    assert ordered == ["Präambel", "2", "10", "65", "65/2", "65a", "65 ทวิ", "65 ตรี", "บัญชี 1"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("น้ำ", "น\u0e4d\u0e49\u0e32"),
        ("น้ำ", "น\u0e49\u0e4d\u0e32"),
        ("แม่", "เเม่"),
        ("กิ่ง", "ก\u0e48\u0e34ง"),
        ("มาตรา 12", "มาตรา\u200b\n\t๑๒ "),
        ("GESETZ", "gesetz"),
        ("für", "fu\u0308r"),
    ],
)
def test_one_text_in_two_encodings(one, other):
    assert one != other
    assert normalise(one) == normalise(other)


def test_a_hostile_number_ends_at_once():
    assert read_section("มาตรา " + "1/" * 50_000) is None
    assert read_section("65 " + "ทวิ" * 20_000) is None
