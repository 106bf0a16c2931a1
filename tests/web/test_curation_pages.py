"""Review, queue, drafts, bulk changes and differences as pages, without any script."""

import re

import pytest
from curated_rows import EVERY_POINT, sections, take
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chanote.audit.models import AuditEvent
from chanote.checks.models import CheckResult
from chanote.curation.changes import find_change_set, operations_of, record_change
from chanote.curation.models import Comment, Glance, Standing, State
from chanote.curation.selectors import state_of
from chanote.datasets.features import AT_ONCE
from chanote.errands.doing import do_here
from chanote.errands.models import Errand

BASE = "/p/law/datasets/law/"


@pytest.fixture(autouse=True)
def _own_home(settings, tmp_path):
    settings.HOME = tmp_path


@pytest.fixture
def version(project, researcher):
    return take(project, sections(8), actor=researcher)


def read(client, url, status=200):
    answer = client.get(url)
    assert answer.status_code == status, answer.content.decode()[:2000]
    return re.sub(r"\s+", " ", answer.content.decode())


def send(client, url, status=302, **fields):
    answer = client.post(url, fields)
    assert answer.status_code == status, answer.content.decode()[:2000]
    return answer


def test_a_review_from_draft_to_approval_in_two_browsers(version, client_of, researcher, curator, project):
    project.reviews_data = True
    project.save()
    page = read(client_of(researcher), f"{BASE}?tab=review")
    assert "Until it is approved, it may not train a model" in page
    send(client_of(researcher), f"{BASE}1/review/", act="ask", reason="please look")
    own = read(client_of(researcher), f"{BASE}?tab=review")
    assert "You made this version, so somebody else must sign it." in own
    assert 'value="sign"' not in own
    client = client_of(curator)
    page = read(client, f"{BASE}?tab=review")
    assert "“please look”" in page
    send(client, f"{BASE}1/review/", act="sign", checklist=["origin"])
    page = read(client, f"{BASE}?tab=review")
    assert "Confirm each point before you sign" in page
    send(client, f"{BASE}1/review/", act="sign", checklist=list(EVERY_POINT))
    assert state_of(version) == State.APPROVED
    assert "Approved" in read(client_of(researcher), BASE)


def test_a_post_by_hand_does_not_approve_ones_own(version, client_of, researcher):
    client = client_of(researcher)
    send(client, f"{BASE}1/review/", act="ask")
    send(client, f"{BASE}1/review/", act="sign", checklist=list(EVERY_POINT))
    assert state_of(version) == State.IN_REVIEW
    assert "You made this version" in read(client, f"{BASE}?tab=review")


def test_what_was_typed_into_a_refused_act_is_still_there(version, client_of, researcher, curator):
    send(client_of(researcher), f"{BASE}1/review/", act="ask")
    client = client_of(curator)
    send(client, f"{BASE}1/review/", act="sign", reason="a careful note")
    assert "a careful note" in read(client, f"{BASE}?tab=review")


def test_comments_on_a_version_and_on_a_row(version, client_of, curator, viewer):
    client = client_of(curator)
    send(client, f"{BASE}1/review/", act="comment", text="A <b>bold</b> claim")
    send(client, f"{BASE}1/queue/", act="comment", row=3, text="of this row")
    page = read(client, f"{BASE}?tab=review")
    assert "A &lt;b&gt;bold&lt;/b&gt; claim" in page
    assert f'href="{BASE}1/queue/?row=3"' in page
    assert "of this row" in read(client, f"{BASE}1/queue/?row=3")
    assert client_of(viewer).post(f"{BASE}1/review/", {"act": "comment", "text": "x"}).status_code == 403
    assert Comment.objects.count() == 2


def test_the_queue_goes_from_row_to_row_and_keeps_each_decision(version, client_of, curator):
    client = client_of(curator)
    page = read(client, f"{BASE}1/queue/")
    assert "Row 1" in page
    for key in "jare":
        assert f'data-key="{key}"' in page
    assert send(client, f"{BASE}1/queue/", act="accept", row=1)["Location"].endswith("?row=2")
    assert send(client, f"{BASE}1/queue/", act="reject", row=2)["Location"].endswith("?row=3")
    assert "2 of 8 decided by you" in read(client, f"{BASE}1/queue/?row=3")
    assert "Row 3" in read(client, f"{BASE}1/queue/?only=undecided")
    assert "Rejected by you" in read(client, f"{BASE}1/queue/?row=2")
    send(client, f"{BASE}1/queue/", act="undo", row=2, number=1)
    assert operations_of(find_change_set(version, curator)) == []
    send(client, f"{BASE}1/queue/", act="forget", row=1)
    assert not Glance.objects.exists()


