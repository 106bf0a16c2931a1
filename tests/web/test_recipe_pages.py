"""The recipe pages: form and text agree, nothing typed is lost, a ready recipe is launched."""

import io
import re

import pytest
from django.urls import reverse

from chanote.datasets.models import Dataset, DatasetVersion
from chanote.models.models import Model
from chanote.recipes.models import Recipe, Revision
from chanote.recipes.services import load_library, save_revision
from chanote.recipes.yaml_text import parse_yaml

TEXT = """\
# Why this exists
base: tiny
stages:
  - kind: sft
    data:
      - {dataset: talk}
    steps: 5
"""


@pytest.fixture
def material(project, tmp_path):
    """A model, a chat dataset that may be trained on and one that may not."""
    Model.objects.create(project=project, slug="tiny", origin="directory", location=str(tmp_path), sha256="0" * 64)
    for slug, uses in (("talk", ["train", "evaluate"]), ("exam-talk", ["evaluate"])):
        dataset = Dataset.objects.create(project=project, slug=slug, title=slug, kind="chat")
        DatasetVersion.objects.create(dataset=dataset, number=1, sha256="a" * 64, rows=1, bytes=2, uses=uses)


@pytest.fixture
def recipe(project, researcher, material):
    return save_revision(project=project, slug="mine", title="Mine", yaml=TEXT, author=researcher).recipe


def url(name: str, *rest: str) -> str:
    return reverse(name, args=["law", *rest])


def fields_of(page) -> dict[str, list[str]]:
    """Names and values of the form as a browser without JavaScript would send them."""
    html = page.content.decode()
    form = html[html.index('id="recipe-form"') :]
    fields: dict[str, list[str]] = {}
    for tag in re.findall(r"<input [^>]*>", form):
        name, value = re.search(r' name="([^"]*)"', tag), re.search(r' value="([^"]*)"', tag)
        if name and ('type="checkbox"' not in tag or " checked" in tag):
            fields.setdefault(name[1], []).append(unescape(value[1] if value else ""))
    for name, body in re.findall(r'<textarea [^>]*name="([^"]*)"[^>]*>\n(.*?)</textarea>', form, re.S):
        fields.setdefault(name, []).append(unescape(body))
    for name, body in re.findall(r'<select [^>]*name="([^"]*)"[^>]*>(.*?)</select>', form, re.S):
        chosen = re.search(r'value="([^"]*)" selected', body)
        fields.setdefault(name, []).append(unescape(chosen[1] if chosen else ""))
    fields.pop("csrfmiddlewaretoken", None)
    return fields


def unescape(text: str) -> str:
    import html

    return html.unescape(text)


def text_of(page) -> str:
    return fields_of(page)["yaml"][0]


def test_the_list_offers_the_library_to_an_empty_project(client_of, researcher, project):
    client = client_of(researcher)
    assert "Add the library recipes" in client.get(url("recipes")).content.decode()
    page = client.post(url("recipe_library"), follow=True).content.decode()
    assert "recipes were added from the library" in page
    assert "Learn a new code of law" in page


def test_a_form_sent_back_untouched_changes_nothing(client_of, researcher, recipe):
    client = client_of(researcher)
    page = client.get(url("recipe_edit", "mine"))
    answer = client.post(url("recipe_edit", "mine"), fields_of(page) | {"do": "save"}, follow=True)
    assert "The text is that of revision 1: no new revision was made." in answer.content.decode()
    assert Revision.objects.count() == 1


def test_every_library_recipe_survives_the_form(client_of, researcher, project):
    load_library(project, researcher)
    client = client_of(researcher)
    for one in Recipe.objects.all():
        page = client.get(url("recipe_edit", one.slug))
        answer = client.post(url("recipe_edit", one.slug), fields_of(page) | {"do": "to-text"})
        assert text_of(answer) == one.revisions.get().yaml


def test_a_number_changed_in_the_form_changes_its_line_of_the_text(client_of, researcher, recipe):
    client = client_of(researcher)
    fields = fields_of(client.get(url("recipe_edit", "mine")))
    fields["stages[0].steps"] = ["70"]
    fields["stages[0].optimizer.learning_rate"] = ["3e-4"]
    page = client.post(url("recipe_edit", "mine"), fields | {"do": "to-text"})
    assert text_of(page) == TEXT.replace("steps: 5", "steps: 70\n    optimizer: {learning_rate: 0.0003}")


