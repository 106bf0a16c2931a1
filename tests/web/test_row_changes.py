"""Changes to rows: collected, kept, previewed, and made one version that can be replayed to the same hash."""

import io
import json

import pyarrow
import pyarrow.parquet
import pytest
from curated_rows import sections, take
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chanote.accounts.models import Membership, User
from chanote.audit.models import AuditEvent
from chanote.curation.carrying import carry_over
from chanote.curation.changes import (
    apply_changes,
    drop_changes,
    find_change_set,
    find_exact_copies,
    operations_of,
    preview_bulk,
    read_row,
    record_change,
    replay_version,
    undo_change,
)
from chanote.curation.models import State
from chanote.curation.operations import to_ranges
from chanote.curation.selectors import state_of
from chanote.curation.services import CurationRefused
from chanote.datasets.features import FoundRows, NoFeatures, RowWish, find_rows, list_marks, prepare_features
from chanote.datasets.services import import_dataset
from chanote.datasets.storage import open_rows
from chanote.rights.models import Source, SourceSpan


@pytest.fixture(autouse=True)
def _own_home(settings, tmp_path):
    settings.HOME = tmp_path


@pytest.fixture
def version(project, researcher):
    return take(project, sections(8), actor=researcher)


def change(version, person, **operation):
    return record_change(version, operation, actor=person)


def texts(version):
    return [row["text"] for row in open_rows(version)]


def test_changes_become_one_version_with_its_reason_and_operation(version, curator):
    change(version, curator, op="edit", row=1, content={"text": "มาตรา ๑"})
    change(version, curator, op="reject", rows=[[3, 4]], why="empty")
    change(version, curator, op="split", row=5, contents=[{"text": "5a"}, {"text": "5b"}])
    made = apply_changes(find_change_set(version, curator), reason="first look", actor=curator)
    assert texts(made)[:4] == ["มาตรา ๑", sections(2)[1]["text"], "5a", "5b"]
    assert (made.number, made.rows, made.reason, made.parent) == (2, 7, "first look", version)
    assert [one["op"] for one in made.operation["operations"]] == ["edit", "reject", "split"]
    assert list(made.drawn_from.all()) == [version]
    assert replay_version(made) == made.sha256
    assert state_of(made) == State.DRAFT
    assert find_change_set(version, curator) is None
    verbs = list(AuditEvent.objects.order_by("pk").values_list("verb", flat=True))
    assert verbs[-5:] == [
        "rows.changed",
        "rows.changed",
        "rows.changed",
        "dataset.version_made",
        "rows.changes_applied",
    ]


def test_each_person_has_a_draft_of_their_own(version, curator, researcher):
    change(version, curator, op="reject", rows=[[1, 1]])
    assert operations_of(find_change_set(version, researcher)) == []
    with pytest.raises(CurationRefused, match="These are curator's changes"):
        apply_changes(find_change_set(version, curator), reason="mine now", actor=researcher)


def test_a_change_can_be_undone_and_a_draft_dropped(version, curator):
    first = change(version, curator, op="reject", rows=[[1, 2]])
    change(version, curator, op="flag", rows=[[5, 6]], flag="odd")
    undo_change(first, actor=curator)
    assert [one["op"] for one in operations_of(find_change_set(version, curator))] == ["flag"]
    drop_changes(find_change_set(version, curator), actor=curator)
    assert find_change_set(version, curator) is None


def test_changes_to_an_older_version_do_not_undo_a_newer_one(project, version, curator, researcher):
    change(version, curator, op="reject", rows=[[1, 1]])
    take(project, sections(9), actor=researcher)
    with pytest.raises(CurationRefused, match="law@2 was made meanwhile"):
        apply_changes(find_change_set(version, curator), reason="late", actor=curator)
    assert find_change_set(version, curator).changes.count() == 1


