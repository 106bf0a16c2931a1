"""The rollouts tab as a person reads it: steps, filters, order, groups, tokens, and files that are torn or gone."""

import re
from pathlib import Path

import pytest

from chanote.runs.models import Attempt, RolloutFile
from chanote.runs.rollout_words import excerpt_question
from tests.rollout_rows import make_rollout, pack, store_step
from tests.run_rows import add_attempt, make_run, save_checkpoint

pytestmark = pytest.mark.django_db
URL = "/p/law/runs/1/rollouts/"


@pytest.fixture
def run(project, researcher, tmp_path):
    made = make_run(project, step=3, owner=researcher)
    Attempt.objects.filter(run=made).update(directory=str(tmp_path))
    return made


@pytest.fixture
def client(researcher, client_of):
    return client_of(researcher)


GROUPS = [
    make_rollout(0, 0, reward=1.0, advantage=0.9, tokens=["Section ", "7 ", "applies."], rewards={"exact": 1.0}),
    make_rollout(0, 1, reward=0.0, advantage=-0.9, tokens=["No ", "idea."] * 40, stop_reason="length"),
    make_rollout(1, 0, reward=0.25, advantage=0.0, tokens=["มาตรา", "ห้า"], reference="มาตราหก"),
    make_rollout(
        1, 1, reward=None, advantage=None, rewards={"exact": 0.25, "judge": None}, masked="judge: no answer in time"
    ),
]


def places(page: str) -> list[str]:
    """Rollouts of the list in the order shown."""
    return re.findall(r'data-walk="([\d.]+)"', page)


def opened(page: str) -> str:
    return re.findall(r'<h2 id="opened"[^>]*>Rollout ([\d.]+)</h2>', page)[0]


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_before_the_first_step_the_page_says_what_will_come(run, client):
    assert "No rollouts yet" in client.get(URL).content.decode()


def test_the_latest_step_is_shown_and_the_others_can_be_reached(run, client):
    for step in (1, 2, 4):
        store_step(run, step, [make_rollout(reward=step / 10)])
    page = client.get(URL).content.decode()
    assert "<b>Step 4</b> · 1 rollout of 1 prompt · mean reward 0.40" in page
    assert 'rel="prev" title="Step 2"' in page
    assert 'rel="next"' not in page
    asked = client.get(f"{URL}?step=3").content.decode()
    assert "Step 3 stored no rollouts; those of step 2 are shown." in asked
    assert 'rel="next" title="Step 4"' in asked
    assert "“zzz” is no step; the latest is shown." in client.get(f"{URL}?step=zzz").content.decode()


def test_links_of_the_list_name_the_step_so_that_a_later_one_moves_nothing(run, client):
    store_step(run, 1, GROUPS)
    links = re.findall(r'href="(\?[^"]*open=[^"]*)"', client.get(URL).content.decode())
    assert links
    assert all(link.startswith("?step=1&amp;") for link in links)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["0.0", "0.1", "1.0", "1.1"]),
        ("sort=-reward", ["0.0", "1.0", "0.1", "1.1"]),
        ("sort=reward", ["0.1", "1.0", "0.0", "1.1"]),
        ("sort=-length", ["0.1", "1.1", "0.0", "1.0"]),
        ("sort=advantage", ["0.1", "1.0", "0.0", "1.1"]),
        ("gradient=masked", ["1.1"]),
        ("gradient=trained", ["0.0", "0.1", "1.0"]),
        ("ending=cut", ["0.1"]),
        ("ending=whole&gradient=trained", ["0.0", "1.0"]),
        ("low=0.2", ["0.0", "1.0"]),
        ("low=0.2&high=0,5", ["1.0"]),
        ("low=nan&sort=color", ["0.0", "0.1", "1.0", "1.1"]),
        ("q=SECTION+7", ["0.0"]),
        ("q=มาตราหก", ["1.0"]),
        ("q=question+1", ["1.0", "1.1"]),
        ("q=in+time", ["1.1"]),
    ],
)
def test_filters_and_orders(run, client, query, expected):
    store_step(run, 1, GROUPS)
    assert places(client.get(f"{URL}?{query}").content.decode()) == expected


