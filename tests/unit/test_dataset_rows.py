"""Rows of a version: read from the middle, searched, counted, and found again by the name recipes use."""

import io

import pytest

from chanote.datasets.histogram import draw_histogram, merge_bins, round_up
from chanote.datasets.models import DatasetVersion
from chanote.datasets.pages import list_shares
from chanote.datasets.row_views import find_language, view_row
from chanote.datasets.selectors import find_version, read_page, runs_using, search_rows
from chanote.datasets.services import import_dataset
from chanote.datasets.statistics import bounds_of, count_scripts, find_bin
from chanote.datasets.storage import StoreError, check_content, find_offset, name_of, open_rows, version_path


@pytest.fixture
def hundred(project):
    """Rows `row 1` to `row 120`; every tenth holds TAX in capitals."""
    lines = [f'{{"text": "row {n}{" TAX ก" if n % 10 == 0 else ""}", "id": {n}}}' for n in range(1, 121)]
    file = io.BytesIO("\n".join(lines).encode())
    return import_dataset(project=project, slug="rows", kind="text", file=file, format="jsonl", actor=None)


def test_rows_are_read_from_the_middle(hundred):
    assert [row["id"] for row in open_rows(hundred, 57, 60)] == [58, 59, 60]
    assert [row["id"] for row in open_rows(hundred, 118, 999)] == [119, 120]
    assert list(open_rows(hundred, 120)) == []
    # {"id":1,"text":"row 1"} and its line feed are 24 bytes, each of the rows 2 to 9 as many.
    assert [find_offset(hundred, row) for row in (0, 1, 9)] == [0, 24, 9 * 24]


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_lost_index_is_made_anew(hundred, damage):
    index = version_path(hundred).with_name(f"{hundred.sha256}.index")
    content = index.read_bytes()
    assert len(content) == 121 * 8
    index.unlink()
    if damage == "short":
        index.write_bytes(content[:80])
    assert next(open_rows(hundred, 100))["id"] == 101
    assert index.read_bytes() == content


def test_lost_or_changed_rows_are_told(hundred):
    path = version_path(hundred)
    path.chmod(0o640)
    path.write_bytes(path.read_bytes().replace(b"row 7", b"row 8"))
    with pytest.raises(StoreError, match="are not the ones that were imported"):
        check_content(hundred)
    path.unlink()
    with pytest.raises(StoreError, match=rf"restore {name_of(hundred.sha256)} from a backup"):
        read_page(hundred)


def test_pages_hold_fifty_rows(hundred):
    page = read_page(hundred, start=100)
    assert [number for number, _ in page.rows] == list(range(101, 121))
    assert (page.previous_start, page.next_start, page.looked) == (50, None, 120)
    assert read_page(hundred, start=10**9).start == 119, "beyond the end is the last row"


def test_a_search_looks_at_values_whatever_the_case(hundred):
    page = search_rows(hundred, "tax ก")
    assert [number for number, _ in page.rows] == list(range(10, 121, 10))
    assert (page.looked, page.next_start, page.timed_out) == (120, None, False)
    assert search_rows(hundred, "text").rows == [], "names of fields are no content"
    assert [number for number, _ in search_rows(hundred, "77").rows] == [77]
    first = search_rows(hundred, "tax", size=5)
    assert (first.rows[-1][0], first.next_start) == (50, 50)
    assert search_rows(hundred, "tax", start=50, size=5).rows[0][0] == 60


def test_a_search_that_takes_too_long_says_how_far_it_looked(project):
    file = io.BytesIO(b'{"text": "nothing here"}\n' * 600)
    version = import_dataset(project=project, slug="long", kind="text", file=file, format="jsonl", actor=None)
    page = search_rows(version, "absent", seconds=0)
    assert (page.timed_out, page.looked, page.next_start, page.rows) == (True, 256, 256, [])
    assert search_rows(version, "absent", start=512, seconds=0).next_start is None


def test_a_version_is_found_by_the_name_that_recipes_use(hundred, project):
    file = io.BytesIO(b'{"text": "other"}')
    newest = import_dataset(project=project, slug="rows", kind="text", file=file, format="jsonl", actor=None)
    assert find_version(project, "rows") == newest
    assert find_version(project, "rows@1") == hundred
    for reference, message in [
        ("rows@3", "rows@3 has no such version"),
        ("none", "none is no dataset of this project"),
        ("rows@x", "write rows@ and its number"),
    ]:
        with pytest.raises(DatasetVersion.DoesNotExist, match=message):
            find_version(project, reference)


def test_runs_are_found_by_the_hash_that_they_froze(hundred, project, researcher):
    from chanote.recipes.models import Recipe, Revision
    from chanote.runs.models import Run

    recipe = Recipe.objects.create(project=project, slug="r", title="r")
    revision = Revision.objects.create(recipe=recipe, number=1, yaml="", resolved={})
    snapshots = [{"datasets": {"rows": {"sha256": hundred.sha256}}}, {"datasets": {}}]
    runs = [
        Run.objects.create(project=project, number=n, name=str(n), revision=revision, snapshot=snapshot)
        for n, snapshot in enumerate(snapshots, start=1)
    ]
    assert list(runs_using(hundred)) == runs[:1]


