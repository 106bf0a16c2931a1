"""A demo that an earlier version loaded: its parts are brought up to date, and what people changed stays."""

import json

import pytest

from chanote import demo
from chanote.datasets.services import import_dataset
from chanote.models.models import Model
from chanote.tools.models import Toolset
from chanote.tools.services import save_toolset
from trainer.demoworld import catalogue


@pytest.fixture
def actor(curator, researcher):
    """Who may import, register and save toolsets: an administrator, as `chanote demo` acts."""
    researcher.is_superuser = True
    researcher.save()
    return researcher


@pytest.fixture
def library(project, actor, tmp_path):
    """Two versions of corpora by the names that the demo's datasets have, small."""
    rows = [{"text": "The fine is 40 coins.", "law_name": "Bado Act", "section_num": "4"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for slug in ("new-code", "law-library"):
        with path.open("rb") as file:
            import_dataset(
                project=project,
                slug=slug,
                kind="text",
                file=file,
                format="jsonl",
                actor=actor,
                licence="CC0-1.0",
                source="Written for this test.",
                uses=["train", "evaluate"],
                languages=["en"],
            )


def test_a_base_that_came_with_an_earlier_version_keeps_its_record_beside_the_new_one(project, actor):
    demo._load_base_model(project, actor)
    base = Model.objects.get(project=project, slug="demo-base")
    Model.objects.filter(pk=base.pk).update(sha256="ab" * 32)
    demo._load_base_model(project, actor)
    demo._load_base_model(project, actor)
    assert set(Model.objects.values_list("slug", "sha256")) == {
        ("demo-base-abababab", "ab" * 32),
        ("demo-base", base.sha256),
    }


def test_the_demo_s_toolset_reads_the_newest_corpus_unless_somebody_changed_it(project, actor, library):
    slug = catalogue.TOOLSET["slug"]
    save_toolset(
        project=project, slug=slug, tools=["search_law"], corpus="new-code@1", author=actor, message=demo.AS_SHIPPED
    )
    demo._load_toolset(project, actor)
    demo._load_toolset(project, actor)
    revisions = Toolset.objects.get(project=project, slug=slug).revisions
    assert [one.corpus.reference for one in revisions.order_by("number")] == ["new-code@1", "law-library@1"]
    save_toolset(project=project, slug=slug, tools=["search_law"], corpus="new-code@1", author=actor, message="Mine.")
    demo._load_toolset(project, actor)
    assert revisions.count() == 3
