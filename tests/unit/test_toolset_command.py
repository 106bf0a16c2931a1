"""`chanote toolset`: what a terminal can do with toolsets and corpora."""

import io
import json

import pytest

from chanote.accounts.models import User
from chanote.cli import build_parser
from chanote.commands.answers import NOT_FOUND, REFUSED, USAGE, CommandEnd
from chanote.datasets.services import import_dataset
from chanote.tools.models import ToolsetRevision

pytestmark = pytest.mark.django_db


@pytest.fixture
def laws(project, researcher):
    User.objects.create(username="root", is_superuser=True)
    row = {"law_name": "Tax Code", "section_num": "1", "text": "Who earns pays."}
    file = io.BytesIO(json.dumps(row).encode() + b"\n")
    return import_dataset(project=project, slug="laws", kind="text", file=file, format="jsonl", actor=researcher)


def act(*words):
    args = build_parser().parse_args(["toolset", *map(str, words)])
    return args.action(args)


def save(*more):
    return act("save", "tax", "--tool", "search_law", "--corpus", "laws", "--as", "researcher", *more)


def test_a_toolset_is_saved_listed_and_shown(laws, settings):
    settings.SANDBOX_ADDRESSES = []
    assert save("--limit", "top_k=5")["toolset"] == "tax@1"
    assert save("--limit", "top_k=6")["toolset"] == "tax@2"
    (listed,) = act("list")
    assert (listed["toolset"], listed["limits"]["top_k"]) == ("tax@2", 6)
    shown = act("show", "tax@1")
    assert shown["limits"]["top_k"] == 5
    assert "No tool service is set up." in shown["service"]
    assert ToolsetRevision.objects.get(number=1).created_by.username == "researcher"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--limit", "top_k"], USAGE, "--limit top_k is not NAME=VALUE."),
        (["--limit", "top_k=many"], REFUSED, "top_k: input should be a valid integer"),
        (["--limit", "hurry=1"], REFUSED, "hurry: is not a known field"),
        (["--corpus", "nobody"], REFUSED, "nobody is no dataset of this project"),
    ],
)
def test_what_is_wrong_is_one_sentence(laws, words, code, sentence):
    with pytest.raises(CommandEnd) as end:
        save(*words)
    assert end.value.code == code
    assert sentence in str(end.value)


def test_a_name_that_nobody_has(laws):
    with pytest.raises(CommandEnd) as end:
        act("show", "nobody")
    assert (end.value.code, str(end.value)) == (NOT_FOUND, "nobody is no toolset of this project.")


def test_a_corpus_file_is_written_for_a_service_elsewhere(laws, tmp_path):
    told = act("corpus", "laws@1", "--out", tmp_path / "out.jsonl")
    assert (told["sections"], told["laws"]) == (1, 1)
    written = (tmp_path / "out.jsonl").read_text()
    assert json.loads(written) == {"law_name": "Tax Code", "section_num": "1", "text": "Who earns pays."}
