"""Labels of rollouts: who may give them, what is kept, what survives."""

import re
from types import SimpleNamespace

import pytest
from django.template.loader import render_to_string
from django.test import Client

from chanote.accounts.models import Membership, Project, User
from chanote.audit.models import AuditEvent
from chanote.review.models import Label
from chanote.review.services import set_label
from chanote.runs.models import Attempt, RolloutFile
from tests.review_rows import ask, make_odd_run
from tests.rollout_rows import store_step
from tests.run_rows import add_attempt

pytestmark = pytest.mark.django_db
URL = "/p/law/runs/1/label/"
PAGE = "/p/law/runs/1/rollouts/?step=1&open=0.0"
PLACE = {"step": "1", "group": "0", "index": "0"}


@pytest.fixture
def run(project, researcher, tmp_path):
    return make_odd_run(project, researcher, tmp_path)


def say(client, label: str = "wrong", **fields):
    return client.post(URL, {**PLACE, "label": label, **fields})


def read(answer) -> str:
    return answer.content.decode()


@pytest.mark.parametrize("role", ["researcher", "curator", "admin"])
def test_who_works_in_the_project_labels_and_comes_back_to_the_rollout(role, run, client_of):
    person = User.objects.create(username=f"a-{role}")
    Membership.objects.create(user=person, project=run.project, role=role)
    answer = say(client_of(person), note="Cites  nothing.\r\n ")
    assert answer.status_code == 302
    assert answer["Location"] == "/p/law/runs/1/rollouts/?step=1&open=0.0#rollouts"
    label = Label.objects.get()
    assert (label.label, label.note, label.author, label.attempt) == ("wrong", "Cites  nothing.", person, 1)
    event = AuditEvent.objects.get(verb="rollout.labelled")
    assert (event.actor_name, event.project, event.detail["label"]) == (person.username, run.project, "wrong")


def test_the_list_is_filtered_by_what_people_said(run, researcher, curator, client_of):
    def listed(label: str) -> list[str]:
        page = read(client_of(researcher).get(f"/p/law/runs/1/rollouts/?all=1&label={label}"))
        return re.findall(r'data-walk="([\d.]+)"', page)

    everything = listed("")
    assert listed("any") == []
    say(client_of(researcher))
    say(client_of(curator), "unsure")
    assert listed("any") == listed("wrong") == listed("unsure") == ["1.0.0"]
    assert listed("good") == []
    assert listed("none") == [place for place in everything if place != "1.0.0"]
    api = client_of(researcher).get("/api/v1/projects/law/runs/1/rollout-list/?label=wrong").json()["results"]
    assert [(row["step"], row["group"], row["index"]) for row in api] == [(1, 0, 0)]


def test_a_viewer_reads_labels_and_gives_none(run, researcher, viewer, client_of):
    say(client_of(researcher), note="Bold and wrong.")
    client = client_of(viewer)
    assert say(client).status_code == 403
    assert Label.objects.count() == 1
    page = read(client.get(PAGE))
    assert "Bold and wrong." in page
    assert "data-label-bar" not in page


def test_a_stranger_and_whoever_belongs_to_another_project_learn_nothing(run, stranger, client_of):
    other = Project.objects.create(slug="tax", name="Tax desk")
    outsider = User.objects.create(username="outsider")
    Membership.objects.create(user=outsider, project=other, role="admin")
    for person in (stranger, outsider):
        client = client_of(person)
        assert say(client).status_code == 404
        assert client.get("/p/law/review/").status_code == 404
        assert client.get("/p/law/review/labels/").status_code == 404
        assert client.get("/p/law/review/same-prompt/?at=1.1.0.0").status_code == 404
    # A run of another project is not found under one's own.
    assert client.post("/p/tax/runs/1/label/", {**PLACE, "label": "good"}).status_code == 404
    assert client.get("/p/tax/review/same-prompt/?at=1.1.0.0").status_code == 404
    assert not Label.objects.exists()


def test_a_label_needs_the_token_of_its_form(run, researcher):
    client = Client(enforce_csrf_checks=True)
    client.force_login(researcher, backend="django.contrib.auth.backends.ModelBackend")
    assert say(client).status_code == 403
    assert not Label.objects.exists()


def test_several_people_label_one_rollout_and_each_changes_the_own_label_only(run, researcher, curator, client_of):
    say(client_of(researcher), "good")
    say(client_of(curator), "hacked", note="The judge is fooled.")
    say(client_of(researcher), "unsure")
    assert dict(Label.objects.values_list("author__username", "label")) == {
        "researcher": "unsure", "curator": "hacked",
    }  # fmt: skip
    changed = AuditEvent.objects.get(verb="rollout.label_changed")
    assert (changed.detail["label_before"], changed.detail["label"]) == ("good", "unsure")
    theirs = Label.objects.get(author=curator)
    answer = client_of(researcher).post(URL, {**PLACE, "withdraw": str(theirs.pk)})
    assert answer.status_code == 422
    assert "only they can change it" in read(answer)
    client_of(curator).post(URL, {**PLACE, "withdraw": str(theirs.pk)})
    assert Label.objects.get().author == researcher
    assert AuditEvent.objects.get(verb="rollout.label_withdrawn").detail["note"] == "The judge is fooled."


