"""What an import takes, what it refuses and with which words; nothing is ever half imported."""

import hashlib
import io
import json

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404

from chanote.audit.models import AuditEvent
from chanote.datasets.errors import ImportRefused
from chanote.datasets.models import Dataset, DatasetVersion, ImmutableError
from chanote.datasets.services import describe_dataset, import_dataset
from chanote.datasets.storage import incoming, open_rows, version_path


@pytest.fixture
def take(project, researcher):
    """Import bytes as a dataset named `set`."""

    def take(content, kind="text", format="jsonl", **given):
        content = content if isinstance(content, bytes) else content.encode()
        given = {"slug": "set", "actor": researcher, **given}
        return import_dataset(project=project, kind=kind, file=io.BytesIO(content), format=format, **given)

    return take


def refusal_of(take, *args, **given) -> ImportRefused:
    with pytest.raises(ImportRefused) as caught:
        take(*args, **given)
    assert not DatasetVersion.objects.exists(), "nothing is half imported"
    assert not Dataset.objects.exists()
    assert list(incoming().glob("*")) == [], "no temporary file stays"
    return caught.value


def test_rows_are_stored_canonically_under_the_hash_of_their_bytes(take):
    version = take('\ufeff{"text": "ก\\u0e02", "b": 1, "law_name": "L"}\r\n\n{"text":"two"}')
    content = '{"b":1,"law_name":"L","text":"กข"}\n{"text":"two"}\n'.encode()
    assert version_path(version).read_bytes() == content
    assert (version.rows, version.bytes, version.number) == (2, len(content), 1)
    assert version.sha256 == hashlib.sha256(content).hexdigest()
    assert version_path(version).name == version.sha256


@pytest.mark.parametrize(
    ("kind", "line", "stored"),
    [
        (
            "chat",
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "id": 7},
            None,
        ),
        (
            "chat",
            {"instruction": "do", "input": "this", "output": "done", "topic": "x"},
            {
                "messages": [{"role": "user", "content": "do\n\nthis"}, {"role": "assistant", "content": "done"}],
                "topic": "x",
            },
        ),
        (
            "chat",
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            {
                "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
            },
        ),
        ("text", {"text": "t", "law": "L", "section": 12}, {"text": "t", "law_name": "L", "section_num": "12"}),
        ("prompts", {"prompt": "q", "answer": 18}, {"question": "q", "answer": "18"}),
        (
            "prompts",
            {"question": "q", "citations": [{"law": "L", "section": "40 ทวิ"}], "answer": None},
            {
                "question": "q",
                "citations": [{"law": "L", "section": "40 ทวิ"}],
            },
        ),
        (
            "choices",
            {"question": "q", "options": ["a", "b"], "answer": "B"},
            {
                "question": "q",
                "choices": ["a", "b"],
                "answer": 1,
            },
        ),
        (
            "choices",
            {"question": "q", "choices": ["10", "1"], "answer": "1"},
            {
                "question": "q",
                "choices": ["10", "1"],
                "answer": 1,
            },
        ),
    ],
)
def test_each_kind_is_read_from_the_names_files_use(take, kind, line, stored):
    version = take(json.dumps(line), kind=kind)
    assert list(open_rows(version)) == [stored or line]


def test_columns_of_csv_are_mapped_as_said(take):
    version = take(
        'Frage;Antwort;Nr\n"Was; ist\ndas?";Ein Test;1\nWas?;;2\n',
        kind="prompts",
        format="csv",
        columns={"question": "Frage", "answer": "Antwort"},
    )
    assert list(open_rows(version)) == [
        {"question": "Was; ist\ndas?", "answer": "Ein Test", "Nr": "1"},
        {"question": "Was?", "Nr": "2"},
    ]


def test_options_may_stand_in_a_column_each(take):
    version = take("question,A,B,C,answer\nq,one,two,,b\n", kind="choices", format="csv")
    assert list(open_rows(version)) == [{"question": "q", "choices": ["one", "two"], "answer": 1}]


def test_lists_stand_in_csv_cells_as_json(take):
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    cell = json.dumps(messages).replace('"', '""')
    version = take(f'messages\n"{cell}"\n', kind="chat", format="csv")
    assert list(open_rows(version)) == [{"messages": messages}]


def test_parquet_keeps_lists_and_leaves_out_nulls(take):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(
        [
            {
                "messages": [{"role": "user", "content": "q", "name": None}, {"role": "assistant", "content": "a"}],
                "n": 1,
            },
            {"messages": [{"role": "user", "content": "ก"}, {"role": "assistant", "content": "ข"}], "n": None},
        ]
    )
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file)
    rows = list(open_rows(take(file.getvalue(), kind="chat", format="parquet")))
    assert rows[0] == {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "n": 1}
    assert rows[1]["messages"][1] == {"role": "assistant", "content": "ข"}