def test_a_filter_that_nothing_meets_says_so_and_can_be_cleared(run, client):
    store_step(run, 1, GROUPS)
    page = client.get(f"{URL}?q=nowhere").content.decode()
    assert "None of the 4 rollouts of step 1 is like that." in page
    assert 'href="?step=1#rollouts"' in page


def test_an_opened_rollout_shows_its_reward_by_component_and_its_group(run, client):
    rollout = make_rollout(0, 0, rewards={"exact": 1.0, "think_tags": 0.5}, reward=1.25, advantage=-0.4)
    store_step(run, 1, [rollout, make_rollout(0, 1, reward=0.25)])
    page = text_of(client.get(f"{URL}?open=0.0").content.decode())
    assert "Exact 1.00" in page
    assert "Think tags 0.50" in page
    assert "Reward 1.25" in page
    assert "advantage −0.40" in page
    assert "mean 0.75, sd 0.71" in page
    assert "ended by itself" in page


def test_a_list_of_many_rollouts_has_pages_and_opens_on_the_page_of_the_opened_one(run, client):
    store_step(run, 1, [make_rollout(group, index, reward=group) for group in range(20) for index in range(4)])
    assert len(places(client.get(URL).content.decode())) == 40
    page = client.get(f"{URL}?open=15.2").content.decode()
    assert places(page)[0] == "13.0"
    assert 'data-walk="15.2" aria-current="true"' in page
    assert opened(page) == "15.2"


def test_a_rollout_that_does_not_exist_is_said_not_to(run, client):
    store_step(run, 1, GROUPS)
    assert "Step 1 has no rollout 7.3." in client.get(f"{URL}?open=7.3").content.decode()
    assert client.get(f"{URL}?open=x.y").status_code == 200


def test_all_completions_of_a_prompt_stand_side_by_side_with_their_rewards(run, client):
    store_step(run, 1, GROUPS)
    page = client.get(f"{URL}?open=1.0&view=group").content.decode()
    assert "Prompt 1, 2 completions" in page
    assert places(page) == ["1.0", "1.1"]
    text = text_of(page)
    assert "มาตราหก" in text
    assert "failed" in text
    assert "Gives no gradient: judge: no answer in time" in text
    assert "Section 7" not in text
    previous = re.search(r'href="([^"]+)" data-part aria-label="Previous prompt"', page)[1].replace("&amp;", "&")
    assert "Prompt 0, 2 completions" in client.get(URL + previous).content.decode()


def test_a_group_whose_rewards_agree_is_said_to_teach_nothing(run, client):
    store_step(run, 1, [make_rollout(0, 0, reward=1.0), make_rollout(0, 1, reward=1.0)])
    page = client.get(URL).content.decode()
    assert "1 prompt whose rewards all agree" in page
    assert "All rewards agree, so this prompt teaches nothing." in page


def test_tokens_carry_the_step_of_their_likelihood_the_number_and_what_is_not_trained(run, client):
    # ln 0.95, ln 0.6, ln 0.3, ln 0.1, ln 0.02, ln 0.001
    logprobs = [-0.0513, -0.5108, -1.204, -2.3026, -3.912, -6.9078, None]
    tokens = ["a", "<b>", "c", "d", "e", "f", "tool"]
    store_step(run, 1, [make_rollout(tokens=tokens, logprobs=logprobs, trained=[True] * 6 + [False])])
    page = client.get(URL).content.decode()
    shown = re.search(r'<div class="tks">(.*?)</div>', page)[1]
    assert re.findall(r'class="tk ?([\w-]*)" title="([^"]*)"', shown) == [
        ("", "−0.051, 95 %"),
        ("k1", "−0.511, 60 %"),
        ("k2", "−1.204, 30 %"),
        ("k3", "−2.303, 10 %"),
        ("k4", "−3.912, 2 %"),
        ("k5", "−6.908, 0.1 %"),
        ("is-masked", "not trained"),
    ]
    assert "&lt;b&gt;" in shown
    # The same numbers without hovering, the least likely first.
    assert [text_of(row) for row in re.findall(r"<tr><td.*?</tr>", page)[:2]] == [
        "6 f −6.908 0.1 %",
        "5 e −3.912 2 %",
    ]
    assert page.count("under 1 %") == 1