def test_the_filter_of_the_queue_stays_through_a_decision(version, client_of, curator):
    client = client_of(curator)
    assert "Row 5" in read(client, f"{BASE}1/queue/?q=ข้อ 5")
    answer = send(client, f"{BASE}1/queue/", act="flag", row=5, flag="odd", asked="q=ข้อ&only=undecided")
    assert "only=undecided" in answer["Location"]
    page = read(client, answer["Location"])
    assert "odd" in page
    assert "8 rows found" in page


def test_masked_rows_are_merged_by_whoever_gives_a_reason_to_see_them(project, client_of, researcher, curator):
    rows = [{"text": "ask somchai@example.org"}, {"text": "nothing here"}, {"text": "ask malee@example.org"}]
    version = take(project, rows, actor=researcher)
    CheckResult.objects.create(version=version, check_name="personal", check_version=1, key="k", rows=3, found_rows=2)
    client, queue = client_of(curator), f"{BASE}1/queue/"
    page = read(client, f"{queue}?row=2&mode=merge&with=1+3")
    assert "Rows 1, 3 hold masked personal data." in page
    assert "example.org" not in page
    merge = {"act": "unmask", "mode": "merge", "row": 2, "with": "1 2 3"}
    assert "Say why you must see it" in send(client, queue, 422, **merge, reason="no").content.decode()
    assert not AuditEvent.objects.filter(verb="dataset.row_unmasked").exists()
    shown = send(client, queue, 200, **merge, reason="one person asks twice").content.decode()
    assert "ask somchai@example.org\\n\\nnothing here\\n\\nask malee@example.org" in shown
    seen = AuditEvent.objects.filter(verb="dataset.row_unmasked").order_by("pk")
    assert [(event.detail["row"], event.detail["reason"]) for event in seen] == [
        (1, "one person asks twice"), (3, "one person asks twice"),
    ]  # fmt: skip
    send(client, queue, act="save", mode="merge", row=2, **{"with": "1 2 3", "json": '{"text": "ask x@example.org"}'})
    (operation,) = operations_of(find_change_set(version, curator))
    assert operation == {"op": "merge", "merged": [1, 2, 3], "content": {"text": "ask x@example.org"}}


def test_a_row_is_edited_split_merged_and_labelled(version, client_of, curator):
    client = client_of(curator)
    page = read(client, f"{BASE}1/queue/?row=1&mode=edit")
    assert 'name="text.text"' in page
    send(client, f"{BASE}1/queue/", act="save", mode="edit", row=1, **{"text.text": "ใหม่\r\nหมด"})
    send(client, f"{BASE}1/queue/", act="save", mode="split", row=2, json='{"text": "a"}\n{"text": "b"}')
    assert "ว่าด้วยข้อ 4" in read(client, f"{BASE}1/queue/?row=3&mode=merge&with=4")
    send(client, f"{BASE}1/queue/", **{"act": "save", "mode": "merge", "row": 3, "with": "4", "json": '{"text": "34"}'})
    send(client, f"{BASE}1/queue/", act="label", row=5, label="quality=good")
    kept = operations_of(find_change_set(version, curator))
    assert [one["op"] for one in kept] == ["edit", "split", "merge", "label"]
    assert kept[0]["content"] == {"section_num": "1", "text": "ใหม่\nหมด"}
    page = read(client, f"{BASE}1/changes/")
    assert "Merge rows 3, 4 into one" in page
    send(client, f"{BASE}1/changes/", status=422, act="apply", reason=" ")
    answer = send(client, f"{BASE}1/changes/", act="apply", reason="by hand")
    page = read(client, answer["Location"])
    assert "<ins>" in page
    assert "Changed" in page
    assert version.dataset.versions.first().reason == "by hand"


