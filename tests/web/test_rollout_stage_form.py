"""A stage on rollouts in the form of a recipe: what is shown first, what can be chosen, what typing changes."""

import re
from typing import Any

import pytest
from django.urls import reverse

from chanote.datasets.models import Dataset, DatasetVersion
from chanote.models.models import Model
from chanote.recipes.checking import check_data
from chanote.recipes.forms.schema_form import title_of
from chanote.recipes.services import save_revision
from chanote.recipes.yaml_text import parse_yaml
from tests.web.test_recipe_pages import fields_of, text_of
from trainer.contract import stage_kinds

TEXT = """\
base: tiny
stages:
  - kind: ink_grpo
    data: [{dataset: ask}]
    corpus: [{dataset: laws}]
    rewards: [{kind: exact}]
    sampling: {temperature: 0.7}
    steps: 5
"""


@pytest.fixture
def address(project, researcher, tmp_path) -> str:
    Model.objects.create(project=project, slug="tiny", origin="directory", location=str(tmp_path), sha256="0" * 64)
    for slug, kind in (("ask", "prompts"), ("laws", "text"), ("talk", "chat")):
        dataset = Dataset.objects.create(project=project, slug=slug, title=slug, kind=kind)
        DatasetVersion.objects.create(dataset=dataset, number=1, sha256="a" * 64, rows=1, bytes=2, uses=["train"])
    save_revision(project=project, slug="mine", title="Mine", yaml=TEXT, author=researcher)
    return reverse("recipe_edit", args=["law", "mine"])


def stage_of(page: Any) -> dict[str, Any]:
    found: dict[str, Any] = parse_yaml(text_of(page)).data["stages"][0]
    return found


def test_what_decides_a_run_stands_before_what_refines_it(client_of, researcher, address):
    html = client_of(researcher).get(address).content.decode()
    places = {name: html.index(f'name="stages[0].{name}"') for name in (
        "group_size", "sampling.max_new_tokens", "knowledge_rate", "clip_low", "std_epsilon", "optimizer.beta1",
    )}  # fmt: skip
    first = max(places[name] for name in ("group_size", "sampling.max_new_tokens", "knowledge_rate"))
    assert first < min(places[name] for name in ("clip_low", "std_epsilon", "optimizer.beta1"))


def test_each_list_of_datasets_offers_the_kind_it_takes(client_of, researcher, address):
    html = client_of(researcher).get(address).content.decode()

    def offered(name: str) -> set[str]:
        [select] = re.findall(rf'<select[^>]*name="{re.escape(name)}".*?</select>', html, flags=re.DOTALL)
        return {value for value in re.findall(r'<option value="([^"]*)"', select) if value and "@" not in value}

    assert offered("stages[0].data[0].dataset") == {"ask"}
    assert offered("stages[0].corpus[0].dataset") == {"laws"}


def test_typing_changes_what_was_typed_and_nothing_else(client_of, researcher, address):
    client = client_of(researcher)
    changes = {
        "stages[0].group_size": "4",
        "stages[0].sampling.max_new_tokens": "32",
        "stages[0].dynamic_sampling.rounds": "2",
        "stages[0].knowledge_rate": "0.3",
        "stages[0].divide_by_std": "false",
        "do": "to-text",
    }
    page = client.post(address, fields_of(client.get(address)) | changes)
    written = parse_yaml(TEXT).data["stages"][0]
    assert stage_of(page) == {
        **written,
        "group_size": 4,
        "sampling": {"temperature": 0.7, "max_new_tokens": 32},
        "dynamic_sampling": {"rounds": 2},
        "knowledge_rate": 0.3,
        "divide_by_std": False,
    }


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        (("steps: 5", "steps: 5\n    group_size: 7"), "group_size", "group_size 7 does not divide batch_size 64"),
        (
            ("0.7}", "0.7, max_new_tokens: 512}"),
            "sampling.max_new_tokens",
            "leaves no room for a prompt within sequence_length 512",
        ),
        (("steps: 5", "steps: 5\n    epochs: 2"), "", "give either steps or epochs"),
    ],
)
def test_settings_that_do_not_fit_together_are_named_where_they_stand(
    change: tuple[str, str], field: str, message: str
):
    _, [problem] = check_data(parse_yaml(TEXT.replace(*change)).data)
    assert message in problem.message
    assert problem.field == ("stages[0]." + field).rstrip(".")


def test_every_kind_has_words_of_its_own():
    titles = {kind: title_of(kind) for kind in stage_kinds()}
    assert titles["ink_grpo"] == "InK-GRPO"
    assert titles["cpt"] == "Continued pretraining"
    assert len(set(titles.values())) == len(titles)
    assert title_of("focused_sft") == "Focused sft"  # one without a title, or a reward