def test_a_character_spread_over_tokens_can_be_read_as_text(run, client):
    store_step(run, 1, [make_rollout(tokens=["�", "�"], text="ก")])
    page = client.get(URL).content.decode()
    assert 'As text: <span class="passage" lang="th">ก</span>' in page


def test_a_long_completion_is_cut_into_marked_tokens_and_plain_rest(run, client):
    store_step(run, 1, [make_rollout(tokens=["w "] * 4000 + ["LAST"])])
    page = client.get(URL).content.decode()
    assert page.count('<span class="tk" title') == 4000
    assert "LAST</div>" in page
    assert "Tokens beyond the first 4,000 are shown without their numbers." in page


def test_the_weights_of_the_frozen_recipe_stand_beside_the_components(project, client, tmp_path):
    stage = {"kind": "grpo", "rewards": [{"kind": "exact", "weight": 0.7}, {"kind": "think_tags", "weight": 0.3}]}
    made = make_run(project, snapshot={"recipe": {"stages": [stage]}})
    Attempt.objects.filter(run=made).update(directory=str(tmp_path))
    store_step(made, 1, [make_rollout(rewards={"exact": 1.0}, reward=0.7)])
    assert "weight 0.7" in client.get(URL).content.decode()


def test_a_stage_without_rewards_shows_what_its_algorithm_measured(run, client):
    given = [
        make_rollout(0, index, reward=None, rewards={}, advantage=None, detail={"divergence": value, "source": "row"})
        for index, value in enumerate([0.125, 2.5, 1.0])
    ]
    store_step(run, 1, given)
    page = client.get(f"{URL}?sort=-detail").content.decode()
    assert places(page) == ["0.1", "0.2", "0.0"]
    assert '<option value="-detail" selected>Divergence, highest first</option>' in page
    assert '<b><span title="divergence">2.5</span></b>' in page
    text = text_of(page)
    assert "This stage gave no rewards." in text
    assert "Divergence 2.5 Source row" in text
    assert "mean reward" not in text


# Files that are not as they should be


def test_a_missing_file_is_said_in_one_sentence(run, client):
    file = store_step(run, 1, GROUPS)
    (Path(run.attempts.get().directory) / file.path).unlink()
    page = client.get(URL).content.decode()
    assert "The rollouts of step 1 are gone: rollouts/step-00000001.jsonl.zst is no longer in the directory" in page
    assert "Nothing of this step can be read" in page
    assert client.get(f"{URL}1.jsonl.zst").status_code == 404


