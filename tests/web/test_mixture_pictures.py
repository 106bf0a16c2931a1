"""A mixture as people see it: planned on the page of its recipe, drawn on the page of its run."""

import re
from typing import Any

import pytest
from django.urls import reverse

from chanote.datasets.models import Dataset, DatasetVersion
from chanote.models.models import Model
from chanote.recipes.mixtures import describe_source, list_mixtures, plan_pictures
from chanote.recipes.services import save_revision
from chanote.recipes.yaml_text import parse_yaml
from chanote.runs.ingest import ingest_new_lines
from chanote.runs.leases import claim
from chanote.runs.supervision import write_spec
from tests.installation import add_texts, launch_tiny, newest
from tests.run_rows import log_values, make_run, tell
from tests.trainer_runs import metric, run_here
from tests.web.test_recipe_pages import fields_of, text_of
from trainer.contract import Recipe
from trainer.contract.mixture import MixtureSource

TEXT = """\
base: tiny
stages:
  - kind: cpt
    steps: 100
    batch_size: 2
    sequence_length: 100
    data:
      - {dataset: english, weight: 3}
      - {dataset: german, max_tokens: 1000}
      - {dataset: bavarian, weight: 3, enters: 0.9, max_passes: 4}
"""


@pytest.fixture
def address(project, researcher, tmp_path) -> str:
    Model.objects.create(project=project, slug="tiny", origin="directory", location=str(tmp_path), sha256="0" * 64)
    for slug in ("english", "german", "bavarian"):
        dataset = Dataset.objects.create(project=project, slug=slug, title=slug, kind="text")
        DatasetVersion.objects.create(dataset=dataset, number=1, sha256="a" * 64, rows=50, bytes=2, uses=["train"])
    save_revision(project=project, slug="mine", title="Mine", yaml=TEXT, author=researcher)
    return reverse("recipe", args=["law", "mine"])


def recipe_of(stage: dict[str, Any]) -> Recipe:
    return Recipe.model_validate({"base": "tiny", "stages": [stage]})


def test_the_plan_of_a_mixture_stands_on_the_page_of_its_recipe(client_of, researcher, address):
    # 20,000 tokens: German gives its 1,000 at one in four, so by 20 %; then English alone; 1 : 1 in the last tenth.
    html = client_of(researcher).get(address).content.decode()
    card = html[html.index('id="mixture-1-title"') :].partition("</section>")[0]
    headings = re.findall(r'<th scope="col" class="r nw">([^<]*)</th>', card)
    assert headings == ["0 % to 20 %", "20 % to 90 %", "90 % to 100 %"]
    rows = [re.findall(r'<td class="r nw">([^<]*)</td>', row) for row in card.split("<tr>")[2:]]
    assert rows == [
        ["90 %", "75 %", "100 %", "50 %"],
        ["5 %", "25 %", "0 %", "0 %"],
        ["5 %", "0 %", "0 %", "50 %"],
    ]
    assert "weight 3, enters at 90 %, at most 4 passes" in card
    assert "max_passes is not drawn" in card
    assert 'class="share fill-s s1" d="M' in card


def test_bands_carry_numbers_so_that_no_colour_is_needed(project, researcher, address):
    (picture,) = plan_pictures(recipe_of(parse_yaml(TEXT).data["stages"][0]), project)
    assert [band.number for band in picture.bands if band.label] == [1, 2, 3]
    assert [line.number for line in picture.lines] == [1, 2, 3]


def test_one_source_without_conditions_has_no_picture():
    stage = {"kind": "cpt", "steps": 10, "data": [{"dataset": "english"}]}
    assert list_mixtures(recipe_of(stage)) == []
    assert len(list_mixtures(recipe_of({**stage, "data": [{"dataset": "english", "max_passes": 2}]}))) == 1


def test_caps_that_run_out_are_told_before_the_launch(project):
    stage = {"kind": "cpt", "steps": 10, "batch_size": 1, "sequence_length": 100,
             "data": [{"dataset": "english", "max_tokens": 250}]}  # fmt: skip
    (picture,) = plan_pictures(recipe_of(stage), project)
    assert picture.remarks[0].startswith("From 25 % on nothing is left to draw")


def test_passes_over_prompts_are_known_in_rows(project, address):
    # 100 steps of 2 prompts; two passes over 50 rows are 100 prompts, drawn at 1 : 1, so by the end.
    stage = {"kind": "grpo", "steps": 100, "batch_size": 8, "group_size": 4, "rewards": [{"kind": "exact"}],
             "data": [{"dataset": "english", "max_passes": 1}, {"dataset": "german"}]}  # fmt: skip
    (picture,) = plan_pictures(recipe_of(stage), project)
    assert (picture.unit, picture.columns, picture.remarks) == ("prompts", ["0 % to 50 %", "50 % to 100 %"], [])


def test_what_the_recipe_says_of_a_source_is_said_in_words():
    source = MixtureSource(
        dataset="a", weight=0.5, changes=[{"at": 0.25, "weight": 0}], max_rows=1000, max_tokens=2_000_000
    )
    assert describe_source(source) == (
        "weight 0.5, weight 0 from 25 %, at most 1,000 different rows, at most 2,000,000 tokens"
    )


