"""One rollout as a person reads it: turn by turn, with thoughts folded, calls as cards, and why it failed."""

import re

import pytest

from chanote.runs.models import Attempt
from tests.rollout_rows import make_episode, make_rollout, make_tool_call, store_step
from tests.run_rows import make_run

pytestmark = pytest.mark.django_db
URL = "/p/law/runs/1/rollouts/"
EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>"


@pytest.fixture
def run(project, researcher, tmp_path):
    made = make_run(project, step=3, owner=researcher, state="finished")
    Attempt.objects.filter(run=made).update(directory=str(tmp_path))
    return made


@pytest.fixture
def client(researcher, client_of):
    return client_of(researcher)


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def turns_of(page: str) -> list[str]:
    return re.findall(r'<article class="turn.*?</article>', page, re.DOTALL)


def reasons_of(page: str) -> list[str]:
    part = re.search(r'<section class="reasons".*?</section>', page, re.DOTALL)
    return [text_of(one) for one in re.findall(r"<li>(.*?)</li>", part[0])] if part else []


def test_an_episode_is_shown_turn_by_turn_with_thoughts_folded_and_calls_as_cards(run, client):
    calls = [make_tool_call(call="jail-04d1", tries=3)]
    store_step(run, 1, [make_episode(reference="On day 4.")], calls=calls)
    page = client.get(URL).content.decode()
    prompt, first, told, second, reference = turns_of(page)
    assert "Question 0?" in text_of(prompt)
    thought = re.search(r'<details class="fold thought">.*?</details>', first, re.DOTALL)[0]
    assert "Reasoning, 3 tokens" in text_of(thought)
    assert "Which act?" in thought
    assert "Which act?" not in first.replace(thought, "")
    card = text_of(re.search(r'<section class="tool".*?</section>', first, re.DOTALL)[0])
    for part in ("search_law", "41.0 ms", "3 tries", "jail-04d1", "OK", "query market", "Output [1] Market Code"):
        assert part in card, part
    assert "not trained, 5 tokens" in text_of(told)
    assert "As the policy read it" in text_of(told)
    assert "turn 2, 6 tokens" in text_of(second)
    assert "On day 4." in text_of(reference)
    assert reasons_of(page) == []


def test_why_a_rollout_failed_stands_above_it(run, client):
    calls = [
        make_tool_call(call="a", status="rejected", tries=0, output="Error: the call is not valid JSON."),
        make_tool_call(call="b", status="timeout", turn=2, output=""),
    ]
    cut = make_episode(reward=0.0, rewards={"exact": 0.0, "tool_form": -0.5}, stop_reason="turn_limit", text="")
    masked = make_episode(0, 1, reward=None, masked="Reward judge failed: no answer in time", stop_reason="answered")
    silent = make_episode(0, 2, reward=0.0, answer=["<think>", "Hm.", "</think>"])
    store_step(run, 1, [cut, masked, silent], calls=calls)
    page = client.get(f"{URL}?open=0.0").content.decode()
    assert reasons_of(page) == [
        "The last turn that it was allowed called tools instead of answering.",
        "Call 1, search_law, was not made as the policy wrote it: Error: the call is not valid JSON.",
        "Call 2, search_law, took too long: it said nothing",
        "Exact and tool form gave nothing for the answer.",
    ]
    assert 'href="#call-1"' in page
    assert 'id="call-1"' in page
    assert "not made" in text_of(page)
    assert reasons_of(client.get(f"{URL}?open=0.1").content.decode()) == [
        "Gives no gradient: Reward judge failed: no answer in time"
    ]
    assert "Its last turn says nothing outside its thoughts." in reasons_of(
        client.get(f"{URL}?open=0.2").content.decode()
    )


def test_what_policy_and_tools_say_is_text_and_never_markup(run, client):
    rollout = make_episode(
        answer=["<think>", EVIL, "</think>", EVIL], prompt=[EVIL], reference=EVIL, masked=EVIL, row=EVIL,
        words={"exact": EVIL}, stop_reason=EVIL[:30], rewards={EVIL: 1.0, "exact": 0.0},
    )  # fmt: skip
    calls = [make_tool_call(call=EVIL[:60], tool=EVIL, arguments=EVIL, output=EVIL),
             make_tool_call(call="b", arguments='{"' + "<b>" + '": "<i>"}', output=EVIL)]  # fmt: skip
    store_step(run, 1, [rollout, make_episode(0, 1, prompt=[EVIL])], calls=calls)
    for query in ("", "?view=tokens", "?view=group", "?all=1&q=%3Cscript%3E"):
        page = client.get(URL + query).content.decode()
        assert "alert(&#x27;x&#x27;)" in page
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "<i>" not in page


