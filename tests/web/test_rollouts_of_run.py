"""The list of all rollouts of a run: filters, orders, search in any language, pages, picks, export, and over REST."""

import json
import re

import pytest
from django.http import QueryDict

from chanote.runs.models import Attempt, RolloutRow
from chanote.runs.rollout_list import SORTS, RolloutList, RolloutWish, read_rollout_wish
from tests.rollout_rows import make_episode, make_rollout, make_tool_call, store_step
from tests.run_rows import add_attempt, make_run, save_checkpoint

pytestmark = pytest.mark.django_db
URL = "/p/law/runs/1/rollouts/"
API = "/api/v1/projects/law/runs/1/"


@pytest.fixture
def run(project, researcher, tmp_path):
    made = make_run(project, step=3, owner=researcher, state="finished")
    Attempt.objects.filter(run=made).update(directory=str(tmp_path))
    return made


@pytest.fixture
def client(researcher, client_of):
    return client_of(researcher)


def places(page: str) -> list[str]:
    return re.findall(r'data-walk="([\d.]+)"', page)


@pytest.fixture
def stored(run):
    """Three steps; each rollout is unlike the others."""
    store_step(run, 1, [
        make_rollout(0, 0, reward=1.0, tokens=["Section ", "7 ", "applies."]),
        make_rollout(0, 1, reward=0.0, tokens=["ค่าปรับ", "ไม่เกินห้าพันบาท"], stop_reason="length"),
    ])  # fmt: skip
    calls = [
        make_tool_call("0.0", call="a", step=2),
        make_tool_call("0.1", call="b", step=2, status="rejected", tries=0, output="Error: not valid JSON."),
        make_tool_call("1.0", call="c", step=2, status="timeout"),
        make_tool_call("1.0", call="d", step=2),
    ]
    store_step(run, 2, [
        make_episode(0, 0, reward=1.0), make_episode(0, 1, reward=0.0), make_episode(1, 0, reward=0.5),
        make_episode(1, 1, reward=None, rewards={"exact": None}, masked="judge: no answer in time"),
    ], calls=calls)  # fmt: skip
    store_step(run, 5, [make_episode(0, 0, reward=-1.0, stop_reason="turn_limit", advantage=-2.0)])


QUERIES = [
    ("all=1", ["1.0.0", "1.0.1", "2.0.0", "2.0.1", "2.1.0", "2.1.1", "5.0.0"]),
    ("all=1&sort=-place", ["5.0.0", "2.1.1", "2.1.0", "2.0.1", "2.0.0", "1.0.1", "1.0.0"]),
    ("from=2", ["2.0.0", "2.0.1", "2.1.0", "2.1.1", "5.0.0"]),
    ("from=2&to=4&low=0.5", ["2.0.0", "2.1.0"]),
    ("all=1&sort=reward", ["5.0.0", "1.0.1", "2.0.1", "2.1.0", "1.0.0", "2.0.0", "2.1.1"]),
    ("all=1&sort=-calls&flag=tool_error", ["2.1.0"]),
    ("all=1&flag=malformed", ["2.0.1"]),
    ("all=1&flag=failing", ["1.0.1", "2.0.1", "2.1.0", "2.1.1", "5.0.0"]),
    ("all=1&flag=no_calls", ["1.0.0", "1.0.1", "2.1.1", "5.0.0"]),
    ("all=1&flag=failing&flag=no_calls&high=0", ["1.0.1", "5.0.0"]),
    ("all=1&stop=turn_limit", ["5.0.0"]),
    ("all=1&ending=cut", ["1.0.1", "5.0.0"]),
    ("all=1&gradient=masked", ["2.1.1"]),
    ("all=1&stop=drop+table", []),
    ("all=1&q=SECTION+7", ["1.0.0"]),
    ("all=1&q=ปรับไม่", ["1.0.1"]),  # within a line of Thai, over the edge of two words and two tokens
    ("all=1&q=which+ACT", ["2.0.0", "2.0.1", "2.1.0", "2.1.1", "5.0.0"]),
    ("all=1&q=question+1?", ["2.1.0", "2.1.1"]),  # in the prompt
    ("all=1&q=7", ["1.0.0"]),
    ("all=1&q=%25", []),
    ("all=1&q=%22+OR+NEAR(", []),
    ("all=1&q=in+time&gradient=masked", ["2.1.1"]),
    ("all=1&q=which+sections", []),
]


