"""Checks as people meet them: the tab, a result, its rows; and what stays masked wherever rows are shown."""

import json
import re

import pytest
from checked_rows import take

from chanote.audit.models import AuditEvent
from chanote.boards.services import freeze_task
from chanote.checks.checkers import CHECKS
from chanote.checks.masking import UnmaskRefused, find_mask, mask_row, unmask_row
from chanote.checks.models import CheckSettings
from chanote.checks.running import run_checks
from chanote.datasets.making import make_version
from chanote.errands.doing import do_here
from chanote.errands.models import Errand
from trainer.contract import TaskSpec

pytestmark = pytest.mark.django_db
SECRET = "๐๘๑-๒๓๔-๕๖๗๘"
BASE = "/p/law/datasets/talks/"
API = "/api/v1/projects/law/datasets/talks/versions/1/"


@pytest.fixture(autouse=True)
def plain_static(settings, tmp_path):
    settings.HOME = tmp_path
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture
def version(project):
    rows = [
        {"text": f"โทร {SECRET} ครับ", "by": "a@b.example.org"},
        {"text": "ไม่มีอะไรเลยในแถวนี้"},
        {"text": "ไม่มีอะไรเลยในแถวนี้"},
    ]
    return take(project, "talks", rows, languages=["th"])


@pytest.fixture
def checked(version, tmp_path, curator):
    run_checks(version, list(CHECKS), actor=curator, scratch=tmp_path / "scratch")
    return version


def read(client, url, status=200):
    answer = client.get(url)
    assert answer.status_code == status
    return re.sub(r"\s+", " ", answer.content.decode())


def test_before_any_check_the_tab_offers_them_to_whom_may_run_them(client_of, viewer, curator, version):
    page = read(client_of(viewer), f"{BASE}?tab=checks")
    assert page.count("Not run") == len(CHECKS)
    assert "Run all checks" not in page
    assert "Run all checks" in read(client_of(curator), f"{BASE}?tab=checks")
    assert client_of(viewer).post(f"{BASE}1/checks/").status_code == 403


def test_the_button_starts_an_errand_and_its_end_shows_what_was_found(client_of, curator, version):
    client = client_of(curator)
    answer = client.post(f"{BASE}1/checks/")
    assert (answer.status_code, answer["Location"]) == (302, f"{BASE}?tab=checks&version=1")
    page = read(client, answer["Location"])
    assert "Checking now" in page
    assert "Run all checks</button>" in page
    (errand,) = Errand.objects.all()
    assert do_here(errand).state == "finished"
    page = read(client, f"{BASE}?tab=checks")
    assert "Checking now" not in page
    assert "1 exact and 0 near copies in 1 cluster." in page
    assert 'Checks <span class="count">' in page
    assert client.post(f"{BASE}1/checks/", {"check": "nonsense"}).status_code == 302
    assert "There is no check" in read(client, f"{BASE}?tab=checks")


@pytest.mark.parametrize("name", list(CHECKS))
def test_every_result_has_a_page(client_of, viewer, checked, name):
    page = read(client_of(viewer), f"{BASE}1/checks/{name}/")
    assert CHECKS[name].title in page
    assert SECRET not in page
    assert "5678" not in page
    read(client_of(viewer), f"{BASE}1/checks/{name}/?code=nonsense&start=999999999999999999999")


@pytest.mark.parametrize("start", ["²", "٣", "-1"])
def test_a_start_that_is_no_number_is_the_beginning(client_of, viewer, checked, start):
    client, page = client_of(viewer), f"{BASE}1/checks/personal/"
    shown, first = (read(client, f"{page}?start={one}").split("<main")[1] for one in (start, 0))
    assert shown == first


def test_a_check_that_was_not_run_has_no_page(client_of, viewer, version):
    read(client_of(viewer), f"{BASE}1/checks/schema/", 404)
    read(client_of(viewer), f"{BASE}1/checks/nonsense/", 404)


