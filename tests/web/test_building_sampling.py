"""A teacher's answers, sampled from a misbehaving endpoint, valued by the trainer's rewards and chosen among."""

import json
import threading
from typing import Any

import pytest
from building_data import do_again, do_build, make_endpoint, make_rows, reasons_of, rows_of
from judge_server import Reply, says, serve

from chanote.building.kinds.sampling import read_rewards
from chanote.building.sampling import scoring
from chanote.building.services import BuildRefused, start_build
from chanote.errands.models import State
from chanote.errands.work import Stopped

pytestmark = pytest.mark.django_db

EXACT = "- kind: exact"


@pytest.fixture(autouse=True)
def home(settings, tmp_path):
    settings.HOME = tmp_path


@pytest.fixture
def prompts(project):
    rows = [{"question": f"What is {number} and {number}?", "answer": str(2 * number)} for number in range(1, 5)]
    return make_rows(project, "sums", "prompts", rows)


class Teacher:
    """Answers each question by the next of its answers; what is no text is sent as it is."""

    def __init__(self, answers: dict[str, list[Any]]) -> None:
        self.answers = {word: list(given) for word, given in answers.items()}
        self.lock = threading.Lock()

    def __call__(self, number: int, body: dict[str, Any]) -> Reply:
        asked = body["messages"][-1]["content"]
        with self.lock:
            word = next(word for word in self.answers if word in asked)
            answer = self.answers[word].pop(0)
        return says(answer) if isinstance(answer, str) else answer


ANSWERS: dict[str, list[Any]] = {
    "1 and 1": ["2", "3", "<think>one and one</think>2"],
    "2 and 2": ["5", "6", "7"],
    "3 and 3": ["6", Reply({"error": {"message": "not this one"}}, status=400), says("6", finish_reason="length")],
    "4 and 4": ["", "8", "9"],
}