def test_the_same_label_again_is_no_change(run, researcher, client_of):
    for _ in range(2):
        say(client_of(researcher), "good", note="yes")
    assert Label.objects.count() == 1
    assert AuditEvent.objects.filter(verb__startswith="rollout.").count() == 1


def test_hostile_text_is_shown_as_text(run, researcher, client_of):
    client = client_of(researcher)
    say(client, note="</textarea><script>alert(1)</script>")
    for address in (PAGE, "/p/law/review/labels/", "/p/law/review/same-prompt/?at=1.1.0.0", "/p/law/review/"):
        page = read(client.get(address))
        assert "<script>alert" not in page, address
        assert "<b>Trust me" not in page, address
    assert "&lt;/textarea&gt;&lt;script&gt;alert(1)" in read(client.get(PAGE))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"label": "excellent"}, "The label &#x27;excellent&#x27; is not known; use good, wrong"),
        ({"note": "x" * 2001}, "The note has 2,001 characters; 2,000 fit."),
        ({"note": "a\0b"}, "holds a NUL character"),
        ({"step": "7"}, "Step 7 of law-1 stored no rollouts"),
        ({"group": "999999999"}, "has no rollout 999999999.0"),
    ],
)
def test_bad_input_is_told_and_what_was_typed_is_kept(fields, sentence, run, researcher, client_of):
    client = client_of(researcher)
    note = {"note": "Long thought about this."}
    for headers in ({}, {"X-Live": "1"}):
        answer = client.post(URL, {**PLACE, "label": "wrong", **note, **fields}, headers=headers)
        assert answer.status_code == 422
        assert sentence in read(answer)
        assert fields.get("note", note["note"])[:5] in read(answer).split("<textarea")[1]
    assert not Label.objects.exists()


@pytest.mark.parametrize("place", [{"step": ""}, {"group": "-1"}, {"index": "1" * 30}, {"step": "٣"}])
def test_what_names_no_rollout_is_not_found(place, run, researcher, client_of):
    assert say(client_of(researcher), **place).status_code == 404


def test_a_script_gets_the_bar_alone_with_what_comes_next(run, researcher, client_of):
    client = client_of(researcher)
    client.get("/p/law/review/")
    answer = client.post(URL, {**PLACE, "label": "hacked"}, headers={"X-Live": "1"})
    page = read(answer)
    assert page.count("<section") == 1
    assert "Saved: reward hacked." in page
    assert "?step=1&amp;open=1.0#rollouts" in page
    assert "Judge gives 1.00, but exact gives 0.00." in page


def test_any_page_may_name_the_rollout_as_it_likes(run, researcher, client_of):
    request = client_of(researcher).get(PAGE).wsgi_request
    for spot in ({"step": 1, "group": 1, "index": 0}, SimpleNamespace(step=1, group=1, index=0)):
        page = render_to_string("review/label_bar.html", {"run": run, "rollout": spot}, request)
        assert '<input type="hidden" name="group" value="1">' in page
        link = render_to_string("review/elsewhere.html", {"run": run, "rollout": spot}, request)
        assert "?at=1.1.1.0" in link


def test_labels_survive_when_events_are_read_again(run, researcher, client_of):
    say(client_of(researcher), "good", note="kept")
    RolloutFile.objects.all().delete()
    assert "kept" in read(client_of(researcher).get("/p/law/review/labels/"))
    store_step(run, 1, [ask(0, 0, reward=1.0)])
    page = read(client_of(researcher).get(PAGE))
    assert "kept" in page
    assert 'aria-pressed="true"' in page


def test_what_another_attempt_sampled_in_the_same_place_is_not_labelled_by_it(run, researcher, client_of, tmp_path):
    say(client_of(researcher), "good", note="of the first attempt")
    add_attempt(run, number=2, directory=tmp_path / "second")
    Attempt.objects.filter(run=run, number=2).update(started=run.started)
    store_step(run, 1, [ask(0, 0, reward=1.0, text="Quite another answer.")])
    page = read(client_of(researcher).get(PAGE))
    assert "Quite another answer." in page
    assert "of the first attempt" not in page
    assert "1 label of what an earlier attempt sampled in this place is kept apart." in page
    say(client_of(researcher), "wrong")
    assert dict(Label.objects.values_list("attempt", "label")) == {1: "good", 2: "wrong"}


def test_a_label_stays_with_its_name_when_the_account_goes(run, curator, researcher, client_of):
    set_label(run=run, step=1, group=0, index=0, label="wrong", actor=curator)
    curator.delete()
    assert "curator" in read(client_of(researcher).get("/p/law/review/labels/"))


def test_labels_are_filtered_by_run_label_and_person(run, researcher, curator, client_of):
    set_label(run=run, step=1, group=0, index=0, label="wrong", note="note A", actor=curator)
    set_label(run=run, step=1, group=1, index=0, label="good", note="note B", actor=researcher)
    client = client_of(researcher)
    assert "note A" not in read(client.get("/p/law/review/labels/?label=good")).split("<tbody>")[1]
    assert "note B" not in read(client.get("/p/law/review/labels/?author=curator")).split("<tbody>")[1]
    assert "No label is like that" in read(client.get("/p/law/review/labels/?run=7"))