def test_rows_are_bare_until_something_was_found_and_masked_from_then_on(client_of, viewer, version, tmp_path):
    client = client_of(viewer)
    assert SECRET in read(client, BASE)
    assert not find_mask(version)
    run_checks(version, ["personal"], actor=None, scratch=tmp_path / "scratch")
    page = read(client, BASE)
    assert SECRET not in page
    assert "a@b.example.org" not in page
    assert "โทร ⟦telephone number⟧ ครับ" in page
    rows = client.get(f"{API}rows/").json()["rows"]
    assert rows[0]["content"] == {"by": "⟦e-mail address⟧", "text": "โทร ⟦telephone number⟧ ครับ"}
    assert rows[1]["content"] == {"text": "ไม่มีอะไรเลยในแถวนี้"}
    file = b"".join(client.get(f"{BASE}1.jsonl")).decode()
    assert SECRET not in file
    assert len(file.splitlines()) == 3
    assert mask_row(version, 2, {"text": SECRET}) == {"text": "⟦telephone number⟧"}


def test_a_search_finds_nothing_that_is_masked(client_of, viewer, checked):
    client = client_of(viewer)
    for query in (SECRET, "๐๘๑", "b.example"):
        assert "<mark>" not in read(client, f"{BASE}?q={query}")
        assert client.get(f"{API}rows/", {"q": query}).json()["rows"] == []
    assert "<mark>ไม่มี</mark>" in read(client, f"{BASE}?q=ไม่มี")


def test_a_version_made_of_masked_rows_is_masked_before_its_own_check(project, checked, curator):
    rows = [({"text": f"แก้แล้ว โทร {SECRET}"}, None)]
    given = {"project": project, "kind": "text", "reason": "x", "operation": {"name": "edit_rows"}, "actor": curator}
    drawn = make_version(slug="other", rows=iter(rows), drawn_from=[checked], **given)
    assert mask_row(drawn, 1, rows[0][0])["text"] == "แก้แล้ว โทร ⟦telephone number⟧"
    again = make_version(slug="other", rows=iter([({"text": "อีกครั้ง"}, None)]), drawn_from=[], **given)
    assert find_mask(again)
    assert not find_mask(take(project, "fresh", [{"text": SECRET}]))


def test_a_row_is_shown_as_it_is_with_a_reason_that_the_log_keeps(client_of, viewer, curator, checked):
    address = f"{BASE}1/rows/1/"
    assert SECRET not in read(client_of(viewer), address)
    assert "Take the mask off" not in read(client_of(viewer), address)
    assert client_of(viewer).post(address, {"reason": "because I am curious"}).status_code == 403
    client = client_of(curator)
    refused = client.post(address, {"reason": "  x "})
    assert refused.status_code == 422
    assert "Say why you must see" in refused.content.decode()
    assert SECRET not in refused.content.decode()
    shown = client.post(address, {"reason": "The caller wants her number corrected"})
    assert SECRET in shown.content.decode()
    assert shown["Cache-Control"] == "no-store"
    (event,) = AuditEvent.objects.filter(verb="dataset.row_unmasked")
    assert (event.actor, event.detail) == (curator, {"row": 1, "reason": "The caller wants her number corrected"})
    assert SECRET not in json.dumps(list(AuditEvent.objects.values_list("detail", flat=True)), ensure_ascii=False)
    read(client, f"{BASE}1/rows/4/", 404)
    with pytest.raises(UnmaskRefused, match="has no row 4"):
        unmask_row(checked, 4, reason="a good enough reason", actor=curator)


def test_samples_hold_nothing_personal(checked):
    told = json.dumps([result.samples for result in checked.check_results.all()], ensure_ascii=False)
    assert "⟦telephone number⟧" in told
    assert "๕๖๗๘" not in told
    assert "b.example" not in told


def test_settings_are_made_on_a_page_and_refused_in_words(client_of, viewer, curator, project):
    address = "/p/law/datasets/-/checks/toxicity/"
    assert "Save" not in read(client_of(viewer), address)
    assert client_of(viewer).post(address, {"words": "x"}).status_code == 403
    client = client_of(curator)
    assert client.post(address, {"words": "ฟักทอง\n\nidiosync*\n", "allowed": ""}).status_code == 302
    assert CheckSettings.objects.get().configuration == {"words": ["ฟักทอง", "idiosync*"], "allowed": []}
    assert "ฟักทอง" in read(client, address)
    refused = client.post("/p/law/datasets/-/checks/duplicates/", {"threshold": "7"})
    assert refused.status_code == 422
    assert "less than or equal to 1" in refused.content.decode()
    for name in CHECKS:
        read(client, f"/p/law/datasets/-/checks/{name}/")
    read(client, "/p/law/datasets/-/checks/nonsense/", 404)