def test_a_file_torn_in_the_middle_shows_what_can_be_read(run, client):
    rollouts = [make_rollout(group, 0, reward=group / 100) for group in range(50)]
    # Two frames, as a trainer that flushes would leave them; the second is torn.
    first, second = pack(rollouts[:30]), pack(rollouts[30:])
    store_step(run, 1, rollouts, data=first + second[: len(second) // 2])
    page = client.get(URL).content.decode()
    assert "The file of step 1 breaks off after 3" in page
    assert "of 50 rollouts" in page
    assert places(page)[:2] == ["0.0", "1.0"]


def test_a_file_torn_within_a_line_shows_the_whole_lines(run, client):
    rollouts = [make_rollout(group) for group in range(3)]
    store_step(run, 1, rollouts, data=pack(rollouts[:2], after=rollouts[2].model_dump_json().encode()[:50]))
    page = client.get(URL).content.decode()
    assert "The file of step 1 breaks off after 2 of 3 rollouts (within a line). What could be read is shown." in page
    assert places(page) == ["0.0", "1.0"]


def test_a_file_that_ends_early_at_a_line_is_noticed_by_its_count(run, client):
    rollouts = [make_rollout(group) for group in range(3)]
    store_step(run, 1, rollouts, data=pack(rollouts[:2]))
    assert "The file of step 1 breaks off after 2 of 3 rollouts." in client.get(URL).content.decode()


def test_a_file_that_is_no_zstd_is_said_to_be_damaged(run, client):
    store_step(run, 1, GROUPS, data=b"not compressed at all\n")
    assert "The file of step 1 is damaged after 0 of 4 rollouts" in client.get(URL).content.decode()


def test_a_line_that_is_no_rollout_is_left_out_and_named(run, client):
    store_step(run, 1, [make_rollout()], data=pack([make_rollout()], after=b'{"group": -1}\n'))
    page = client.get(URL).content.decode()
    assert "1 line of the file is no rollout and was left out (line 2: group: " in page
    assert places(page) == ["0.0"]


def test_a_path_out_of_the_attempt_directory_is_not_followed(run, client, tmp_path):
    store_step(run, 1, GROUPS)
    secret = tmp_path.parent / "secret.zst"
    secret.write_bytes(pack([make_rollout(tokens=["secret"])]))
    RolloutFile.objects.update(path="../secret.zst")
    page = client.get(URL).content.decode()
    assert "leads out of the directory of attempt 1" in page
    assert "secret</span>" not in page
    assert client.get(f"{URL}1.jsonl.zst").status_code == 404


# Attempts


def test_after_a_resume_steps_come_from_the_attempt_that_led_to_them(run, client, tmp_path):
    for step in (1, 2, 3):
        store_step(run, step, [make_rollout(tokens=[f"first {step}"])])
    checkpoint = save_checkpoint(run, 2, tmp_path)
    Attempt.objects.filter(run=run).update(state="failed")
    add_attempt(run, number=2, directory=tmp_path / "second", resume_from=checkpoint)
    assert "<b>Step 2</b>" in client.get(URL).content.decode()  # step 3 of attempt 1 led nowhere
    store_step(run, 3, [make_rollout(tokens=["second 3"])])
    assert "second 3" in client.get(f"{URL}?step=3").content.decode()
    assert "first 2" in client.get(f"{URL}?step=2").content.decode()


def test_a_retry_from_the_start_leaves_nothing_of_the_attempt_before(run, client, tmp_path):
    store_step(run, 5, GROUPS)
    Attempt.objects.filter(run=run).update(state="failed")
    add_attempt(run, number=2, directory=tmp_path / "second")
    assert "No rollouts yet" in client.get(URL).content.decode()


def test_an_attempt_that_waits_hides_nothing_yet(run, client, tmp_path):
    store_step(run, 5, GROUPS)
    Attempt.objects.filter(run=run).update(state="failed")
    Attempt.objects.create(run=run, number=2, state="queued", directory=str(tmp_path))
    assert "<b>Step 5</b>" in client.get(URL).content.decode()


# Rights, policy of content, download


def test_a_stranger_sees_no_rollouts(run, stranger, client_of):
    store_step(run, 1, GROUPS)
    other = client_of(stranger)
    assert other.get(URL).status_code == 404
    assert other.get(f"{URL}1.jsonl.zst").status_code == 404


def test_a_viewer_reads_rollouts(run, viewer, client_of):
    store_step(run, 1, GROUPS)
    assert "Section " in client_of(viewer).get(URL).content.decode()


def test_the_tab_has_no_inline_script_or_style(run, client):
    store_step(run, 1, GROUPS)
    for query in ("", "?view=group&open=0.0", "?q=nothing"):
        page = client.get(URL + query).content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)", page)
        assert not re.search(r"\sstyle=|\son\w+=", page)


def test_the_file_can_be_downloaded_as_it_is(run, client):
    store_step(run, 1, GROUPS)
    answer = client.get(f"{URL}1.jsonl.zst")
    assert b"".join(answer.streaming_content) == pack(GROUPS)
    assert answer["Content-Disposition"] == 'attachment; filename="law-run-1-step-1.jsonl.zst"'


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        (
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWho pays?<|im_end|>\n<|im_start|>assistant\n",
            "Who pays?",
        ),
        ("<|user|>\nWho pays?<|end|>\n<|assistant|>\n<think>\n", "Who pays?"),
        ("Question: Who pays?\nAnswer:", "Question: Who pays? Answer:"),
        ("", ""),
    ],
)
def test_the_list_names_a_prompt_by_its_question(prompt, question):
    assert excerpt_question(prompt) == question
