"""The hash of a version is that of its rows: neither the order of keys nor the format of the file is part of it."""

import csv
import hashlib
import io
import json

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chanote.datasets.canonical import check_row, encode_row
from chanote.datasets.columns import STRUCTURED
from chanote.datasets.errors import BadRow, ImportRefused
from chanote.datasets.kinds import ROW_MODELS
from chanote.datasets.services import LAYOUT_ROWS, import_dataset, prepare_rows


def hash_rows(content: bytes, kind: str, format: str) -> str:
    digest = hashlib.sha256()
    for row in prepare_rows(io.BytesIO(content), format, kind, None):
        assert not isinstance(row, BadRow), row
        digest.update(encode_row(check_row(ROW_MODELS[kind], row[1]).content()))
    return digest.hexdigest()


def write_jsonl(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write_csv(rows: list[dict[str, object]], names: list[str], delimiter: str = ",", end: str = "\n") -> bytes:
    """What a spreadsheet writes: text as it is, lists as JSON, nothing where a row has no such field."""
    file = io.StringIO(newline="")
    # Python leaves a lone carriage return unquoted, which then is the end of a record to whoever reads it.
    alone = any("\r" in value for row in rows for value in row.values() if isinstance(value, str))
    quoting = csv.QUOTE_ALL if alone else csv.QUOTE_MINIMAL
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow(names)
    for row in rows:
        cells = [row.get(name, "") for name in names]
        writer.writerow([one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in cells])
    return file.getvalue().encode()


def write_parquet(rows: list[dict[str, object]], names: list[str]) -> bytes:
    file = io.BytesIO()
    columns = {name: [row.get(name) for row in rows] for name in names}
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


# Line ends of every system, the marks of CSV, invisible characters, and characters beyond 16 bits.
texts = st.text("กำ1aB \r\n\t\",;'\\\u2028\x0b\x85\ufeff😀", min_size=1, max_size=8).filter(str.strip)
turns = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": texts})
talks = st.lists(turns, max_size=2).map(lambda some: [*some, {"role": "assistant", "content": "ก"}])
asked = st.lists(turns, max_size=1).map(lambda some: [*some, {"role": "user", "content": "?"}])
further = {"note": texts, "ที่มา": texts}
options = st.lists(texts, min_size=2, max_size=4, unique=True)
citations = st.lists(st.fixed_dictionaries({"law": texts, "section": texts}), min_size=1, max_size=2)
KINDS = {
    "text": st.fixed_dictionaries({"text": texts}, optional={"law_name": texts, "section_num": texts, **further}),
    "chat": st.fixed_dictionaries({"messages": talks}, optional=further),
    "prompts": st.fixed_dictionaries(
        {"question": texts}, optional={"answer": texts, "citations": citations, **further}
    ),
    "choices": st.fixed_dictionaries(
        {"question": texts, "choices": options, "answer": st.sampled_from(["A", "b"])}, optional=further
    ),
    "preferences": st.fixed_dictionaries(
        {"messages": asked, "chosen": texts.map("yes {}".format), "rejected": texts.map("no {}".format)},
        optional=further,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_hash_knows_no_order_of_keys_and_no_format(kind, data):
    rows = data.draw(st.lists(KINDS[kind], min_size=1, max_size=4))
    plain = hash_rows(write_jsonl(rows), kind, "jsonl")
    names = data.draw(st.permutations(sorted({name for row in rows for name in row})))
    assert (
        hash_rows(write_jsonl([{name: row[name] for name in names if name in row} for row in rows]), kind, "jsonl")
        == plain
    )
    nulls = [{name: row.get(name) for name in names} for row in rows]
    assert hash_rows(write_jsonl(nulls), kind, "jsonl") == plain, "what is null was not given"
    for delimiter in (",", ";", "\t"):
        for end in ("\n", "\r\n"):
            assert hash_rows(write_csv(rows, names, delimiter, end), kind, "csv") == plain, (delimiter, end)
    assert hash_rows(write_parquet(rows, names), kind, "parquet") == plain


def test_the_lists_that_cells_hold_are_those_of_the_kinds():
    lists = {"messages", "tools", "citations", "choices"}
    assert lists == STRUCTURED


@pytest.mark.parametrize(("format", "write"), [("csv", write_csv), ("parquet", write_parquet)])
def test_an_import_of_the_same_rows_in_another_format_makes_no_version(project, researcher, format, write):
    rows = [{"text": "มาตรา ๑\r\nสอง", "note": "x"}, {"text": 'says "no", twice', "law_name": "กฎหมาย"}]
    takes = {"project": project, "slug": "law", "kind": "text", "actor": researcher}
    first = import_dataset(file=io.BytesIO(write_jsonl(rows)), format="jsonl", **takes)
    again = import_dataset(file=io.BytesIO(write(rows, ["law_name", "note", "text"])), format=format, **takes)
    assert again.unchanged
    assert again.pk == first.pk


def test_options_are_in_the_order_of_their_letters_wherever_they_stand_in_the_file():
    row = {"question": "?", "A": "one", "B": "two", "C": "three", "answer": "B"}
    plain = hash_rows(write_jsonl([row]), "choices", "jsonl")
    turned = dict(reversed(row.items()))
    assert hash_rows(write_jsonl([turned]), "choices", "jsonl") == plain
    assert hash_rows(write_csv([row], ["C", "A", "answer", "question", "B"]), "choices", "csv") == plain
    numbers = {"question": "?", **{f"option {number}": f"o{number}" for number in (10, 9, 2)}, "answer": "A"}
    ((_, content),) = prepare_rows(io.BytesIO(write_jsonl([numbers])), "jsonl", "choices", None)
    assert content["choices"] == ["o2", "o9", "o10"]


def test_an_option_left_out_in_the_middle_would_move_the_answer_so_the_row_is_refused():
    row = {"question": "?", "A": "one", "B": "", "C": "three", "answer": "C"}
    (bad,) = prepare_rows(io.BytesIO(write_csv([row], list(row))), "csv", "choices", None)
    assert "option 'B' is empty and a later one is not" in str(bad)
    (fewer,) = prepare_rows(io.BytesIO(write_csv([{**row, "B": "two", "C": ""}], list(row))), "csv", "choices", None)
    assert fewer[1]["choices"] == ["one", "two"]


def test_a_number_in_a_cell_that_is_an_option_and_an_index_of_another_is_refused():
    row = {"question": "1 + 1?", "choices": ["1", "2", "3"], "answer": "2"}
    (bad,) = prepare_rows(io.BytesIO(write_csv([row], list(row))), "csv", "choices", None)
    assert "is an option and also the index of another; write it as a letter" in str(bad)
    index = {**row, "choices": ["0", "1", "2"]}
    assert hash_rows(write_csv([index], list(row)), "choices", "csv") == hash_rows(
        write_jsonl([{**index, "answer": 2}]), "choices", "jsonl"
    )


def test_a_field_that_the_file_names_late_is_the_same_field():
    rows = [{"text": f"row {number}"} for number in range(LAYOUT_ROWS + 5)] + [{"text": "last", "law": "กฎหมาย"}]
    plain = hash_rows(write_jsonl(rows), "text", "jsonl")
    assert hash_rows(write_csv(rows, ["text", "law"]), "text", "csv") == plain
    assert hash_rows(write_parquet(rows, ["text", "law"]), "text", "parquet") == plain
    last = [row[1] for row in prepare_rows(io.BytesIO(write_jsonl(rows)), "jsonl", "text", None)][-1]
    assert last == {"text": "last", "law_name": "กฎหมาย"}


def test_a_late_column_that_would_change_earlier_rows_is_asked_about():
    rows = [{"text": "a", "act": "Act"}] * (LAYOUT_ROWS + 1) + [{"text": "b", "law": "Law"}]
    with pytest.raises(ImportRefused, match="law_name was read from 'act', and later rows bring 'law'"):
        list(prepare_rows(io.BytesIO(write_jsonl(rows)), "jsonl", "text", None))
    said = list(prepare_rows(io.BytesIO(write_jsonl(rows)), "jsonl", "text", {"law_name": "act"}))
    assert said[-1][1] == {"text": "b", "law": "Law"}


def test_the_delimiter_is_looked_for_outside_of_quoted_names():
    rows = [{"text": "t", "one, two, three": "x"}]
    plain = hash_rows(write_jsonl(rows), "text", "jsonl")
    quoted = b'text;"one, two, three"\nt;x\n'
    assert hash_rows(quoted, "text", "csv") == plain


def test_a_cell_holds_one_json_value_and_nothing_beside_it():
    row = b'question,choices,answer\n?,"[""a"",""b""],""x"":1",A\n'
    (bad,) = prepare_rows(io.BytesIO(row), "csv", "choices", None)
    assert "choices is not a JSON list" in str(bad)