def test_a_bad_edit_says_why_and_keeps_what_was_typed(version, client_of, curator):
    answer = send(client_of(curator), f"{BASE}1/queue/", 422, act="save", mode="json", row=1, json='{"text": "half')
    page = answer.content.decode()
    assert "Line 1 is no JSON" in page
    assert "{&quot;text&quot;: &quot;half" in page


def test_masked_rows_stay_masked_until_somebody_says_why(project, client_of, curator, viewer, researcher):
    version = take(project, [{"text": "Write to somchai@example.org about it"}, {"text": "plain"}], actor=researcher)
    CheckResult.objects.create(version=version, check_name="personal", check_version=1, key="k", rows=2, found_rows=1)
    client = client_of(curator)
    for address in (BASE, f"{BASE}1/queue/?row=1", f"{BASE}1/queue/?row=1&mode=edit"):
        assert "somchai@example.org" not in read(client, address)
    assert 'data-key="e"' not in read(client, f"{BASE}1/queue/?row=1")
    assert 'data-key="e"' in read(client, f"{BASE}1/queue/?row=2")
    page = send(client, f"{BASE}1/queue/", 422, act="unmask", row=1, reason="no").content.decode()
    assert "somchai@example.org" not in page
    page = send(client, f"{BASE}1/queue/", 422, act="save", mode="edit", row=1, unmasked="1").content.decode()
    assert "somchai@example.org" not in page
    page = send(client, f"{BASE}1/queue/", 200, act="unmask", row=1, reason="the owner asked to see it", mode="edit")
    assert "somchai@example.org" in page.content.decode()
    event = AuditEvent.objects.get(verb="dataset.row_unmasked")
    assert (event.actor, event.detail["reason"]) == (curator, "the owner asked to see it")
    assert (
        client_of(viewer).post(f"{BASE}1/queue/", {"act": "unmask", "row": 1, "reason": "curious me"}).status_code
        == 403
    )
    # What is made of them is masked too, before any check has looked at it.
    send(client, f"{BASE}1/queue/", act="flag", row=2, flag="odd")
    send(client, f"{BASE}1/changes/", act="apply", reason="flagged")
    for address in (BASE, f"{BASE}?tab=diff", f"{BASE}2/queue/?row=1"):
        assert "somchai@example.org" not in read(client, address)


def test_what_is_masked_is_neither_found_nor_handed_out(project, client_of, curator, researcher):
    version = take(project, [{"text": "Write to somchai@example.org about it"}], actor=researcher)
    CheckResult.objects.create(version=version, check_name="personal", check_version=1, key="k", rows=1, found_rows=1)
    client = client_of(curator)
    answer = client.get("/api/v1/projects/law/datasets/law/versions/1/rows/")
    assert "somchai@example.org" not in answer.content.decode()
    assert b"somchai@example.org" not in b"".join(client.get(f"{BASE}1.jsonl").streaming_content)
    assert "1 found" in read(client, f"{BASE}?q=write")
    assert "No row holds" in read(client, f"{BASE}?q=somchai")
    assert "No row is left here" in read(client, f"{BASE}1/queue/?q=somchai")
    assert "No row answers" in read(client, f"{BASE}1/bulk/?act=reject&q=somchai", 422)


def test_a_draft_is_carried_over_on_its_page(project, version, client_of, curator, researcher):
    client = client_of(curator)
    send(client, f"{BASE}1/queue/", act="reject", row=8)
    take(project, sections(9)[1:], actor=researcher)
    page = read(client, f"{BASE}1/changes/")
    assert "Carry over to version 2" in page
    answer = send(client, f"{BASE}1/changes/", act="carry")
    assert answer["Location"] == f"{BASE}2/changes/"
    assert "Reject row 7" in read(client, answer["Location"])


