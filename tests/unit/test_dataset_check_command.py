"""`chanote dataset check`: what a terminal can do with checks."""

import pytest
from checked_rows import take

from chanote.accounts.models import User
from chanote.cli import build_parser
from chanote.commands.answers import NOT_FOUND, REFUSED, CommandEnd
from chanote.errands.models import Errand

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows(project, settings, tmp_path):
    settings.HOME = tmp_path
    User.objects.create(username="root", is_superuser=True)
    return take(project, "talks", [{"text": "โทร ๐๘๑-๒๓๔-๕๖๗๘"}, {"text": "ไม่มีอะไรในแถวนี้"}])


def act(*words):
    args = build_parser().parse_args(["dataset", "check", *words])
    return args.action(args)


def test_a_version_is_checked_here_and_its_results_told(rows):
    told = act("talks", "--here", "--only", "personal", "--only", "schema")
    assert [(one["check"], one["checker"], one["rows"], one["found"]) for one in told] == [
        ("schema", 1, 2, 0),
        ("personal", 1, 2, 1),
    ]
    assert told[1]["words"] == "Telephone number in 1 row."
    assert act("talks@1", "--results") == told


def test_checks_are_started_for_the_platform_to_do(rows):
    assert act("talks", "--start")["state"] == "queued"
    assert Errand.objects.get().config["checks"][0] == "schema"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nothing"], NOT_FOUND, "nothing is no dataset of this project"),
        (["talks@9"], NOT_FOUND, "has no such version"),
        (["talks", "--only", "nonsense"], REFUSED, "There is no check 'nonsense'"),
    ],
)
def test_refusals_are_sentences(rows, words, code, message):
    with pytest.raises(CommandEnd, match=message) as end:
        act(*words)
    assert end.value.code == code
