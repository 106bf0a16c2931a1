"""Personal data in rollouts: masked wherever a person or a program reads them; shown to who may, with a reason."""

import io
import json

import pytest
import zstandard
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from chanote.accounts.services import create_token
from chanote.audit.models import AuditEvent
from chanote.boards.models import Evaluation, Sample, Task
from chanote.checks.masking import SURE, Mask
from chanote.checks.models import CheckResult
from chanote.review.models import Pick
from chanote.review.sifting import sift
from chanote.runs.models import Attempt, RolloutFile
from chanote.runs.rollout_masks import find_mask_of_run, mask_tokens
from tests.rights_rows import make_model, make_texts
from tests.rollout_rows import make_episode, make_rollout, make_tool_call, store_step
from tests.run_rows import make_run

pytestmark = pytest.mark.django_db
URL = "/p/law/runs/1/rollouts/"
API = "/api/v1/projects/law/runs/1/"
NUMBER = "1-1014-00001-23-1"
"""A Thai national id whose check digit is right."""
MAIL = "somchai@example.org"
TOKENS = ["Ask ", "som", "chai", "@exam", "ple.org", ", id 1", "-1014", "-00001-", "23-1", "."]


@pytest.fixture
def run(project, researcher, tmp_path):
    made = make_run(project, step=3, owner=researcher, state="finished")
    Attempt.objects.filter(run=made).update(directory=str(tmp_path))
    return made


@pytest.fixture
def stored(run):
    prompt = ["<|im_start|>", "user\n", "Who is ", "1-1014-", "00001-23-1?", "<|im_end|>", "\n", "assistant\n"]
    one = make_rollout(
        prompt=prompt, tokens=TOKENS, ids=list(range(100, 110)), reference=f"It is {NUMBER}.",
        words={"judge": f"Wrong, it is {MAIL}."}, masked=f"No reward for {MAIL}",
    )  # fmt: skip
    episode = make_episode(group=1)
    call = make_tool_call(rollout="1.0", arguments=json.dumps({"query": NUMBER}), output=f"Found {MAIL}")
    store_step(run, 1, [one, episode], calls=[call])
    return one


def tokens_of(user, scope: str = "runs:read") -> dict[str, str]:
    return {"Authorization": f"Bearer {create_token(user, 't', [scope], 1)[1]}"}


def hidden(text: str) -> bool:
    return not any(part in text for part in (MAIL, NUMBER, "somchai", "00001-23", "@exam", "ple.org", "-1014"))


def test_no_page_no_answer_and_no_file_tells_it(stored, viewer, researcher, client_of):
    client, headers = client_of(viewer), tokens_of(researcher)
    for view in ("", "&view=tokens", "&view=group", "&open=1.0", "&all=1"):
        page = client.get(f"{URL}?step=1{view}").content.decode()
        assert hidden(page), view
    assert "⟦e-mail address⟧" in client.get(URL).content.decode()
    assert "Personal data is masked." in client.get(URL).content.decode()
    assert "Show what is masked" not in client.get(URL).content.decode(), "a viewer cannot"
    for path in ("rollouts/1/", "rollouts/1/0/0/", "rollouts/1/1/0/", "rollout-list/", "rollout-lines/", "tool-calls/"):
        answer = client.get(f"{API}{path}", headers=headers)
        assert answer.status_code == 200, path
        body = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert hidden(body.decode()), path


def test_a_search_does_not_find_what_is_masked(stored, viewer, client_of):
    client = client_of(viewer)
    assert "Rollout 0.0" in client.get(f"{URL}?step=1&q=Ask").content.decode()
    for digits in ("1014", "somchai", "00001"):
        assert "Rollout 0.0" not in client.get(f"{URL}?step=1&q={digits}").content.decode()