def test_a_file_with_bad_rows_is_refused_whole_with_numbers_and_reasons(take):
    lines = [
        '{"text": "good"}',
        '{"text": " "}',
        '{"text": 7}',
        '{"text": "a", "text": "b"}',
        '{"text": NaN}',
        '{"text": "x", "n": 1e999}',
        '["list"]',
        '{"text": "a"',
        "[" * 100_000,
        '{"text": "x", "deep": ' + "[" * 40 + "]" * 40 + "}",
        r'{"text": "\ud83d"}',
        r'{"text": "a\u0000b"}',
        '{"text": "x", "n": ' + "1" * 5000 + "}",
        '{"law_name": "no text"}',
    ]
    content = "\n".join(lines).encode() + b'\n{"text": "\xff"}\n'
    refusal = refusal_of(take, content)
    assert [(row.number, row.reason) for row in refusal.bad_rows] == [
        (2, "text is empty"),
        (3, "text is not text"),
        (4, "names 'text' twice"),
        (5, "holds NaN, which is no JSON number; leave the field out or use null"),
        (6, "holds a number that is not finite (NaN or infinite); leave the field out or use null"),
        (7, 'is a list, not an object such as {"text": …}'),
        (8, "is not JSON: Expecting ',' delimiter at column 13"),
        (9, "is nested too deeply to be read"),
        (10, "is nested deeper than 32 levels"),
        (11, "holds half of a surrogate pair, which is no character; write the text as UTF-8"),
        (12, "holds a NUL character; remove it"),
        (13, "holds a number with too many digits"),
        (14, "text is missing"),
        (15, "is not UTF-8 at byte 11; save the file as UTF-8"),
    ]
    assert str(refusal) == "14 rows cannot be taken, so nothing was imported. Row 2: text is empty"
    assert str(refusal.problems[0]) == "rows[2]: text is empty"


def test_the_first_hundred_bad_rows_are_told_and_all_are_counted(take):
    refusal = refusal_of(take, '{"text": "good"}\n' + '{"text": ""}\n' * 250)
    assert (len(refusal.bad_rows), refusal.bad_total, refusal.unseen) == (100, 250, 150)
    assert refusal.bad_rows[-1].number == 101


@pytest.mark.parametrize(
    ("content", "format", "message"),
    [
        (b"", "jsonl", "The file holds no rows."),
        (b"\n\n", "jsonl", "The file holds no rows."),
        (b"text\n", "csv", "The file holds no rows."),
        ('{"text": "x"}'.encode("utf-16"), "jsonl", "The file is encoded as UTF-16; save it as UTF-8."),
        (b"\x1f\x8b\x08", "jsonl", "The file is compressed; unpack it first."),
        (b"PAR1...", "jsonl", "The file is Parquet, not JSON lines; choose the format Parquet."),
        (b'[{"text": "x"}', "jsonl", "one JSON document; write it as JSON lines"),
        (b"text,text\na,b\n", "csv", "Two columns are named 'text'; rename one of them."),
        (b"text,\na,b\n", "csv", "Column 2 has no name; name every column in the first line."),
        (b"no parquet", "parquet", "cannot be read as Parquet after row 0"),
        (b"x", "xml", "The format 'xml' is not known; use jsonl, csv, parquet."),
        (b'{"body_": "x"}', "jsonl", "No column for text was found among body_; say which one it is."),
    ],
)
def test_a_file_that_cannot_be_read_at_all_is_told_in_one_sentence(take, content, format, message):
    assert message in str(refusal_of(take, content, format=format))


@pytest.mark.parametrize(
    ("content", "reasons"),
    [
        (b"text,note\na,b,c\nd,e\n", ["has 3 cells, the header names 2 (line 2)"]),
        (b'text\n"open\nx\n', ["is not CSV: unexpected end of data (line 3 of the file)"]),
        (b"text\na\n\xff\nb\n", ["line 3 of the file is not UTF-8 at byte 1; save the file as UTF-8"]),
        ("text\n" + "x" * (16 * 2**20 + 1), ["line 2 of the file is longer than 16 MiB; split it"]),
    ],
)
def test_bad_records_of_csv_are_told_with_their_line(take, content, reasons):
    assert [row.reason for row in refusal_of(take, content, format="csv").bad_rows] == reasons