def test_a_changed_text_changes_the_form(client_of, researcher, recipe):
    client = client_of(researcher)
    fields = fields_of(client.get(url("recipe_edit", "mine")))
    fields["yaml"] = [TEXT.replace("steps: 5", "epochs: 2")]
    after = fields_of(client.post(url("recipe_edit", "mine"), fields | {"do": "to-form"}))
    assert after["stages[0].steps"] == [""]
    assert after["stages[0].epochs"] == ["2"]


def test_a_broken_text_keeps_form_and_text_and_names_the_line(client_of, researcher, recipe):
    client = client_of(researcher)
    fields = fields_of(client.get(url("recipe_edit", "mine")))
    broken = TEXT + "  - [\n"
    answer = client.post(url("recipe_edit", "mine"), fields | {"yaml": broken, "do": "save"})
    assert answer.status_code == 422
    assert "cannot be read as YAML" in answer.content.decode()
    after = fields_of(answer)
    assert after["yaml"][0] == broken
    assert after["stages[0].steps"] == ["5"]
    assert Revision.objects.count() == 1


def test_changes_in_both_are_never_merged_silently(client_of, researcher, recipe):
    client = client_of(researcher)
    fields = fields_of(client.get(url("recipe_edit", "mine")))
    fields |= {"yaml": [TEXT.replace("5", "6")], "stages[0].steps": ["7"], "do": ["save"]}
    answer = client.post(url("recipe_edit", "mine"), fields)
    assert "The text and the form were both changed" in answer.content.decode()
    assert fields_of(answer)["yaml"] == [TEXT.replace("5", "6")]
    assert fields_of(answer)["stages[0].steps"] == ["7"]
    assert Revision.objects.count() == 1


def test_what_is_no_number_comes_back_with_its_error(client_of, researcher, recipe):
    client = client_of(researcher)
    fields = fields_of(client.get(url("recipe_edit", "mine")))
    answer = client.post(url("recipe_edit", "mine"), fields | {"stages[0].steps": "many", "do": "save"})
    html = answer.content.decode()
    assert fields_of(answer)["stages[0].steps"] == ["many"]
    assert '<a class="mono" href="#f-stages-0-steps">stages[0].steps</a>: must be a whole number (line 7)' in html
    assert 'id="f-stages-0-steps-error" class="error-slot"><p class="error">' in html


def test_stages_are_added_moved_and_removed_by_buttons(client_of, researcher, recipe):
    client = client_of(researcher)
    address = url("recipe_edit", "mine")
    page = client.post(address, fields_of(client.get(address)) | {"do": "add-stage:evaluate"})
    kinds = [stage["kind"] for stage in parse_yaml(text_of(page)).data["stages"]]
    assert kinds == ["sft", "evaluate"]
    page = client.post(address, fields_of(page) | {"do": "up:stages[1]"})
    assert [stage["kind"] for stage in parse_yaml(text_of(page)).data["stages"]] == ["evaluate", "sft"]
    page = client.post(address, fields_of(page) | {"do": "remove:stages[0]"})
    assert text_of(page).startswith("# Why this exists")
    assert parse_yaml(text_of(page)).data == parse_yaml(TEXT).data
    page = client.post(address, fields_of(page) | {"do": "add:stages[0].data"})
    assert parse_yaml(text_of(page)).data["stages"][0]["data"] == [{"dataset": "talk"}, {"dataset": ""}]


def test_a_dataset_for_evaluation_only_cannot_be_chosen_and_says_why(client_of, researcher, recipe):
    html = client_of(researcher).get(url("recipe_edit", "mine")).content.decode()
    assert '<option value="exam-talk" disabled>exam-talk, newest (now version 1): evaluation only</option>' in html
    assert re.search(r'<option value="talk" selected>', html)