def test_a_flood_of_output_is_cut_and_all_of_it_is_a_click_away_as_plain_text(run, client):
    flood = EVIL + "x" * 300_000 + "END"
    store_step(run, 1, [make_episode()], calls=[make_tool_call(output=flood, arguments=flood)])
    answer = client.get(URL)
    page = answer.content.decode()
    assert len(page) < 120_000
    assert f"All {len(flood):,} characters of the output" in page
    assert "All of the arguments" in page
    for part in ("output", "arguments"):
        whole = client.get(f"{URL}1/0.0/calls/0/{part}.txt")
        assert whole.content.decode() == flood
        assert whole["Content-Type"] == "text/plain; charset=utf-8"
        assert whole["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in whole["Content-Security-Policy"]
    for path in ("1/0.0/calls/1/output.txt", "1/0.9/calls/0/output.txt", "2/0.0/calls/0/output.txt",
                 "1/0.0/calls/0/secret.txt"):  # fmt: skip
        assert client.get(URL + path).status_code == 404


def test_the_judges_words_stand_beside_its_value(run, client):
    said = '{"explanation": "It names the day.", "score": 2}'
    store_step(run, 1, [make_rollout(rewards={"judge": 1.0}, reward=1.0, words={"judge": said})])
    assert "What judge said " + said.replace('"', "&quot;") in text_of(client.get(URL).content.decode())


def test_every_token_is_told_with_id_text_loss_and_log_prob_in_words(run, client):
    rollout = make_episode()
    logprobs = list(rollout.logprobs)
    logprobs[1] = -2.302585
    store_step(run, 1, [make_episode(logprobs=logprobs)])
    page = client.get(f"{URL}?view=tokens").content.decode()
    rows = [text_of(row) for row in re.findall(r"<tr><td.*?</tr>", page, re.DOTALL)]
    assert len(rows) == 18
    assert rows[1] == "2 101 Which␣act? trained −2.303 10 %"
    assert rows[7] == "8 107 ⏎&lt;|im_start|&gt;user⏎ not trained – –"


def test_many_tokens_have_pages(run, client):
    store_step(run, 1, [make_rollout(tokens=["w "] * 1201)])
    page = client.get(f"{URL}?view=tokens").content.decode()
    assert "1 to 500 of 1,201" in page
    later = re.search(r'rel="next" href="([^"#]+)#rollouts" data-part>Later', page)[1].replace("&amp;", "&")
    assert "501 to 1,000 of 1,201" in client.get(URL + later).content.decode()
    assert "1,001 to 1,201 of 1,201" in client.get(f"{URL}?view=tokens&at=1000").content.decode()
    assert "1 to 500 of" in client.get(f"{URL}?view=tokens&at=99999").content.decode()


@pytest.mark.parametrize(
    "fields",
    [
        {"turns": [(5, 2)]},
        {"turns": [(0, 900)]},
        {"turns": [(0, 3), (2, 6)]},
        {"turns": [(0, 0), (7, 7)]},
        {"tokens": [], "trained": [], "logprobs": [], "ids": [], "turns": [], "text": ""},
        {"trained": [True], "logprobs": [], "ids": []},
        {"tokens": ["<tool_call>", "<tool_call>", "</think>", "<think>"], "turns": [(0, 4)]},
    ],
)
def test_a_record_that_does_not_add_up_is_shown_as_far_as_it_goes(run, client, fields):
    store_step(run, 1, [make_episode(**fields)], calls=[make_tool_call(turn=9)])
    for view in ("", "?view=tokens", "?view=group"):
        assert client.get(URL + view).status_code == 200
    if fields.get("tokens"):
        page = client.get(URL).content.decode()
        assert all(text.replace("<", "&lt;").replace(">", "&gt;") in page for text in fields["tokens"])


def test_a_broken_file_of_calls_is_told_and_the_rollout_still_read(run, client, tmp_path):
    file = store_step(run, 1, [make_episode()], calls=[make_tool_call()])
    (tmp_path / file.calls_path).write_bytes(b"nothing like it")
    page = text_of(client.get(URL).content.decode())
    assert "The tool calls of step 1 are not all known: tool_calls/step-00000001.jsonl.zst cannot be read" in page
    assert "Call as written, 3 tokens" in page
    type(file).objects.update(calls_path="../calls.jsonl")
    assert "leads out of the directory of attempt 1" in client.get(URL).content.decode()


def test_labels_and_links_elsewhere_are_those_of_the_opened_rollout(run, client):
    store_step(run, 1, [make_rollout()])
    page = client.get(URL).content.decode()
    for name, value in (("step", 1), ("group", 0), ("index", 0)):
        assert f'name="{name}" value="{value}"' in page
    assert "/review/same-prompt/?at=1.1.0.0" in page
