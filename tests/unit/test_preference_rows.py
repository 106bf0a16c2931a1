"""Two answers to one prompt, in the forms that files have them."""

import io
import json

import pytest

from chanote.datasets.errors import ImportRefused
from chanote.datasets.preview import guess_kind
from chanote.datasets.row_views import view_row
from chanote.datasets.services import import_dataset
from chanote.datasets.storage import open_rows

ASKED = {"role": "user", "content": "ค่าปรับเท่าไร"}
STORED = {"messages": [ASKED], "chosen": "๕๐ บาท", "rejected": "ไม่รู้"}


def said(text):
    return {"role": "assistant", "content": text}


@pytest.fixture
def take(project, researcher):
    def take(content, format="jsonl"):
        content = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        file = io.BytesIO(content.encode())
        return import_dataset(
            project=project, slug="pairs", kind="preferences", file=file, format=format, actor=researcher
        )

    return take


@pytest.mark.parametrize(
    "row",
    [
        STORED,
        {"prompt": "ค่าปรับเท่าไร", "chosen": "๕๐ บาท", "rejected": "ไม่รู้"},
        {"prompt": [ASKED], "chosen": [said("๕๐ บาท")], "rejected": [said("ไม่รู้")]},
        {"chosen": [ASKED, said("๕๐ บาท")], "rejected": [ASKED, said("ไม่รู้")]},
        {"prompt": "ค่าปรับเท่าไร", "chosen": [ASKED, said("๕๐ บาท")], "rejected": [ASKED, said("ไม่รู้")]},
        {
            "conversations": [{"from": "human", "value": "ค่าปรับเท่าไร"}],
            "chosen": [{"from": "gpt", "value": "๕๐ บาท"}],
            "rejected": [{"from": "gpt", "value": "ไม่รู้"}],
        },
    ],
    ids=["as stored", "plain", "turns", "whole conversations", "both", "sharegpt"],
)
def test_every_usual_form_is_stored_alike(take, row):
    assert list(open_rows(take(row))) == [STORED]


def test_csv_with_a_system_prompt(take):
    version = take("system,question,chosen,rejected,id\nAnswer.,1+1?,2,[3],7\n", format="csv")
    assert list(open_rows(version)) == [
        {
            "messages": [{"role": "system", "content": "Answer."}, {"role": "user", "content": "1+1?"}],
            "chosen": "2",
            "rejected": "[3]",
            "id": "7",
        }
    ]


def test_a_history_of_several_turns_is_kept(take):
    history = [ASKED, said("๕๐ บาท"), {"role": "user", "content": "Sure?"}]
    row = {"chosen": [*history, said("Yes.")], "rejected": [*history, said("No.")]}
    assert list(open_rows(take(row))) == [{"messages": history, "chosen": "Yes.", "rejected": "No."}]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**STORED, "rejected": "๕๐ บาท"}, "chosen and rejected are the same answer"),
        ({**STORED, "messages": [ASKED, said("x")]}, "ends with a turn of the assistant"),
        ({"messages": [], "chosen": "a", "rejected": "b"}, "messages is missing"),
        ({"chosen": "a", "rejected": "b"}, "messages is missing"),
        ({**STORED, "chosen": " "}, "chosen is empty"),
        ({"chosen": [ASKED, said("a"), ASKED], "rejected": [ASKED, said("b")]}, "chosen is not text"),
    ],
)
def test_a_row_that_is_no_pair_is_refused_with_its_reason(take, row, reason):
    with pytest.raises(ImportRefused, match=reason):
        take(row)


def test_missing_columns_are_named(take):
    with pytest.raises(ImportRefused, match="No column for rejected was found among"):
        take({"prompt": "a", "chosen": "b"})


def test_columns_show_the_kind():
    assert guess_kind(["prompt", "chosen", "rejected"]) == "preferences"
    assert guess_kind(["messages"]) == "chat"


def test_both_answers_are_shown_by_name():
    view = view_row("preferences", 1, STORED)
    assert [passage.label for passage in view.passages] == ["User", "Chosen", "Rejected"]
    assert view.facts == []