def test_a_run_is_filtered_ordered_and_searched_over_all_steps(stored, run):
    list_all(run)
    for query, expected in QUERIES:
        found = RolloutList(run, read_rollout_wish(QueryDict(query))).page()
        assert [str(row) for row in found.rows] == expected, query


def test_the_page_shows_what_the_address_asks_for(stored, client):
    assert places(client.get(f"{URL}?all=1&flag=failing&sort=-place").content.decode())[0] == "5.0.0"
    page = client.get(f"{URL}?all=1&stop=drop+table").content.decode()
    assert "None of the 7 rollouts of these steps is like that." in page


def test_other_spellings_of_the_same_signs_are_found(run):
    store_step(run, 1, [make_rollout(tokens=["คํา", "สั่ง ", "Café"])])
    list_all(run)
    for words in ("คำสั่ง", "cafe\u0301", "CAFÉ", "ＣＡＦÉ"):
        assert RolloutList(run, RolloutWish(words=words)).count() == 1, words


def test_what_tools_said_is_not_searched_and_what_was_called_is(stored, run):
    list_all(run)
    assert RolloutList(run, RolloutWish(words="Market Code")).count() == 0
    assert RolloutList(run, RolloutWish(words="search_law")).count() == 5


def test_a_search_keeps_to_its_run(stored, run, project, tmp_path):
    other = make_run(project, number=2, state="finished")
    Attempt.objects.filter(run=other).update(directory=str(tmp_path / "other"))
    store_step(other, 1, [make_rollout(tokens=["Section ", "7 ", "applies."])])
    for one in (run, other):
        list_all(one)
        assert RolloutList(one, RolloutWish(words="section 7")).count() == 1


def test_words_that_many_say_are_found_as_well(run, monkeypatch):
    monkeypatch.setattr("chanote.runs.rollout_search.FEW", 3)
    said = [["The ", "fine."], ["fin", "e and inert"]]
    store_step(run, 1, [make_rollout(group, 0, tokens=said[group % 2]) for group in range(12)])
    list_all(run)
    for words, count in (("the fine", 6), ("fine", 12), ("question", 12), ("finest", 0)):
        assert RolloutList(run, RolloutWish(words=words)).count() == count, words


def test_pages_hold_every_rollout_once_in_every_order_and_lead_back(run):
    rewards = [None, 0.0, 0.0, 1.0, 0.5, None, 1.0, 0.0, 0.0, -1.0, None]
    for step in (1, 2):
        rollouts = [
            make_rollout(place // 3, place % 3, reward=value, tokens=["w"] * (1 + place % 4), advantage=value)
            for place, value in enumerate(rewards)
        ]
        store_step(run, step, rollouts)
    list_all(run)
    for sort in SORTS:
        for descending in (False, True):
            hold_pages_to_the_whole(run, sort, descending)


def hold_pages_to_the_whole(run, sort, descending) -> None:
    found = RolloutList(run, RolloutWish(sort=sort, descending=descending))
    whole = [row.pk for row in found.page(size=100).rows]
    assert len(set(whole)) == 22
    column = SORTS[sort][1]
    values = [getattr(RolloutRow.objects.get(pk=pk), column) for pk in whole] if column else []
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=descending)
    assert values[len(known) :] == [None] * (len(values) - len(known))
    seen, after, pages = [], None, []
    while True:
        page = found.page(after=after, size=4)
        seen += [row.pk for row in page.rows]
        pages.append(page)
        after = page.after
        if after is None:
            break
    assert seen == whole
    for number in range(len(pages) - 1, 0, -1):
        assert [row.pk for row in found.page(before=pages[number].before, size=4).rows] == whole[
            4 * number - 4 : 4 * number
        ]
    middle = RolloutRow.objects.get(pk=whole[11])
    assert [row.pk for row in found.page(at=middle, size=8).rows] == whole[9:17]


def list_all(run) -> None:
    from chanote.runs.lineage import find_rollout_files
    from chanote.runs.rollout_index import list_missing

    assert list_missing(find_rollout_files(run)) == 0


def test_one_is_picked_by_chance_among_those_that_match(stored, client):
    seen = set()
    for _ in range(12):
        answer = client.get(f"{URL}?all=1&q=which&pick=random")
        assert answer.status_code == 302
        seen.add(re.search(r"open=([\d.]+)", answer["Location"])[1])
    assert seen <= {"2.0.0", "2.0.1", "2.1.0", "2.1.1", "5.0.0"}
    assert len(seen) > 1
    assert client.get(f"{URL}?all=1&q=nowhere-said&pick=random").status_code == 302