def test_many_rows_are_shown_before_they_are_changed(version, client_of, curator):
    client = client_of(curator)
    page = read(client, f"{BASE}1/bulk/?act=reject&q=ข้อ&rows=2-4")
    assert "Reject 3 rows" in page
    assert "3 of 8 rows" in page
    assert find_change_set(version, curator) is None
    send(client, f"{BASE}1/bulk/", act="reject", q="ข้อ", rows="2-4", do="yes", why="cut off")
    assert operations_of(find_change_set(version, curator)) == [{"op": "reject", "rows": [[2, 4]], "why": "cut off"}]
    for query, words in (
        ("act=reject", "Say which rows"),
        ("act=reject&rows=x", "neither a row number"),
        ("act=flag&rows=1", "one word"),
        ("act=reject&q=nowhere", "No row answers"),
        ("act=copies", "No row is an exact copy"),
    ):
        assert words in read(client, f"{BASE}1/bulk/?{query}", 422)


def test_a_viewer_sees_the_queue_and_changes_nothing(version, client_of, viewer):
    client = client_of(viewer)
    page = read(client, f"{BASE}1/queue/")
    assert 'data-key="j"' in page
    assert 'data-key="a"' not in page
    assert client.post(f"{BASE}1/queue/", {"act": "reject", "row": 1}).status_code == 403
    assert client.get(f"{BASE}1/bulk/").status_code == 403


def test_differences_are_told_row_by_row(project, version, researcher, client_of, viewer):
    rows = sections(8)
    rows[2]["text"] = "มาตรา 3 แก้แล้ว"
    del rows[5]
    take(project, [*rows, {"text": "<b>ใหม่</b>"}], actor=researcher)
    page = read(client_of(viewer), f"{BASE}?tab=diff")
    assert "+1 −1 ~1, 6 kept" in page
    assert "&lt;b&gt;" in page
    assert "<del>" in page
    page = read(client_of(viewer), f"{BASE}?tab=diff&kind=removed")
    assert "row 6 of version 1" in page
    assert "Both versions hold the same rows" not in page


def test_the_pages_ask_a_fixed_number_of_queries(project, version, client_of, curator):
    client = client_of(curator)

    def count(address):
        client.get(address)
        with CaptureQueriesContext(connection) as asked:
            assert client.get(address).status_code == 200
        return len(asked)

    addresses = [f"{BASE}?q=ข้อ", f"{BASE}?language=th", f"{BASE}1/queue/?row=2", f"{BASE}1/queue/?q=ข้อ", BASE]
    record_change(version, {"op": "flag", "rows": [[1, 8]], "flag": "first"}, actor=curator)
    few = [count(address) for address in addresses]
    more = take(project, sections(3_000), slug="more", actor=curator)
    for number in range(5):
        for one in (version, more):
            record_change(one, {"op": "flag", "rows": [[1, 8]], "flag": f"f{number}"}, actor=curator)
    assert [count(address) for address in addresses] == few
    assert [count(address.replace("/law/", "/more/").replace("/p/more/", "/p/law/")) for address in addresses] == few


def test_a_large_version_gets_its_table_from_an_errand(project, client_of, curator, monkeypatch):
    monkeypatch.setattr("chanote.curation.queue.AT_ONCE", 5)
    monkeypatch.setattr("chanote.curation.views.AT_ONCE", 5)
    assert AT_ONCE > 1000
    version = take(project, sections(9))
    client = client_of(curator)
    page = read(client, f"{BASE}1/queue/?q=ข้อ 7")
    assert "The filter waits for the table" in page
    read(client, f"{BASE}1/bulk/")
    do_here(Errand.objects.get(kind="curation.index"))
    assert "Row 7" in read(client, f"{BASE}1/queue/?q=ข้อ 7")
    send(client, f"{BASE}1/queue/", act="reject", row=7)
    answer = send(client, f"{BASE}1/changes/", act="apply", reason="in the background")
    assert "/errands/" in answer["Location"]
    ended = do_here(Errand.objects.get(kind="curation.apply"))
    assert (ended.state, ended.result["version"]) == ("finished", "law@2")
    assert find_change_set(version, curator) is None


def test_a_withdrawn_version_says_so_everywhere(version, client_of, curator, viewer):
    send(client_of(curator), f"{BASE}1/review/", act="withdraw", reason="the owner took it back")
    assert Standing.objects.get(version=version).state == State.WITHDRAWN
    page = read(client_of(viewer), BASE)
    assert "Withdrawn" in page
    assert "the owner took it back" in read(client_of(viewer), f"{BASE}?tab=audit")