def test_changes_are_carried_over_to_the_same_rows_of_a_newer_version(project, version, curator, researcher):
    change(version, curator, op="reject", rows=[[1, 3]])
    change(version, curator, op="edit", row=8, content={"text": "eighth"})
    change(version, curator, op="edit", row=5, content={"text": "gone meanwhile"})
    rows = sections(8)
    newer = take(project, [{"text": "first of all"}, rows[7], rows[2], rows[0], rows[6]], actor=researcher)
    carried = carry_over(find_change_set(version, curator), newer, actor=curator)
    assert (carried.kept, carried.left, carried.lost_rows) == (2, 1, 1)
    assert operations_of(find_change_set(newer, curator)) == [
        {"op": "reject", "rows": [[3, 4]], "why": ""},
        {"op": "edit", "row": 2, "content": {"text": "eighth"}},
    ]
    assert find_change_set(version, curator) is None
    made = apply_changes(find_change_set(newer, curator), reason="carried", actor=curator)
    assert texts(made) == ["first of all", "eighth", rows[6]["text"]]


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        ({"op": "edit", "row": 99, "content": {"text": "x"}}, "has rows 1 to 8"),
        ({"op": "edit", "row": 1, "content": {"text": ""}}, "text is empty"),
        ({"op": "edit", "row": 1, "content": "x"}, "is a JSON object"),
        ({"op": "split", "row": 1, "contents": [{"text": "x"}]}, "at least two"),
        ({"op": "merge", "merged": [2, 2], "content": {"text": "x"}}, "at least two rows"),
        ({"op": "flag", "rows": [[1, 1]], "flag": "two words"}, "one word"),
        ({"op": "flag", "rows": [[2, 1]], "flag": "x"}, "pairs of a first and a last"),
        ({"op": "reject", "rows": []}, "No row is named"),
        ({"op": "bless", "rows": [[1, 1]]}, "is not known"),
    ],
)
def test_a_bad_change_is_refused_with_the_way_out(version, curator, operation, why):
    with pytest.raises(CurationRefused, match=why):
        record_change(version, operation, actor=curator)
    assert operations_of(find_change_set(version, curator)) == []


def test_everything_rejected_makes_no_version(version, curator):
    change(version, curator, op="reject", rows=[[1, 8]])
    with pytest.raises(CurationRefused, match="No row is left"):
        apply_changes(find_change_set(version, curator), reason="all bad", actor=curator)


def test_rows_of_two_sources_are_not_merged(project, version, curator):
    version.spans.all().delete()
    for slug, start in (("gazette", 0), ("clinic", 4)):
        source = Source.objects.create(project=project, slug=slug, title=slug)
        SourceSpan.objects.create(version=version, source=source, start=start, stop=start + 4)
    with pytest.raises(CurationRefused, match="different sources"):
        change(version, curator, op="merge", merged=[4, 5], content={"text": "both"})
    change(version, curator, op="merge", merged=[1, 2], content={"text": "both"})
    made = apply_changes(find_change_set(version, curator), reason="joined", actor=curator)
    assert list(made.spans.values_list("source__slug", "start", "stop")) == [("gazette", 0, 3), ("clinic", 3, 7)]


def test_a_bulk_change_is_shown_before_it_is_done(version, curator):
    change(version, curator, op="reject", rows=[[2, 2]])
    preview = preview_bulk(version, {"op": "flag", "rows": [[1, 8]], "flag": "odd"}, actor=curator)
    assert (preview.rows, preview.skipped) == (7, 1)
    assert [number for number, _, _ in preview.samples] == [1, 4, 5, 6, 8]
    assert preview.samples[0][2][0]["curation"] == {"flags": ["odd"]}
    assert len(operations_of(find_change_set(version, curator))) == 1


def test_exact_copies_go_and_the_first_stays_whatever_is_flagged(project, researcher):
    rows = [{"text": "a"}, {"text": "b"}, {"text": "a", "curation": {"flags": ["odd"]}}, {"text": "b"}, {"text": "c"}]
    version = take(project, rows, actor=researcher)
    found = find_exact_copies(version, [])
    assert found == {"op": "deduplicate", "rows": [[3, 4]], "how": "exact", "clusters": 2}
    change(version, researcher, op="edit", row=5, content={"text": "a"})
    assert find_exact_copies(version, operations_of(find_change_set(version, researcher)))["rows"] == [[3, 5]]


def test_a_row_is_read_as_the_draft_leaves_it(version, curator):
    change(version, curator, op="edit", row=2, content={"text": "new"})
    change(version, curator, op="reject", rows=[[2, 2]])
    before, after = read_row(version, 2, operations_of(find_change_set(version, curator)))
    assert (before["text"], after) == (sections(2)[1]["text"], [])


some_rows = st.sets(st.integers(1, 8), min_size=1, max_size=3)
one_row = st.integers(1, 8)
contents = st.builds(lambda text: {"text": text}, st.text("กขab", min_size=1, max_size=4))
several = st.lists(contents, min_size=2, max_size=3)
operations = st.one_of(
    st.builds(lambda row, content: {"op": "edit", "row": row, "content": content}, one_row, contents),
    st.builds(lambda rows: {"op": "reject", "rows": to_ranges(rows)}, some_rows),
    st.builds(lambda rows: {"op": "flag", "rows": to_ranges(rows), "flag": "odd"}, some_rows),
    st.builds(lambda row, parts: {"op": "split", "row": row, "contents": parts}, one_row, several),
    st.builds(lambda rows, content: {"op": "merge", "merged": sorted(rows), "content": content}, some_rows, contents),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=st.lists(operations, min_size=1, max_size=6))