def test_a_line_without_end_is_refused_and_the_next_is_read(take):
    refusal = refusal_of(take, b'{"text": "' + b"x" * (17 * 2**20) + b'"}\n{"text": ""}\n')
    assert [(row.number, row.reason) for row in refusal.bad_rows] == [
        (1, "is longer than 16 MiB; split it"),
        (2, "text is empty"),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": []}, "messages has too few entries"),
        ({"messages": [{"role": "user", "content": "q"}]}, "messages holds no turn of the assistant"),
        ({"messages": [{"role": "bot", "content": "q"}]}, "messages[0].role is 'bot'"),
        ({"messages": [{"role": "assistant", "content": ""}]}, "messages[0] content is empty"),
    ],
)
def test_conversations_that_cannot_train_are_refused(take, row, reason):
    assert reason in refusal_of(take, json.dumps(row), kind="chat").bad_rows[0].reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (2, "answer 2 names no option: there are 2, counted from 0"),
        (-1, "answer is below 0"),
        (True, "answer is not a whole number"),
        ("maybe", "answer 'maybe' is neither an index from 0, a letter, nor one of the options"),
    ],
)
def test_an_answer_must_name_an_option(take, answer, reason):
    row = {"question": "q", "choices": ["a", "b"], "answer": answer}
    assert refusal_of(take, json.dumps(row), kind="choices").bad_rows[0].reason == reason


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ({"kind": "pictures"}, "kind", "The kind 'pictures' is not known"),
        ({"slug": "Not A Slug"}, "slug", "Use lower-case letters"),
        ({"uses": ["sell"]}, "uses", "The use 'sell' is not known; use train, distil, evaluate, publish."),
        ({"licence": "free for all"}, "licence", "is no SPDX expression"),
        ({"columns": {"txt": "text"}}, "columns.txt", "text rows have no field 'txt'"),
        ({"columns": {"text": "body"}}, "columns.text", "The file has no column 'body'; it has text."),
    ],
)
def test_wrong_wishes_are_told_by_their_field(take, given, field, message):
    problem = refusal_of(take, '{"text": "x"}', **{"kind": "text", **given}).problems[0]
    assert problem.field == field
    assert message in problem.message


def test_a_dataset_keeps_its_kind(take):
    take('{"text": "x"}')
    with pytest.raises(ImportRefused, match="holds text rows, not prompts rows"):
        take('{"question": "x"}', kind="prompts")


def test_identical_rows_and_rights_make_no_new_version(take):
    first = take('{"text": "x"}', licence="MIT")
    again = take('{ "text":"x" }\n', licence="MIT")
    assert (again.pk, again.unchanged, first.unchanged) == (first.pk, True, False)
    stricter = take('{"text": "x"}', uses=["evaluate"])
    assert (stricter.number, stricter.sha256, stricter.licence) == (2, first.sha256, "MIT")
    assert stricter.evaluation_only


def test_a_new_version_names_its_parent_inherits_its_rights_and_counts_the_change(take):
    first = take('{"text": "a"}\n{"text": "b"}\n{"text": "b"}', licence="CC-BY-4.0", uses=["evaluate"], source="here")
    second = take('{"text": "b"}\n{"text": "c"}\n{"text": "a"}', reason="c for one b")
    assert (second.number, second.parent, second.reason) == (2, first, "c for one b")
    assert (second.licence, second.uses, second.source) == ("CC-BY-4.0", ["evaluate"], "here")
    assert second.statistics["difference"] == {"added": 1, "removed": 1, "kept": 2, "from": 1}


def test_a_version_never_changes(take):
    version = take('{"text": "x"}')
    version.licence = "MIT"
    with pytest.raises(ImmutableError):
        version.save()
    with pytest.raises(ImmutableError):
        DatasetVersion.objects.update(licence="MIT")
    with pytest.raises(ImmutableError):
        version.delete()
    assert version_path(version).stat().st_mode & 0o222 == 0, "nor its file"


def test_what_is_imported_is_in_the_audit_log(take, researcher):
    version = take('{"text": "x"}', uses=["evaluate"])
    event = AuditEvent.objects.get(verb="dataset.version_imported")
    assert (event.actor, event.detail["sha256"], event.detail["uses"]) == (researcher, version.sha256, ["evaluate"])


def test_only_who_may_change_datasets_imports(take, viewer, stranger):
    with pytest.raises(PermissionDenied, match="Your role in Law assistant is viewer"):
        take('{"text": "x"}', actor=viewer)
    with pytest.raises(Http404):
        take('{"text": "x"}', actor=stranger)
    dataset = take('{"text": "x"}').dataset
    with pytest.raises(PermissionDenied):
        describe_dataset(dataset, title="t", description="", languages=[], actor=viewer)


def test_a_full_disk_is_told_and_leaves_nothing(take, settings):
    settings.MINIMUM_FREE_BYTES = 10**18
    assert "left on the disk of the platform; make room" in str(refusal_of(take, '{"text": "x"}'))
