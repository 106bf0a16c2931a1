"""Rows keep their sources: in the version that they come in and in every version that is made of it."""

import pytest

from chanote.accounts.models import Project
from chanote.audit.models import AuditEvent
from chanote.datasets.errors import ImportRefused
from chanote.datasets.making import join_licences, make_version, read_sourced_rows
from chanote.rights.models import Source, SourceSpan

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(settings, tmp_path):
    settings.HOME = tmp_path
    return Project.objects.create(slug="law", name="Law desk")


def make(project, rows, drawn_from=(), **more):
    given = {"slug": "texts", "kind": "text", "operation": {"name": "test"}, "reason": "", "actor": None, **more}
    return make_version(project=project, rows=rows, drawn_from=drawn_from, **given)


def text(words):
    return {"text": words}


def test_rows_keep_their_sources_and_neighbours_share_a_span(project):
    acts, rulings = (Source.objects.create(project=project, slug=slug, title=slug) for slug in ("acts", "rulings"))
    rows = [(text("a"), acts.pk), (text("b"), acts.pk), (text("c"), None), (text("d"), rulings.pk)]
    version = make(project, rows)
    spans = list(SourceSpan.objects.filter(version=version).values_list("source__slug", "start", "stop"))
    assert spans == [("acts", 0, 2), ("rulings", 3, 4)]
    assert list(read_sourced_rows(version)) == rows
    assert list(read_sourced_rows(version, 1, 3)) == rows[1:3]


def test_a_version_made_of_others_has_the_strictest_rights(project):
    free = make(project, [(text("a"), None)], slug="free", licence="CC-BY-4.0", uses=["train", "evaluate", "publish"])
    bound = make(
        project, [(text("b"), None)], slug="bound", licence="CC-BY-NC-4.0", uses=["train"], non_commercial=True
    )
    rows = [*read_sourced_rows(free), *read_sourced_rows(bound)]
    both = make(project, rows, [free, bound], slug="both", operation={"name": "merge", "of": ["free@1", "bound@1"]})
    assert (both.uses, both.non_commercial, both.licence) == (["train"], True, "CC-BY-4.0 AND CC-BY-NC-4.0")
    assert set(both.drawn_from.all()) == {free, bound}
    assert both.operation == {"name": "merge", "of": ["free@1", "bound@1"]}
    assert AuditEvent.objects.filter(verb="dataset.version_made").count() == 1


def test_rights_can_only_be_narrowed(project):
    bound = make(project, [(text("b"), None)], slug="bound", uses=["train"])
    with pytest.raises(ImportRefused, match="do not allow publish"):
        make(project, list(read_sourced_rows(bound)), [bound], slug="wider", uses=["train", "publish"])


def test_a_bad_row_leaves_nothing_behind(project):
    with pytest.raises(ImportRefused, match="text is missing"):
        make(project, [(text("a"), None), ({"words": "b"}, None)])
    assert not project.datasets.exists()


def test_no_rows_make_no_version(project):
    with pytest.raises(ImportRefused, match="No row is left"):
        make(project, [])


@pytest.mark.parametrize(
    ("licences", "joined"),
    [
        (["MIT", "MIT"], "MIT"),
        (["MIT AND CC0-1.0", "CC0-1.0", "ODbL-1.0"], "MIT AND CC0-1.0 AND ODbL-1.0"),
        ([f"LicenseRef-{name}" for name in "abcdefg"], "LicenseRef-several"),
        ([], ""),
    ],
)
def test_licences_join(licences, joined):
    assert join_licences(licences) == joined