def test_statistics_are_those_of_the_rows(project):
    rows = '{"text": "abc ก", "language": "th", "law_name": "L"}\n{"text": "' + "ข" * 99 + '", "law_name": "L"}\n'
    version = import_dataset(
        project=project, slug="s", kind="text", file=io.BytesIO(rows.encode()), format="jsonl", actor=None
    )
    statistics = version.statistics
    assert (statistics["rows"], statistics["characters"], statistics["laws"]) == (2, 104, 1)
    assert statistics["languages"] == {"th": 1}
    assert statistics["scripts"] == {"Thai": 100 / 103, "Latin": 3 / 103}
    assert (statistics["length"]["lowest"], statistics["length"]["highest"], statistics["length"]["mean"]) == (
        5,
        99,
        52,
    )
    assert [count for _, _, count in statistics["length"]["bins"]] == [1, 1]


def test_letters_are_counted_by_script_and_nothing_else_is():
    counts = count_scripts("Aé ก๑ ж 漢 ひ 한 «12» … € Ա")
    found = {name: count for name, count in counts.items() if count}
    assert found == {"Latin": 2, "Thai": 2, "Cyrillic": 1, "Han": 1, "Kana": 1, "Hangul": 1, "Other": 1}


def test_every_length_falls_into_the_bin_whose_bounds_hold_it():
    for length in [*range(2000), 2**20 - 1, 2**20, 2**20 + 1]:
        low, high = bounds_of(find_bin(length))
        assert low <= length < high
    assert [bounds_of(number) for number in (0, 1, 5, 9)] == [(0, 1), (1, 2), (2, 3), (4, 5)]


def test_a_histogram_is_as_high_as_its_rows():
    length = {"bins": [[4, 5, 10], [8, 10, 5]], "lowest": 4, "highest": 9, "median": 4, "p95": 9}
    picture = draw_histogram(length)
    assert [bar.title for bar in picture.bars] == ["10 rows of 4 characters", "5 rows of 8 to 9 characters"]
    assert picture.bars[0].height == 2 * picture.bars[1].height == 58
    assert picture.bars[0].x == 38, "the shortest rows stand at the left"
    assert picture.bars[-1].x + picture.bars[-1].width == pytest.approx(315, abs=0.2), "the longest at the right"
    assert draw_histogram({"bins": [[4, 5, 1]]}) is None, "one bar would say nothing"


def test_bins_are_merged_without_losing_rows():
    bins = [(*bounds_of(number), 1) for number in range(1, 81)]
    merged = merge_bins(bins)
    assert len(merged) <= 24
    # Of the narrow bins below 8 some are empty: 1.19 to 1.41 holds no whole number.
    assert sum(count for _, _, count in merged) == sum(1 for low, high, _ in bins if high > low)


@pytest.mark.parametrize(("value", "top"), [(1, 1), (3, 4), (5, 6), (11, 20), (61, 80), (1000, 1000)])
def test_axes_end_in_round_numbers(value, top):
    assert round_up(value) == top


def test_rare_scripts_are_told_together_and_never_as_none():
    scripts = {"Thai": 0.9, "Latin": 0.0998, "Han": 0.0001, "Greek": 0.00005, "Lao": 0.00003, "Kana": 0.00002}
    shares = list_shares({"scripts": scripts})
    assert [(share.name, share.percent) for share in shares] == [
        ("Thai", "90.0 %"),
        ("Latin", "10.0 %"),
        ("Han", "under 0.1 %"),
        ("Greek", "under 0.1 %"),
        ("others", "under 0.1 %"),
    ]


def test_passages_tell_their_language_and_long_ones_unfold():
    row = {"question": "ก" * 2000, "choices": ["yes", "ใช่"], "answer": 1, "year": 2020}
    view = view_row("choices", 3, row, query="ใช่")
    assert (view.passages[0].language, len(view.passages[0].rest[0][0])) == ("th", 800)
    assert [(option.letter, option.right, option.passage.language) for option in view.options] == [
        ("A", False, ""),
        ("B", True, "th"),
    ]
    assert view.options[1].passage.pieces == [("ใช่", True)]
    assert view.facts == [("year", "2020", "")]
    assert find_language("Was ist das?", "de") == "de"
    assert find_language("", 'x" onload="') == "", "a tag from a row is checked"


def test_rows_in_another_store_are_fetched_once_and_checked(project, settings, tmp_path):
    from django.core.files.base import ContentFile
    from django.core.files.storage import storages

    settings.HOME = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "artifacts": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    }
    file = io.BytesIO(b'{"text": "one"}\n{"text": "two"}')
    version = import_dataset(project=project, slug="far", kind="text", file=file, format="jsonl", actor=None)
    assert [row["text"] for row in open_rows(version, 1)] == ["two"]
    copy = version_path(version)
    assert copy.is_relative_to(tmp_path / "cache")
    copy.unlink()
    storages["artifacts"].delete(name_of(version.sha256))
    storages["artifacts"].save(name_of(version.sha256), ContentFile(b'{"text":"evil"}\n'))
    with pytest.raises(StoreError, match="has other content than its name says"):
        version_path(version)
    assert not copy.exists()
