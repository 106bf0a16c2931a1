"""Rewards in the form of a recipe: added by kind, changed, removed, and never lost when something else is typed."""

import re
from typing import Any

import pytest
from django.urls import reverse

from chanote.datasets.models import Dataset, DatasetVersion
from chanote.models.models import Model
from chanote.recipes.checking import check_data
from chanote.recipes.services import save_revision
from chanote.recipes.yaml_text import parse_yaml
from tests.web.test_recipe_pages import fields_of, text_of

TEXT = """\
base: tiny
stages:
  - kind: grpo
    data:
      - {dataset: ask}
    steps: 5
    rewards:
      # what counts
      - {kind: exact, name: strict, weight: 0.9}
      - kind: judge
        endpoint: {base_url: "http://127.0.0.1:9/v1", model: judge-8b}
        extra: {seed: 1}
      - {kind: cosine, correct: strict, exceed: -2}
"""


@pytest.fixture
def address(project, researcher, tmp_path) -> str:
    Model.objects.create(project=project, slug="tiny", origin="directory", location=str(tmp_path), sha256="0" * 64)
    dataset = Dataset.objects.create(project=project, slug="ask", title="ask", kind="prompts")
    DatasetVersion.objects.create(dataset=dataset, number=1, sha256="a" * 64, rows=1, bytes=2, uses=["train"])
    save_revision(project=project, slug="mine", title="Mine", yaml=TEXT, author=researcher)
    return reverse("recipe_edit", args=["law", "mine"])


