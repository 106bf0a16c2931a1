"""Knowledge, translation and sampling from pages, REST and the command line, and names that cannot be."""

import json
from typing import Any

import pytest
from building_data import make_endpoint, make_rows

from chanote import cli
from chanote.building.models import Build
from chanote.building.services import BuildRefused, start_build

pytestmark = pytest.mark.django_db

CONFIGS: dict[str, dict[str, Any]] = {
    "knowledge": {"name": "ink", "source": "laws", "held_out": 0.2},
    "translation": {"name": "laws-th", "source": "laws", "endpoint": "teacher", "least_score": 40.0},
    "sampling": {"name": "taught", "prompts": "sums", "endpoint": "teacher", "rewards": "- kind: exact"},
}


@pytest.fixture(autouse=True)
def house(project, project_admin, settings, tmp_path):
    settings.HOME = tmp_path
    make_rows(project, "laws", "text", [{"text": "Nobody cuts teak near a spring."}])
    make_rows(project, "sums", "prompts", [{"question": "1 + 1?", "answer": "2"}])
    make_endpoint(project, project_admin, "http://127.0.0.1:9/v1")


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_build_starts_from_its_page_over_rest_and_from_the_command_line(
    kind, project, curator, researcher, client_of, capsys
):
    config = CONFIGS[kind]
    page = f"/p/{project.slug}/builds/-/new/{kind}/"
    assert client_of(curator).get(page).status_code == 200
    posted = client_of(curator).post(page, {**config, "source": "laws@1", "prompts": "sums@1"})
    assert posted.status_code == 302, posted.content.decode()
    answer = client_of(curator).post(
        f"/api/v1/projects/{project.slug}/builds/", {"kind": kind, "config": config}, content_type="application/json"
    )
    assert answer.status_code == 201, answer.content
    settings = [word for name, value in config.items() if name != "name" for word in ("--set", f"{name}={value}")]
    words = ["dataset", "build", kind, "--json", "--project", project.slug, "--as", "researcher"]
    assert cli.main([*words, "--name", config["name"], *settings]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "queued"
    builds = list(Build.objects.order_by("pk"))
    assert [build.kind for build in builds] == [kind] * 3
    for field, value in config.items():
        fixed = f"{value}@1" if field in ("source", "prompts") else value
        assert [build.config[field] for build in builds] == [fixed] * 3, field


@pytest.mark.parametrize(
    ("kind", "changes", "field", "said"),
    [
        ("knowledge", {"name": "laws"}, "name", "cannot be a version of what it is made from"),
        ("knowledge", {"name": "sums"}, "name", "holds prompts rows, and the result holds text rows"),
        ("translation", {"name": "sums"}, "name", "holds prompts rows, and the result holds text rows"),
        ("sampling", {"name": "laws"}, "name", "holds text rows, and the result holds chat rows"),
        ("sampling", {"name": "sums"}, "name", "cannot be a version of what it is made from"),
    ],
)
def test_a_name_that_cannot_be_is_refused_before_anything_is_asked(kind, changes, field, said, project, curator):
    with pytest.raises(BuildRefused) as refused:
        start_build(project=project, kind=kind, config={**CONFIGS[kind], **changes}, actor=curator)
    assert {problem.field: said in problem.message for problem in refused.value.problems} == {field: True}


def test_a_viewer_may_look_and_not_build(project, viewer, client_of):
    client = client_of(viewer)
    assert client.get(f"/p/{project.slug}/builds/").status_code == 200
    assert client.get(f"/p/{project.slug}/builds/-/new/sampling/").status_code == 403
    answer = client.post(
        f"/api/v1/projects/{project.slug}/builds/",
        {"kind": "sampling", "config": CONFIGS["sampling"]},
        content_type="application/json",
    )
    assert answer.status_code == 403
    assert not Build.objects.exists()