def test_every_right_answer_stays_when_samples_are_rejected_by_reward(project, curator, project_admin, prompts):
    with serve(Teacher(ANSWERS)) as server:
        make_endpoint(project, project_admin, server.url, concurrency=1)
        build = do_build(
            project, curator, "sampling", name="taught", prompts="sums", endpoint="teacher", samples=3, rewards=EXACT,
            least_reward=1.0, system_prompt="Be brief.",
        )  # fmt: skip
        assert len(server.asked) == 12
        assert server.asked[0]["temperature"] == 0.8
    assert build.errand.state == State.FINISHED, build.errand.fault
    rows = rows_of(build.result)
    said = [(row["messages"][1]["content"], row["messages"][2]["content"]) for row in rows]
    assert said == [
        ("What is 1 and 1?", "2"),
        ("What is 1 and 1?", "<think>one and one</think>2"),
        ("What is 3 and 3?", "6"),
        ("What is 4 and 4?", "8"),
    ]
    assert rows[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert rows[0]["provenance"] == {
        "prompt": "sums@1#1", "model": "big-model", "of": 3, "sample": 0, "reward": 1.0, "components": {"exact": 1.0},
    }  # fmt: skip
    assert reasons_of(build, "choose") == {"none of its answers was chosen": 1}
    (sampled,) = [step for step in build.funnel if step["name"] == "sample"]
    assert sampled["parts"] == {
        "the endpoint gave no answer": 1, "cut off at the longest length": 1, "the answer is empty": 1,
    }  # fmt: skip
    (chosen,) = [step for step in build.funnel if step["name"] == "choose"]
    assert chosen["parts"] == {"its reward is too low": 5}
    assert build.result.operation["rewards"][0]["kind"] == "exact"
    assert build.result.uses == ["train", "distil"]
    assert [one.reference for one in build.result.drawn_from.all()] == ["sums@1"]


def test_the_shortest_right_answer_alone_stays(project, curator, project_admin, prompts):
    with serve(Teacher(ANSWERS)) as server:
        make_endpoint(project, project_admin, server.url, concurrency=1)
        build = do_build(
            project, curator, "sampling", name="taught", prompts="sums", endpoint="teacher", samples=3, rewards=EXACT,
            choose="shortest_correct", least_reward=1.0,
        )  # fmt: skip
    assert [row["messages"][-1]["content"] for row in rows_of(build.result)] == ["2", "6", "8"]


def test_best_and_worst_make_preferences(project, curator, project_admin, prompts):
    with serve(Teacher(ANSWERS)) as server:
        make_endpoint(project, project_admin, server.url, concurrency=1)
        build = do_build(
            project, curator, "sampling", name="pairs", prompts="sums", endpoint="teacher", samples=3, rewards=EXACT,
            choose="best_and_worst",
        )  # fmt: skip
    assert build.errand.state == State.FINISHED, build.errand.fault
    assert build.result.dataset.kind == "preferences"
    assert [(row["chosen"], row["rejected"]) for row in rows_of(build.result)] == [("2", "3"), ("8", "9")]
    assert rows_of(build.result)[0]["provenance"]["reward_chosen"] == 1.0


def test_without_rewards_all_sound_answers_stay(project, curator, project_admin, prompts):
    with serve(Teacher(ANSWERS)) as server:
        make_endpoint(project, project_admin, server.url, concurrency=1)
        build = do_build(
            project, curator, "sampling", name="taught", prompts="sums", endpoint="teacher", samples=2, most_rows=2
        )
    assert [row["messages"][-1]["content"] for row in rows_of(build.result)] == ["2", "3", "5", "6"]
    assert "reward" not in rows_of(build.result)[0]["provenance"]


def test_rows_that_a_reward_cannot_value_are_dropped_with_the_reason(project, curator, project_admin):
    make_rows(project, "sums", "prompts", [{"question": "What is 1 and 1?", "answer": "2"}, {"question": "2 and 2?"}])
    with serve(Teacher(ANSWERS)) as server:
        make_endpoint(project, project_admin, server.url, concurrency=1)
        build = do_build(
            project, curator, "sampling", name="taught", prompts="sums", endpoint="teacher", samples=2, rewards=EXACT,
            choose="best", least_reward=1.0,
        )  # fmt: skip
    assert build.result.rows == 1
    (chosen,) = [step for step in build.funnel if step["name"] == "choose"]
    assert chosen["parts"] == {"its reward is too low": 1, "could not be valued": 2}


def test_a_broken_off_build_asks_and_values_nothing_twice(project, curator, project_admin, prompts, monkeypatch):
    down = [True]
    teacher = Teacher({word: [f"{word} a", f"{word} b"] for word in ANSWERS})

    def script(number: int, body: dict[str, Any]) -> Reply:
        if down[0] and number >= 5:
            return Reply({"error": {"message": "no such key"}}, status=401)
        return teacher(number, body)

    config = {"name": "taught", "prompts": "sums", "endpoint": "teacher", "samples": 2, "rewards": EXACT}
    with serve(script) as server:
        make_endpoint(project, project_admin, server.url, concurrency=1)
        build = do_build(project, curator, "sampling", **config)
        assert build.errand.state == State.FAILED
        down[0] = False
        before = len(server.asked)
        build = do_again(build, curator)
        assert build.errand.state == State.FINISHED, build.errand.fault
        assert len(server.asked) - before == 3
    assert build.result.rows == 8


def test_a_reward_that_cannot_be_computed_ends_the_build_with_the_trainers_own_sentence(
    project, curator, project_admin, prompts
):
    rewards = "- kind: judge\n  endpoint: {base_url: 'http://127.0.0.1:9/v1', model: judge}"
    with serve(Teacher({word: ["a"] for word in ANSWERS})) as server:
        make_endpoint(project, project_admin, server.url)
        build = do_build(
            project, curator, "sampling", name="taught", prompts="sums", endpoint="teacher", samples=1, rewards=rewards
        )
    assert build.errand.state == State.FAILED
    assert build.errand.fault.startswith("The rewards could not be computed: rewards[0].endpoint")
    assert "127.0.0.1:9" in build.errand.fault


def test_a_stop_ends_the_process_that_values(tmp_path, monkeypatch):
    """Ten thousand groups would take it a while; it is told to end as soon as somebody asks."""
    group = json.dumps({"row": {"answer": "2"}, "longest": 9, "answers": [{"text": "2", "tokens": 1}]})
    (tmp_path / "answers.jsonl").write_text(f"{group}\n" * 10_000)
    started: list[Any] = []
    start = scoring._start
    monkeypatch.setattr(scoring, "_start", lambda *given: started.append(start(*given)) or started[0])

    def tell(done: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        scoring.score_answers(tmp_path / "answers.jsonl", tmp_path, read_rewards(EXACT), tell=tell)
    assert started[0].returncode is not None


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"choose": "best"}, "rewards"),
        ({"rewards": "- kind: nothing"}, "rewards"),
        ({"rewards": EXACT, "choose": "shortest_correct"}, "least_reward"),
        ({"temperature": 0}, "temperature"),
        ({"rewards": EXACT, "choose": "best_and_worst", "samples": 1}, "samples"),
        ({"samples": 0}, "samples"),
        ({"prompts": "sums@7"}, "prompts"),
    ],
)
def test_a_bad_wish_is_told_by_its_field(project, curator, project_admin, prompts, config, field):
    make_endpoint(project, project_admin, "http://127.0.0.1:9/v1")
    with pytest.raises(BuildRefused) as refused:
        start_build(
            project=project,
            kind="sampling",
            config={"name": "taught", "prompts": "sums", "endpoint": "teacher", **config},
            actor=curator,
        )
    assert [problem.field for problem in refused.value.problems] == [field]