def test_the_open_one_keeps_its_neighbours_of_the_filtered_list(stored, client):
    page = client.get(f"{URL}?all=1&flag=failing&open=2.1.0").content.decode()
    assert 'open=2.0.1#rollouts" data-part data-key="p"' in page
    assert 'open=2.1.1#rollouts" data-part data-key="n"' in page
    assert "step 2, 18 tokens, 2 calls, answered" in page


def test_after_a_resume_the_list_holds_what_led_to_where_the_run_is(stored, run, client, tmp_path):
    checkpoint = save_checkpoint(run, 1, tmp_path)
    Attempt.objects.filter(run=run).update(state="failed")
    add_attempt(run, number=2, directory=tmp_path / "second", resume_from=checkpoint)
    store_step(run, 2, [make_rollout(tokens=["again"])])
    assert places(client.get(f"{URL}?all=1").content.decode()) == ["1.0.0", "1.0.1", "2.0.0"]


def test_lines_hold_what_is_filtered_whole_and_with_its_calls(stored, client):
    answer = client.get("/p/law/runs/1/rollouts.jsonl?all=1&flag=tool_error")
    assert answer["Content-Disposition"] == 'attachment; filename="law-run-1-rollouts.jsonl"'
    [line] = b"".join(answer.streaming_content).decode().splitlines()
    told = json.loads(line)
    expected = make_episode(1, 0, reward=0.5).model_dump(mode="json")
    assert {name: told[name] for name in expected} == expected
    assert (told["step"], told["attempt"]) == (2, 1)
    assert [(call["call"], call["status"]) for call in told["calls"]] == [("c", "timeout"), ("d", "ok")]
    lines = b"".join(client.get("/p/law/runs/1/rollouts.jsonl?step=2").streaming_content).splitlines()
    assert len(lines) == 4


def test_lines_and_one_rollout_are_nobody_elses_to_read(stored, stranger, client_of):
    other = client_of(stranger)
    for path in ("/p/law/runs/1/rollouts.jsonl?all=1", "/p/law/runs/1/rollouts/2/0.0/calls/0/output.txt"):
        assert other.get(path).status_code == 404
    for path in ("rollout-list/", "rollout-lines/", "rollouts/2/0/0/"):
        assert other.get(API + path).status_code == 404


def test_the_same_filters_over_rest(stored, client):
    answer = client.get(f"{API}rollout-list/?flag=failing&sort=-reward&page_size=2").json()
    assert [(one["step"], one["group"], one["index"]) for one in answer["results"]] == [(2, 1, 0), (2, 0, 1)]
    assert answer["results"][0] | {"id": 0} == {
        "id": 0, "step": 2, "attempt": 1, "group": 1, "index": 0, "row": "questions@1#2", "question": "Question 1?",
        "answer": "On day 4.", "tokens": 18, "turns": 2, "calls": 2, "rejected_calls": 0, "failed_calls": 1,
        "reward": 0.5, "advantage": 0.0, "stop_reason": "answered", "cut": False, "masked": False,
    }  # fmt: skip
    rest = client.get(f"{API}rollout-list/?flag=failing&sort=-reward&after={answer['next_after']}").json()
    assert [one["step"] for one in rest["results"]] == [1, 5, 2]
    assert rest["next_after"] is None
    found = client.get(f"{API}rollout-list/", {"q": "ค่าปรับ", "first_step": 1, "last_step": 1}).json()["results"]
    assert [one["index"] for one in found] == [1]
    refused = client.get(f"{API}rollout-list/?stop=purple")
    assert refused.status_code == 400
    assert "stop" in refused.content.decode()


def test_one_rollout_over_rest_has_its_calls_whole(stored, client):
    one = client.get(f"{API}rollouts/2/0/1/").json()
    assert one["ids"][:2] == [100, 101]
    assert one["calls"] == [
        {"call": "b", "turn": 1, "tool": "search_law", "arguments": '{"query": "market"}', "status": "rejected",
         "wall_ms": 41.0, "tries": 0, "output": "Error: not valid JSON.", "at": None}
    ]  # fmt: skip
    assert client.get(f"{API}rollouts/2/9/1/").status_code == 404


def test_lines_over_rest_can_leave_the_tokens_out(stored, client):
    answer = client.get(f"{API}rollout-lines/?q=section+7&tokens=false")
    assert answer["Content-Type"] == "application/x-ndjson"
    told = json.loads(b"".join(answer.streaming_content))
    assert told["text"] == "Section 7 applies."
    assert not {"tokens", "ids", "prompt", "trained", "logprobs"} & told.keys()