def rewards_of(page: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parse_yaml(text_of(page)).data["stages"][0]["rewards"]
    return found


WRITTEN = parse_yaml(TEXT).data["stages"][0]["rewards"]


def test_the_form_shows_each_reward_with_the_fields_of_its_kind(client_of, researcher, address):
    fields = fields_of(client_of(researcher).get(address))
    assert fields["stages[0].rewards[0].kind"] == ["exact"]
    assert fields["stages[0].rewards[0].weight"] == ["0.9"]
    assert fields["stages[0].rewards[1].endpoint.model"] == ["judge-8b"]
    assert fields["stages[0].rewards[1].highest"] == ["2"]
    assert fields["stages[0].rewards[2].exceed"] == ["-2"]
    assert "stages[0].rewards[2].endpoint.model" not in fields
    assert "stages[0].rewards[1].extra" not in fields


def test_rewards_stay_when_something_else_is_typed(client_of, researcher, address):
    client = client_of(researcher)
    page = client.post(address, fields_of(client.get(address)) | {"stages[0].steps": "9", "do": "to-text"})
    assert "steps: 9" in text_of(page)
    assert "# what counts" in text_of(page)
    assert rewards_of(page) == WRITTEN


def test_a_reward_is_changed_in_the_form(client_of, researcher, address):
    client = client_of(researcher)
    changes = {"stages[0].rewards[0].weight": "1", "stages[0].rewards[1].highest": "5", "do": "to-text"}
    page = client.post(address, fields_of(client.get(address)) | changes)
    exact, judge, cosine = rewards_of(page)
    assert exact == {"kind": "exact", "name": "strict"}
    assert judge == {**WRITTEN[1], "highest": 5}
    assert cosine == WRITTEN[2]


def test_rewards_are_added_by_kind_and_removed(client_of, researcher, address):
    client = client_of(researcher)
    page = client.post(address, fields_of(client.get(address)) | {"do": "add-entry:kimi:stages[0].rewards"})
    assert rewards_of(page) == [*WRITTEN, {"kind": "kimi", "correct": ""}]
    assert 'id="f-stages-0-rewards-3-correct-error" class="error-slot"><p class="error">' in page.content.decode()
    page = client.post(address, fields_of(page) | {"do": "remove:stages[0].rewards[1]"})
    assert [reward["kind"] for reward in rewards_of(page)] == ["exact", "cosine", "kimi"]
    page = client.post(address, fields_of(page) | {"do": "add-entry:judge:stages[0].rewards"})
    assert rewards_of(page)[-1] == {"kind": "judge", "endpoint": {"base_url": "", "model": ""}}


def test_unit_tests_are_set_up_in_the_form(client_of, researcher, address):
    client = client_of(researcher)
    page = client.post(address, fields_of(client.get(address)) | {"do": "add-entry:unit_tests:stages[0].rewards"})
    assert rewards_of(page)[-1] == {"kind": "unit_tests", "sandbox": {"base_url": ""}}
    place = "stages[0].rewards[3]"
    typed = {
        f"{place}.sandbox.base_url": "http://127.0.0.1:8930",
        f"{place}.sandbox.api_key_env": "SANDBOX_TOKEN",
        f"{place}.counts": "share",
        f"{place}.test_seconds": "2.5",
        "do": "to-text",
    }
    page = client.post(address, fields_of(page) | typed)
    assert rewards_of(page)[-1] == {
        "kind": "unit_tests",
        "sandbox": {"base_url": "http://127.0.0.1:8930", "api_key_env": "SANDBOX_TOKEN"},
        "counts": "share",
        "test_seconds": 2.5,
    }


@pytest.mark.parametrize("operation", ["add-entry:nonsense:stages[0].rewards", "add-entry:kimi:stages[0].data"])
def test_a_button_that_does_not_fit_changes_nothing(client_of, researcher, address, operation: str):
    client = client_of(researcher)
    page = client.post(address, fields_of(client.get(address)) | {"do": operation})
    assert rewards_of(page) == WRITTEN


def test_a_new_stage_that_needs_rewards_begins_without_any_and_says_so(client_of, researcher, address):
    client = client_of(researcher)
    page = client.post(address, fields_of(client.get(address)) | {"do": "add-stage:grpo"})
    assert parse_yaml(text_of(page)).data["stages"][1]["rewards"] == []
    html = page.content.decode()
    assert 'id="f-stages-1-rewards-error" class="error-slot"><p class="error">' in html


def test_a_kind_that_nobody_knows_stays_as_the_text_has_it(client_of, researcher, address):
    client = client_of(researcher)
    fields = fields_of(client.get(address)) | {"yaml": [TEXT.replace("kind: exact,", "kind: exakt,")], "do": "to-form"}
    page = client.post(address, fields)
    assert "The form does not know this kind; correct it in the text." in page.content.decode()
    page = client.post(address, fields_of(page) | {"stages[0].steps": "9", "do": "to-text"})
    assert rewards_of(page)[0] == {"kind": "exakt", "name": "strict", "weight": 0.9}


def test_an_error_of_a_reward_stands_beside_its_field(client_of, researcher, address):
    client = client_of(researcher)
    changes = {"stages[0].rewards[2].correct": "nobody", "stages[0].rewards[0].weight": "much", "do": "to-text"}
    html = client.post(address, fields_of(client.get(address)) | changes).content.decode()
    assert 'id="f-stages-0-rewards-0-weight-error" class="error-slot"><p class="error">' in html
    fixed = {"stages[0].rewards[2].correct": "nobody", "do": "to-text"}
    html = client.post(address, fields_of(client.get(address)) | fixed).content.decode()
    assert re.search(r'id="f-stages-0-rewards-2-correct-error".{1,300}named nobody; use strict or judge', html)


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        (("weight: 0.9", "weight: much"), "stages[0].rewards[0].weight", "must be a number"),
        (("name: strict", "nam: strict"), "stages[0].rewards[0].nam", "is not a known field; did you mean name?"),
        (("kind: exact", "kind: exakt"), "stages[0].rewards[0].kind", "exakt is no kind of reward; use one of abst"),
        (("model: judge-8b", "mode: x"), "stages[0].rewards[1].endpoint.model", "is missing; add it"),
        (("correct: strict", "correct: x"), "stages[0].rewards[2].correct", "no reward before it is named x; use"),
        (("kind: judge", "kind: judge\n        seconds: 0"), "stages[0].rewards[1].seconds", "must be greater than 0"),
    ],
)
def test_what_is_wrong_with_a_reward_is_said_with_its_field(change: tuple[str, str], field: str, message: str):
    _, problems = check_data(parse_yaml(TEXT.replace(*change)).data)
    assert next(problem.message for problem in problems if problem.field == field).startswith(message)
