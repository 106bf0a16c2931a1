"""Copies of rows: found when they are alike enough, and only then, measured against the exact similarity."""

import random
from itertools import combinations

import numpy
import pytest
from checked_rows import check, take

from chanote.checks.folding import fold_for_comparing
from chanote.checks.minhash import BANDS, ROWS, SHINGLE, sign_rows, similarity
from chanote.checks.selectors import findings_of_rows, rows_found

pytestmark = pytest.mark.django_db
WORDS = [
    "บริษัท",
    "ภาษี",
    "เงินได้",
    "ผู้เสียหาย",
    "สัญญา",
    "ที่ดิน",
    "ผู้เช่า",
    "ศาล",
    "คำสั่ง",
    "หนี้",
    "มรดก",
    "ทรัพย์สิน",
    "ผู้จัดการ",
    "ค่าเสียหาย",
    "กฎหมาย",
    "มาตรา",
    "วรรค",
    "ข้อบังคับ",
    "เจ้าหนี้",
    "ลูกหนี้",
    "Vertrag",
    "Gesetz",
    "Recht",
    "Schaden",
    "Kläger",
    "Urteil",
    "Frist",
    "Anspruch",
    "Eigentum",
    "Gericht",
    "court",
    "claim",
    "damage",
    "party",
    "notice",
    "tenant",
    "property",
    "lawyer",
    "ruling",
    "appeal",
    "statute",
    "debt",
]


@pytest.fixture(autouse=True)
def _own_home(settings, tmp_path):
    settings.HOME = tmp_path


def shingles(text):
    letters = fold_for_comparing(text).tolist()
    return {tuple(letters[place : place + SHINGLE]) for place in range(len(letters) - SHINGLE + 1)}


def jaccard(one, other):
    first, second = shingles(one), shingles(other)
    return len(first & second) / len(first | second)


def write(draw, words=120):
    return " ".join(draw.choice(WORDS) + draw.choice(("", "", str(draw.randrange(100)))) for _ in range(words))


def alter(text, draw, share):
    return " ".join(draw.choice(WORDS) if draw.random() < share else word for word in text.split())


def plant_copies(seed, originals=60):
    """Rows, and of each the original that it was made of."""
    draw = random.Random(seed)
    rows, made_of = [], []
    for number in range(originals):
        text = write(draw)
        for copy in (
            text,
            text.replace(" ", "  ") if number % 3 == 0 else None,
            *(alter(text, draw, share) for share in (0.01, 0.04, 0.3, 0.7)),
        ):
            if copy is not None:
                rows.append(copy)
                made_of.append(number)
    order = draw.sample(range(len(rows)), len(rows))
    return [rows[place] for place in order], [made_of[place] for place in order]


def test_signatures_estimate_the_similarity():
    draw = random.Random(3)
    errors = []
    for _ in range(60):
        text = write(draw)
        other = alter(text, draw, draw.random() * 0.5)
        signed = sign_rows([fold_for_comparing(one) for one in (text, other)])
        errors.append(similarity(signed[0], signed[1]) - jaccard(text, other))
    # 120 places: the standard error is at most 0.046.
    assert abs(numpy.mean(errors)) < 0.02
    assert numpy.std(errors) < 0.06


def test_a_signature_does_not_depend_on_the_rows_beside_it_or_on_pieces(monkeypatch):
    draw = random.Random(4)
    rows = [fold_for_comparing(write(draw)) for _ in range(5)]
    together = sign_rows(rows)
    assert all((sign_rows([row])[0] == together[place]).all() for place, row in enumerate(rows))
    monkeypatch.setattr("chanote.checks.grams.PIECE", 100)
    assert (sign_rows(rows) == together).all()


def test_two_alike_by_four_fifths_meet_in_some_band():
    assert 1 - (1 - 0.8**ROWS) ** BANDS > 0.99


def test_planted_copies_are_found_and_little_else(project, tmp_path):
    """The figures of docs/checks.md: clusters held against the exact similarity of all pairs."""
    rows, made_of = plant_copies(seed=11)
    version = take(project, "copies", [{"text": row} for row in rows])
    result = check(version, "duplicates", tmp_path)
    told = findings_of_rows(version, 1, len(rows), facts=True)
    cluster = {row - 1: next(iter(found)).value - 1 for row, found in told.items()}
    together = lambda one, other: cluster.get(one, one) == cluster.get(other, other)  # noqa: E731
    pairs = {
        (one, other): jaccard(rows[one], rows[other])
        for one, other in combinations(range(len(rows)), 2)
        if made_of[one] == made_of[other]
    }
    clear = [pair for pair, alike in pairs.items() if alike >= 0.85]
    assert len(clear) > 100
    assert sum(together(*pair) for pair in clear) / len(clear) >= 0.98
    found = [pair for pair in combinations(range(len(rows)), 2) if together(*pair)]
    # No two originals are in one cluster, and what was altered beyond likeness is in none.
    assert all(pair in pairs for pair in found)
    assert sum(pairs[pair] >= 0.7 for pair in found) / len(found) >= 0.99
    assert result.counts["clusters"] == len(set(cluster.values()))


def test_exact_copies_are_told_apart_from_near_ones(project, tmp_path):
    draw = random.Random(5)
    text, other = write(draw), write(draw)
    rows = [text, other, f"  {text}\n", alter(text, draw, 0.02), "ใช่", "ไม่", "27", "28", "ใช่"]
    version = take(project, "some", [{"text": row} for row in rows])
    result = check(version, "duplicates", tmp_path)
    assert (result.counts["exact"], result.counts["near"], result.counts["kept"]) == (2, 1, 6)
    told = {row: [(one.code, one.value) for one in found] for row, found in findings_of_rows(version, 1, 9).items()}
    assert told == {3: [("exact", 1)], 4: [("near", 1)], 9: [("exact", 5)]}
    assert rows_found(result, ("repeated",))[0] == [1, 5]
    assert rows_found(result, limit=2) == ([3, 4], 8)
    assert rows_found(result, start=8) == ([9], None)


def test_spellings_that_look_alike_are_copies(project, tmp_path):
    plain = "น้ำท่วมบ้านเช่าแล้วผู้เช่าแจ้งผู้ให้เช่าภายใน ๗ วัน ตามมาตรา ๕๔๙ แห่งประมวลกฎหมายแพ่งและพาณิชย์"
    odd = (
        plain.replace("ำ", "\u0e4d\u0e32")
        .replace("แ", "เเ")
        .replace("๗", "7")
        .replace("บ้าน", "บ้า\u200bน")
        .replace(" ", "")
    )
    assert fold_for_comparing(plain).tolist() == fold_for_comparing(odd).tolist()
    version = take(project, "odd", [{"text": plain}, {"text": odd}])
    assert check(version, "duplicates", tmp_path).counts["near"] == 1


def test_many_copies_of_one_row_cost_no_more_than_other_rows(project, tmp_path):
    version = take(project, "same", [{"text": f"{'x' * 60} {number % 3}"} for number in range(3000)])
    result = check(version, "duplicates", tmp_path, processes=1)
    assert result.counts["exact"] == 2997