def test_live_typing_answers_with_the_other_side_only(client_of, researcher, recipe):
    client = client_of(researcher)
    fields = fields_of(client.get(url("recipe_edit", "mine")))
    live = {"HX-Request": "true"}
    text = client.post(url("recipe_edit", "mine"), fields | {"stages[0].steps": "9", "live": "form"}, headers=live)
    assert "steps: 9" in text.content.decode()
    assert 'id="form-panel"' not in text.content.decode()
    fields["yaml"] = [TEXT.replace("steps: 5", "steps: 8")]
    form = client.post(url("recipe_edit", "mine"), fields | {"live": "text"}, headers=live).content.decode()
    assert 'name="stages[0].steps" value="8"' in form
    assert '<textarea class="input mono yaml"' not in form


def test_someone_elses_new_revision_is_not_overwritten_unseen(client_of, researcher, recipe, project):
    client = client_of(researcher)
    fields = fields_of(client.get(url("recipe_edit", "mine")))
    save_revision(project=project, slug="mine", yaml=TEXT.replace("5", "50"), author=researcher)
    changed = fields | {"yaml": TEXT.replace("5", "6"), "do": "save"}
    answer = client.post(url("recipe_edit", "mine"), changed)
    assert "researcher saved revision 2 while you were writing" in answer.content.decode()
    client.post(url("recipe_edit", "mine"), fields_of(answer) | {"do": "save"})
    assert Recipe.objects.get().revisions.first().number == 3


def test_a_new_recipe_is_saved_under_its_name(client_of, researcher, material):
    client = client_of(researcher)
    fields = fields_of(client.get(url("recipe_new")))
    bad = client.post(url("recipe_new"), fields | {"slug": "No Name", "title": "T", "yaml": TEXT, "do": "save"})
    assert bad.status_code == 422
    assert "lower-case letters" in bad.content.decode()
    answer = client.post(url("recipe_new"), fields_of(bad) | {"slug": "fresh", "do": "save"})
    assert answer.url == url("recipe", "fresh")
    assert Recipe.objects.get(slug="fresh").title == "T"


def test_detail_shows_obstacles_at_their_lines_and_refuses_launch(client_of, researcher, recipe):
    html = client_of(researcher).get(url("recipe", "mine")).content.decode()
    assert "Not ready: " in html
    assert 'class="ln why"' in html
    answer = client_of(researcher).post(url("recipe_launch", "mine"), {"revision": "1"}, follow=True)
    assert "stages[0].data[0].dataset" in answer.content.decode()


def test_save_and_launch_saves_the_change_and_launches_that_revision(client_of, researcher, material, recipe, project):
    from chanote.datasets.services import import_dataset
    from chanote.runs.models import Run

    row = b'{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}\n'
    import_dataset(
        project=project, slug="talk", kind="chat", file=io.BytesIO(row), format="jsonl", reason="rows", actor=researcher
    )
    client = client_of(researcher)
    page = client.get(url("recipe_edit", "mine"))
    assert "Ready" in page.content.decode()
    fields = fields_of(page) | {"stages[0].steps": "11", "run_name": "from the form", "do": "launch"}
    answer = client.post(url("recipe_edit", "mine"), fields)
    run = Run.objects.get()
    assert answer.url == reverse("run", args=["law", run.number])
    assert (run.name, run.revision.number, run.total_steps) == ("from the form", 2, 11)


def test_the_difference_of_two_revisions_in_meaning_and_in_words(client_of, researcher, recipe, project):
    save_revision(project=project, slug="mine", yaml=TEXT.replace("5", "50"), author=researcher)
    html = client_of(researcher).get(url("recipe_diff", "mine")).content.decode()
    assert '<th scope="row" class="mono">stages[0].steps</th><td class="mono">5</td><td class="mono">50</td>' in html
    assert '<span class="ln del">    steps: 5</span><span class="ln add">    steps: 50</span>' in html


def test_viewers_read_and_strangers_learn_nothing(client_of, viewer, stranger, recipe):
    page = client_of(viewer).get(url("recipe", "mine"))
    assert page.status_code == 200
    assert "Launch revision" not in page.content.decode()
    assert client_of(viewer).get(url("recipe_edit", "mine")).status_code == 403
    assert client_of(viewer).post(url("recipe_launch", "mine"), {"revision": "1"}).status_code == 403
    for name, rest in (("recipes", []), ("recipe", ["mine"]), ("recipe_edit", ["mine"]), ("recipe_diff", ["mine"])):
        assert client_of(stranger).get(url(name, *rest)).status_code == 404