def test_over_rest(client_of, viewer, curator, version):
    client = client_of(curator)
    assert client.get(f"{API}checks/").json() == []
    started = client.post(f"{API}checks/", {"checks": ["personal", "duplicates"]}, content_type="application/json")
    assert started.status_code == 202
    assert client_of(viewer).post(f"{API}checks/").status_code == 403
    do_here(Errand.objects.get(pk=started.json()["id"]))
    told = {one["check"]: one for one in client.get(f"{API}checks/").json()}
    assert list(told) == ["personal", "duplicates"]
    assert told["personal"]["counts"]["rows_phone"] == 1
    found = client.get(f"{API}checks/personal/rows/").json()
    assert found["next_start"] is None
    assert [row["number"] for row in found["rows"]] == [1]
    assert SECRET not in json.dumps(found, ensure_ascii=False)
    assert [one["words"] for one in found["rows"][0]["findings"]] == [
        "holds: e-mail address",
        "holds: telephone number",
    ]
    assert client.get(f"{API}checks/duplicates/").json()["detail"]["clusters"] == [
        {"first": 2, "members": [2, 3], "rows": 2}
    ]
    unknown = client.get(f"{API}checks/duplicates/rows/?code=nonsense")
    assert unknown.status_code == 400
    assert unknown.json()["problems"] == [
        {"field": "code", "message": "'nonsense' is nothing that duplicates finds; use exact, near, repeated."}
    ]
    assert client.get(f"{API}checks/schema/").status_code == 404
    bare = client.post(f"{API}rows/1/unmask/", {"reason": "asked for by the person"}, content_type="application/json")
    assert bare.json()["content"]["text"] == f"โทร {SECRET} ครับ"
    assert client.post(f"{API}rows/1/unmask/", {"reason": "x"}, content_type="application/json").status_code == 422
    refused = client_of(viewer).post(
        f"{API}rows/1/unmask/", {"reason": "asked for by them"}, content_type="application/json"
    )
    assert refused.status_code == 403
    unknown = client.post(f"{API}checks/", {"checks": ["nonsense"]}, content_type="application/json")
    assert (unknown.status_code, "There is no check" in unknown.content.decode()) == (422, True)


def test_clean_items_over_rest(client_of, viewer, project, version, tmp_path):
    question = "ผู้เช่าบ้านไม่ชำระค่าเช่าติดต่อกันสองเดือน ผู้ให้เช่าจะบอกเลิกสัญญาได้ทันทีหรือไม่ และต้องบอกกล่าวก่อน"
    exam = take(
        project, "exam", [{"id": "rent", "question": question}, {"id": "x", "question": "2+2?"}], kind="prompts"
    )
    spec = TaskSpec(task="exam", dataset="exam@1", output_type="generate_until", metric="exact_match")
    freeze_task(project=project, definition=spec, dataset_version=exam)
    learnt = take(project, "learnt", [{"text": question}])
    client, address = client_of(viewer), "/api/v1/projects/law/tasks/exam/1/clean-items/?version="
    assert client.get(f"{address}learnt@1").json()["checked"] is False
    run_checks(learnt, ["overlap"], actor=None, scratch=tmp_path / "scratch")
    told = client.get(f"{address}learnt").json()
    assert told == {"checked": True, "held": {"rent": 1.0}, "source": [], "untold": ["x"]}
    assert client.get(f"{address}nothing").status_code == 400
    page = read(client, "/p/law/datasets/learnt/1/checks/overlap/")
    assert "1 of 2 items of 1 task stand in the rows." in page
    assert 'question in <a href="/p/law/datasets/learnt/1/rows/1/">row 1</a>' in page