def test_whoever_may_change_datasets_sees_one_with_a_reason_and_the_log_keeps_it(stored, researcher, viewer, client_of):
    client = client_of(researcher)
    assert "Show what is masked" in client.get(URL).content.decode()
    refused = client.post(f"{URL}?open=0.0", {"reason": "why"}).content.decode()
    assert "Say why you must see it" in refused
    assert hidden(refused)
    assert client_of(viewer).post(f"{URL}?open=0.0", {"reason": "To see who it is."}).status_code == 403
    assert not AuditEvent.objects.filter(verb="rollout.unmasked").exists()
    page = client_of(researcher).post(f"{URL}?open=0.0", {"reason": "The court asks for it."}).content.decode()
    assert f"It is {NUMBER}." in page
    assert "The audit log keeps that you saw it" in page
    event = AuditEvent.objects.get(verb="rollout.unmasked")
    assert event.detail == {"step": 1, "group": 0, "index": 0, "reason": "The court asks for it."}
    assert event.actor == researcher
    assert hidden(client_of(researcher).get(f"{URL}?open=0.0").content.decode()), "for one answer alone"


def test_names_are_masked_once_a_check_found_some_in_the_runs_data(run, project, viewer, client_of):
    store_step(run, 1, [make_rollout(tokens=["Mr ", "Zebulon", " Smith", " pays."])])
    assert "Zebulon" in client_of(viewer).get(URL).content.decode()
    version = make_texts(project, [(None, 2)], slug="questions")
    run.snapshot["datasets"] = {"questions@1": {"sha256": version.sha256}}
    run.save()
    CheckResult.objects.create(
        version=version, check_name="personal", check_version=1, rows=2, found_rows=1,
        configuration={"kinds": ["name"], "names": ["Zebulon"]},
    )  # fmt: skip
    assert find_mask_of_run(run).kinds[-1] == "name"
    assert "Zebulon" not in client_of(viewer).get(URL).content.decode()


def test_the_inbox_keeps_no_word_of_it(run, stored, viewer, client_of):
    store_step(run, 2, [make_rollout(index=number, tokens=TOKENS, reward=1.0) for number in range(4)])
    for file in RolloutFile.objects.select_related("attempt__run"):
        sift(file)
    for pick in Pick.objects.all():
        assert hidden(f"{pick.question} {pick.answer} {pick.reasons}")
    assert hidden(client_of(viewer).get("/p/law/review/").content.decode())
    same = client_of(viewer).get("/p/law/review/same-prompt/?at=1.1.0.0")
    assert same.status_code == 404 or hidden(same.content.decode())


def test_the_file_of_a_step_is_masked_and_otherwise_as_the_trainer_wrote_it(run, stored, viewer, client_of):
    got = client_of(viewer).get(reverse("run_rollouts_file", args=["law", 1, 1]))
    lines = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(b"".join(got.streaming_content))).read().decode()
    assert hidden(lines)
    first = json.loads(lines.splitlines()[0])
    assert (len(first["tokens"]), first["ids"], first["logprobs"]) == (10, [], stored.logprobs)


def test_answers_on_boards_are_masked_and_no_search_finds_what_is(project, researcher):
    task = Task.objects.create(project=project, slug="qa", definition={}, sha256="a" * 64)
    made = Evaluation.objects.create(
        project=project, task=task, model=make_model(project, "m"), settings_sha256="", harness="", samples_sha256="",
        samples_path="", count=2,
    )  # fmt: skip
    for item, output in (("1", f"Write to {MAIL} of 1014."), ("2", "See section 1014.")):
        Sample.objects.create(evaluation=made, item=item, prompt=f"Who is {NUMBER}?", output=output, target="x")
    headers = tokens_of(researcher, "boards:read")
    client = Client(headers=headers)
    url = f"/api/v1/projects/law/evaluations/{made.pk}/samples/"
    told = client.get(url).json()["results"]
    assert told[0]["output"] == "Write to ⟦e-mail address⟧ of 1014."
    assert hidden(json.dumps(told, ensure_ascii=False))
    for words, items in (("1014", ["1", "2"]), ("00001-23", []), ("somchai@example.org", []), ("section", ["2"])):
        assert [one["item"] for one in client.get(url, {"q": words}).json()["results"]] == items, words


@given(st.lists(st.sampled_from(["a", " ", MAIL, NUMBER, ", ", "มาตรา "]), max_size=6), st.data())
def test_however_text_falls_into_tokens_the_same_is_covered(parts, data):
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    tokens = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    mask = Mask(SURE)
    shown = mask_tokens(tokens, mask)
    assert len(shown) == len(tokens)
    assert "".join(shown) == mask.apply(text)
