"""The picture of a mixture before the launch, as numbers over REST."""

import json

import pytest
from curated_rows import sections, take

from chanote.recipes.mixtures import list_mixtures, plan_pictures
from chanote.recipes.services import check_yaml, save_revision

API = "/api/v1/projects/law/"
YAML = """base: ""
stages:
  - kind: cpt
    initialise: {context_length: 128}
    data:
      - {dataset: english, weight: 3}
      - {dataset: bavarian@1, enters: 0.75}
    steps: 100
    batch_size: 2
    sequence_length: 64
"""


@pytest.fixture
def data(project, settings, tmp_path):
    settings.HOME = tmp_path
    for slug in ("english", "bavarian"):
        take(project, sections(5), slug=slug)


@pytest.fixture
def ask(data, viewer, client_of):
    def ask(yaml, status=200):
        body = json.dumps({"yaml": yaml})
        answer = client_of(viewer).post(f"{API}plan-mixtures/", body, content_type="application/json")
        assert answer.status_code == status, answer.content
        return answer.json()

    return ask


def test_shares_in_every_part_and_over_all(ask):
    (plan,) = ask(YAML)["mixtures"]
    assert (plan["stage"], plan["unit"], plan["total"], plan["ends"]) == (0, "tokens", 12_800, None)
    assert plan["parts"] == [
        {"start": 0, "stop": 0.75, "shares": [1, 0]},
        {"start": 0.75, "stop": 1, "shares": [0.75, 0.25]},
    ]
    assert [(one["dataset"], one["share"]) for one in plan["sources"]] == [("english", 0.9375), ("bavarian@1", 0.0625)]
    assert plan["sources"][1]["words"] == "weight 1, enters at 75 %"


def test_caps_that_leave_nothing_are_told_with_their_moment(ask):
    capped = YAML.replace("weight: 3", "max_tokens: 3200").replace("enters: 0.75", "weight: 1, max_tokens: 3200")
    (plan,) = ask(capped)["mixtures"]
    assert plan["ends"] == 0.5
    assert plan["remarks"][0].startswith("From 50 % on nothing is left to draw")


def test_a_text_that_breaks_the_contract_plans_nothing_and_says_why(ask):
    answer = ask(YAML.replace("weight: 3", "weight: -3"))
    assert (answer["valid"], answer["mixtures"]) == (False, [])
    assert answer["problems"][0]["field"] == "stages[0].data[0].weight"
    ask("", 200)


def test_one_source_without_conditions_has_nothing_to_show(ask):
    lines = [line for line in YAML.splitlines() if "bavarian" not in line]
    assert ask("\n".join(lines).replace(", weight: 3", ""))["mixtures"] == []


def test_a_saved_revision_shows_the_numbers_of_its_picture(project, data, researcher, viewer, stranger, client_of):
    revision = save_revision(project=project, slug="mixed", yaml=YAML, author=researcher)
    address = f"{API}recipes/mixed/revisions/1/mixtures/"
    (plan,) = client_of(viewer).get(address).json()["mixtures"]
    recipe = check_yaml(revision.yaml, project).recipe
    assert len(list_mixtures(recipe)) == 1
    (picture,) = plan_pictures(recipe, project)
    assert [line.overall for line in picture.lines] == [one["share"] for one in plan["sources"]]
    assert client_of(stranger).get(address).status_code == 404
    assert client_of(viewer).get(f"{API}recipes/mixed/revisions/9/mixtures/").status_code == 404