def test_any_sequence_of_changes_replays_to_the_same_hash(project, sequence):
    """Through the services and the store: what is refused is refused, the rest makes a version that replays."""
    person, _ = User.objects.get_or_create(username="hand")
    Membership.objects.get_or_create(user=person, project=project, role="curator")
    version = take(project, sections(8), slug="any")
    for operation in sequence:
        try:
            record_change(version, operation, actor=person)
        except CurationRefused:
            continue
    change_set = find_change_set(version, person)
    if change_set is None:
        return
    try:
        made = apply_changes(change_set, reason="r", actor=person)
    except CurationRefused:
        drop_changes(change_set, actor=person)
        return
    assert replay_version(made) == made.sha256


rows = st.lists(
    st.fixed_dictionaries(
        {"text": st.text("กขค ab\n\"'é", min_size=1, max_size=12).filter(str.strip)},
        optional={"law_name": st.text("กab", min_size=1, max_size=4), "note": st.text("xyz,", min_size=1, max_size=4)},
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows, seed=st.randoms(use_true_random=False))
def test_the_hash_of_a_version_knows_no_order_of_keys_and_no_format(project, rows, seed):
    plain = take(project, rows, slug="plain").sha256
    shuffled = []
    for row in rows:
        items = list(row.items())
        seed.shuffle(items)
        shuffled.append(dict(items))
    assert take(project, shuffled, slug="shuffled").sha256 == plain
    parquet = io.BytesIO()
    whole = [{name: row[name] for name in ("note", "text", "law_name") if name in row} for row in rows]
    names = sorted({name for row in whole for name in row})
    if all(set(row) == set(names) for row in whole):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(whole), parquet)
        parquet.seek(0)
        version = import_dataset(
            project=project, slug="parquet", kind="text", file=parquet, format="parquet", actor=None
        )
        assert version.sha256 == plain


def test_rows_are_found_by_text_language_flag_label_and_length(project, researcher):
    rows = [
        {"text": "The LAW of Contracts"},
        {"text": "กฎหมายว่าด้วยสัญญา"},
        {"text": "x" * 500, "curation": {"flags": ["long"], "labels": {"quality": "good"}}},
        {"text": "short law", "law_name": "กฎหมายอาญา"},
    ]
    version = take(project, rows, actor=researcher)
    with pytest.raises(NoFeatures):
        find_rows(version, RowWish(text="law"))
    prepare_features(version)

    def find(**wish) -> list[int]:
        found: FoundRows = find_rows(version, RowWish(**wish))
        assert found.looked == 4
        return found.numbers.tolist()

    assert find(text="LAW") == [1, 4]
    assert find(text="กฎหมาย") == [2, 4]
    assert find(text="law of contractsกฎ") == []
    assert find(language="th") == [2]
    assert find(language="other") == [1, 3, 4]
    assert find(flag="long") == find(flag="any") == find(label="quality") == find(label="quality=good") == [3]
    assert find(label="quality=bad") == []
    assert find(shortest=19, longest=400) == [1]
    assert find(text="law", language="other", longest=10) == [4]
    assert list_marks(version) == {"flag:long": 1, "label:quality=good": 1}


def test_many_hits_are_found_as_well_as_few(project, researcher):
    version = take(project, [{"text": f"มาตรา {number % 3}"} for number in range(9_000)], actor=researcher)
    prepare_features(version)
    assert len(find_rows(version, RowWish(text="มาตรา")).numbers) == 9_000
    assert find_rows(version, RowWish(text="มาตรา 2")).numbers[:3].tolist() == [3, 6, 9]


def test_a_broken_table_is_made_again(version):
    path = prepare_features(version)
    path.chmod(0o640)
    path.write_bytes(b"broken")
    with pytest.raises(NoFeatures):
        find_rows(version, RowWish(text="x"))
    prepare_features(version)
    assert find_rows(version, RowWish(text="ข้อ 8")).numbers.tolist() == [8]


def test_the_operation_of_a_version_says_all_that_is_needed(version, curator):
    change(version, curator, op="label", rows=[[1, 8]], name="quality", value="good")
    made = apply_changes(find_change_set(version, curator), reason="labelled", actor=curator)
    assert json.loads(json.dumps(made.operation))["operations"] == made.operation["operations"]
    assert made.operation["version"] == "law@1"