def test_the_form_has_the_moments_and_caps_and_keeps_what_it_does_not_change(client_of, researcher, address):
    client = client_of(researcher)
    edit = reverse("recipe_edit", args=["law", "mine"])
    before = parse_yaml(TEXT).data["stages"][0]["data"]
    changes = {"stages[0].data[2].enters": "0.8", "stages[0].data[0].max_rows": "20", "do": "to-text"}
    page = client.post(edit, fields_of(client.get(edit)) | changes)
    after = parse_yaml(text_of(page)).data["stages"][0]["data"]
    assert after == [before[0] | {"max_rows": 20}, before[1], before[2] | {"enters": 0.8}]


def test_a_change_of_weight_is_added_in_the_form(client_of, researcher, address):
    client = client_of(researcher)
    edit = reverse("recipe_edit", args=["law", "mine"])
    added = client.post(edit, fields_of(client.get(edit)) | {"do": "add:stages[0].data[0].changes"})
    assert parse_yaml(text_of(added)).data["stages"][0]["data"][0]["changes"] == [{"at": "", "weight": ""}]
    changes = {"stages[0].data[0].changes[0].at": "0.5", "stages[0].data[0].changes[0].weight": "1", "do": "to-text"}
    page = client.post(edit, fields_of(added) | changes)
    assert parse_yaml(text_of(page)).data["stages"][0]["data"][0]["changes"] == [{"at": 0.5, "weight": 1}]


def test_bad_weights_are_told_beside_their_field(client_of, researcher, address):
    client = client_of(researcher)
    edit = reverse("recipe_edit", args=["law", "mine"])
    page = client.post(edit, fields_of(client.get(edit)) | {"stages[0].data[2].enters": "1.5", "do": "to-text"})
    html = page.content.decode()
    slot = html[html.index('id="f-stages-0-data-2-enters-error"') :].partition("</div>")[0]
    assert "must be less than 1" in slot


def test_the_page_of_a_run_shows_what_was_drawn_beside_the_plan(project, client_of, researcher):
    stage = {
        "kind": "cpt",
        "data": [{"dataset": "english@1", "weight": 1.0}, {"dataset": "bavarian@1", "enters": 0.5, "weight": 1.0}],
        "steps": 100,
    }
    run = make_run(project, step=100, snapshot={"recipe": {"base": "b", "stages": [stage]}})
    tell(run, "stage_started", stage=0, kind="cpt", name="", first_step=1, steps=100, notes={})
    # 100 tokens a step, the last half in equal parts
    english = [100.0 * step if step <= 50 else 2500 + 50.0 * step for step in range(1, 101)]
    bavarian = [max(0.0, 50.0 * (step - 50)) for step in range(1, 101)]
    log_values(run, {"mixture/data/english@1/tokens": english, "mixture/data/bavarian@1/tokens": bavarian})
    html = client_of(researcher).get(reverse("run", args=["law", run.number])).content.decode()
    card = html[html.index('id="mixture-1-title"') :].partition("</section>")[0]
    rows = [re.findall(r'<td class="r nw">([^<]*)</td>', row) for row in card.split("<tr>")[2:]]
    assert rows == [["75 %", "75 %", "7,500"], ["25 %", "25 %", "2,500"]]
    # The second band rises in the middle of the picture and ends at the upper edge.
    (_, path) = re.findall(r'<path class="share fill-s s\d" d="(M[^"]*Z)"/>(?!</svg>)', card)[:2]
    assert "L266.0 14.0" in path
    assert "L266.0 89.0" in path


def test_a_mixture_goes_from_recipe_through_a_real_run_to_its_page(project, client_of, researcher):
    """Launched, trained, ingested: the late source is drawn in the second half and the page shows what was counted."""
    for slug, count in (("early", 24), ("late", 12)):
        add_texts(project, slug=slug, count=count)
    data = [{"dataset": "early"}, {"dataset": "late", "enters": 0.5, "weight": 2.0}]
    run = launch_tiny(project, researcher, steps=6, data=data, batch_size=8)
    assert claim(newest(run).pk) == 1
    directory = write_spec(newest(run))
    assert run_here(directory) == 0
    while ingest_new_lines(newest(run).pk, 1):
        pass
    counted = {name: metric(directory, f"mixture/data/{name}@1/tokens") for name in ("early", "late")}
    assert counted["late"][3] == 0 < counted["late"][4]
    html = client_of(researcher).get(reverse("run", args=["law", run.number])).content.decode()
    card = html[html.index('id="mixture-1-title"') :].partition("</section>")[0]
    rows = [re.findall(r'<td class="r nw">([^<]*)</td>', row) for row in card.split("<tr>")[2:]]
    assert [row[2] for row in rows] == [f"{int(values[6]):,}" for values in counted.values()]
    assert [row[1] for row in rows] == ["66.7 %", "33.3 %"]  # half alone, half at 1 : 2


def test_a_run_without_a_mixture_has_no_picture(project, client_of, researcher):
    run = make_run(project, step=10)
    html = client_of(researcher).get(reverse("run", args=["law", run.number])).content.decode()
    assert "Mixture as drawn" not in html
