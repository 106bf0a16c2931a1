"""AutoIF from seeds to a dataset version, with an endpoint that misbehaves and the real sandbox."""

import io
import json
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from autoif_teacher import BOLD, HOSTILE, KRAP, LINES, NO_BANG, RICE, SEEDS, WORDS, Teacher
from judge_server import Reply, serve

from chanote.accounts.models import Membership, Project, User
from chanote.building import endpoint as endpoint_module
from chanote.building.autoif import constraints
from chanote.building.doing import Building
from chanote.building.funnel import Funnel, read_dropped
from chanote.building.models import Build
from chanote.building.services import save_endpoint, start_build
from chanote.datasets.services import import_dataset
from chanote.datasets.storage import open_rows
from chanote.errands import launching
from chanote.errands.doing import do_here
from chanote.errands.leases import claim
from chanote.errands.models import Errand, State
from chanote.errands.services import resume_errand, stop_errand
from tests.sandbox_service import run_service

pytestmark = pytest.mark.docker

QUESTIONS = (
    "ขอภาษาไทย: วันนี้คุณไปไหนมา",
    "ขอภาษาไทย: แม่ชอบกินอะไร",
    "ขอภาษาไทย: แม่ชอบกินอะไร",
    "What did you eat at the market?",
    "Where did your friends go today?",
    "今日は何を食べましたか",
)
ASKS_A_JUDGE = "You judge an answer"
SETTINGS = {
    "endpoint": "teacher",
    "constraint_calls": 2,
    "functions_each": 4,
    "cases_each": 2,
    "min_cases": 6,
    "rows": 14,
    "cross_lingual": 1.0,
}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("sandbox")
    with run_service(folder, owner="autoif", warm=1, batch_workers=2) as service:
        yield service.url, folder / "tokens"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few seeds, and no waiting between attempts."""
    monkeypatch.setattr(endpoint_module, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(constraints, "SEEDS", SEEDS)
    monkeypatch.setattr(constraints, "SHOWN", 2)


@pytest.fixture
def house(project, researcher, sandbox, settings, tmp_path) -> Project:
    """A project with questions, whose platform knows the sandbox."""
    settings.HOME = tmp_path
    settings.SANDBOX_ADDRESSES = [sandbox[0]]
    settings.SANDBOX_TOKEN_FILE = str(sandbox[1])
    import_questions(project, researcher)
    return project


def import_questions(project: Project, actor: User) -> None:
    rows = "".join(json.dumps({"question": question}, ensure_ascii=False) + "\n" for question in QUESTIONS)
    import_dataset(
        project=project,
        slug="questions",
        kind="prompts",
        file=io.BytesIO(rows.encode()),
        format="jsonl",
        licence="CC-BY-4.0",
        uses=["train", "distil"],
        actor=actor,
    )


def begin(
    project: Project, actor: User, url: str, *, name: str = "obedient", title: str = "", **settings: Any
) -> Build:
    save_endpoint(
        project=project,
        slug="teacher",
        base_url=url,
        model="teacher-32b",
        prompt_price=1.0,
        completion_price=10.0,
        currency="THB",
        licence="Apache-2.0",
        uses=["train", "distil", "evaluate"],
        key="sk-very-secret",
        actor=actor,
    )
    return start_build(
        project=project,
        kind="autoif",
        config={"name": name, "questions": "questions", **SETTINGS, **settings},
        title=title,
        actor=actor,
    )


def count_bodies(asked: list[dict[str, Any]]) -> Counter[str]:
    return Counter(json.dumps(body, sort_keys=True) for body in asked)


def finish(build: Build) -> Build:
    done = do_here(build.errand)
    assert done.state == "finished", done.fault
    build.refresh_from_db()
    return build


def dropped(build: Build, step: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in read_dropped(build.directory, step):
        found.setdefault(one["reason"], []).append(one)
    return found


def count_drops(build: Build, step: str) -> dict[str, int]:
    return {reason: len(items) for reason, items in dropped(build, step).items()}


@pytest.mark.django_db
def test_seeds_become_rows_and_every_loss_has_its_reason(house, researcher, quick):
    with serve(Teacher().script) as server:
        build = finish(begin(house, researcher, server.url))
        asked = {json.dumps(body, sort_keys=True) for body in server.asked}
        assert all(headers["Authorization"] == "Bearer sk-very-secret" for headers in server.headers)

    assert count_drops(build, "1-constraints") == {
        "holds a gap to fill": 1,
        "said before": 1,
        "not in the language that was asked for": 1,
        "too short or too long": 1,
    }
    assert count_drops(build, "2-functions") == {"the reply holds no JSON object": 1}
    lost = dropped(build, "3-crosschecks")
    whole = {one["item"]["text"]: one["reason"] for items in lost.values() for one in items if not one.get("part")}
    assert whole == {BOLD: "too few cases that some function reproduces"}
    troubles = {one["item"]["function"]: one["reason"] for items in lost.values() for one in items if one.get("part")}
    assert set(troubles) == set(HOSTILE)
    assert troubles[HOSTILE[1]] == "the function failed in the sandbox"
    assert troubles[HOSTILE[6]] == "the function reproduces too few cases"
    assert not Path("/tmp/pwned").exists()  # noqa: S108 (one of the functions would have made it)
    (contradicted,) = dropped(build, "5-contradictions")["what a function checks contradicts the constraint"]
    assert contradicted["item"]["text"] == LINES
    assert count_drops(build, "6-pairs") == {
        "the question was asked before": 1,
        "the question is neither Thai nor English": 1,
    }
    reasons = set(dropped(build, "7-answers"))
    assert {
        "the same answer came before",
        "the answer was cut off",
        "the answer holds Chinese, Japanese or Korean letters",
        "the answer is not in the language that it must be in",
        "too few functions pass the answer",
    } <= reasons
    for step in build.funnel[3:]:
        assert step["done"]
        if step["name"] in ("7-answers", "8-quality"):
            assert step["in"] == step["kept"] + step["dropped"]

    rows = list(open_rows(build.result))
    assert len(rows) == build.funnel[-1]["kept"] == build.result.rows
    systems = sum(row["messages"][0]["role"] == "system" for row in rows)
    assert abs(2 * systems - len(rows)) <= 1
    crossed = {(row["pair"], row["constraint_language"]) for row in rows if row["crossed"]}
    assert {language for _, language in crossed} == {"th", "en"}
    for row in rows:
        said = " ".join(message["content"] for message in row["messages"][:-1])
        answer = row["messages"][-1]["content"]
        assert row["constraint"] in said
        if "“ครับ”" in said:
            assert answer.endswith("ครับ")
        if "ข้าวเหนียว" in said:
            assert "“ข้าวเหนียว”" in said
            assert "ข้าวเหนียว" in answer
        assert row["quality"] >= 8
    assert {row["constraint"] for row in rows} > {KRAP, NO_BANG, RICE, WORDS}

    version = build.result
    assert (version.uses, version.licence) == (["train", "distil"], "CC-BY-4.0 AND Apache-2.0")
    assert version.operation["endpoints"][0]["model"] == "teacher-32b"
    assert version.operation["config"]["questions"] == "questions@1"
    assert [one.reference for one in version.drawn_from.all()] == ["questions@1"]
    cost = build.errand.cost
    assert cost["replies"] == len(asked)
    assert cost["tokens sent"] == 100 * len(asked)
    assert cost["money (THB)"] == pytest.approx(len(asked) * (100 * 1.0 + 10 * 10.0) / 1e6, abs=1e-6)
    assert not any(b"sk-very" in path.read_bytes() for path in build.directory.rglob("*") if path.is_file())


class Killed(BaseException):
    """As sudden as the end of the process, as far as the build can tell."""


@pytest.mark.django_db
def test_killed_in_the_middle_of_every_step_it_comes_to_the_same_rows(house, researcher, quick, monkeypatch):
    small = {"constraint_calls": 0, "rows": 4}
    tell = Building._tell
    killed: list[str] = []

    def tell_and_die(building: Building, step: Any, counts: dict[str, Any]) -> None:
        tell(building, step, counts)
        if building.build.title == "mortal" and not counts["done"] and counts["kept"] and step.name not in killed:
            killed.append(step.name)
            raise Killed

    monkeypatch.setattr(Building, "_tell", tell_and_die)
    with serve(Teacher().script) as server:
        whole = finish(begin(house, researcher, server.url, **small))
        asked = len({json.dumps(body, sort_keys=True) for body in server.asked})
        server.asked.clear()
        mortal = begin(house, researcher, server.url, title="mortal", name="mortal", **small)
        while len(killed) < 9:
            with pytest.raises(Killed):
                do_here(mortal.errand)
            Errand.objects.filter(pk=mortal.errand_id).update(state=State.QUEUED)
        finish(mortal)
    assert [int(name[0]) for name in killed] == list(range(1, 10))
    assert mortal.result.sha256 == whole.result.sha256
    assert mortal.errand.cost["replies"] == whole.errand.cost["replies"] == asked
    assert [step["kept"] for step in mortal.funnel] == [step["kept"] for step in whole.funnel]


@pytest.mark.django_db
def test_a_build_whose_endpoint_was_away_and_that_a_person_stopped_goes_on(house, researcher, quick, monkeypatch):
    teacher = Teacher(faults=False)
    away = threading.Event()
    away.set()

    def script(number: int, body: dict[str, Any]) -> Reply:
        if away.is_set() and "```python" in body["messages"][-1]["content"]:
            return Reply({"error": {"message": "no GPU is free"}}, status=503)
        return teacher.script(number, body)

    read_counts = Funnel.read_counts

    def stop_at_pairs(funnel: Funnel, step: Any) -> Any:
        if step.name == "6-pairs" and not Errand.objects.filter(stop_asked=True).exists():
            stop_errand(Errand.objects.get(), actor=researcher)
        return read_counts(funnel, step)

    monkeypatch.setattr("chanote.errands.work.REPORT_SECONDS", 0.0)
    with serve(script) as server:
        build = begin(house, researcher, server.url, constraint_calls=0, rows=2)
        failed = do_here(build.errand)
        assert failed.state == "failed"
        assert "no GPU is free" in failed.fault
        assert failed.fault.endswith("look at the server and resume.")
        away.clear()
        resume_errand(failed, actor=researcher)
        with monkeypatch.context() as stopping:
            stopping.setattr(Funnel, "read_counts", stop_at_pairs)
            assert do_here(build.errand).state == "stopped"
        build.refresh_from_db()
        assert build.funnel[4]["done"]
        assert not build.funnel[5].get("done")
        resume_errand(build.errand, actor=researcher)
        finish(build)


def test_a_killed_process_is_replaced_and_asks_nothing_twice(installation, sandbox, settings, monkeypatch):
    """A real process, ended by the kernel while it waits for answers."""
    settings.SANDBOX_ADDRESSES, settings.SANDBOX_TOKEN_FILE = [sandbox[0]], str(sandbox[1])
    monkeypatch.setenv("CHANOTE_SANDBOX_URL", sandbox[0])
    monkeypatch.setenv("CHANOTE_SANDBOX_TOKEN_FILE", str(sandbox[1]))
    project = Project.objects.create(slug="law", name="Law assistant")
    researcher = User.objects.create(username="researcher")
    Membership.objects.create(user=researcher, project=project, role="researcher")
    import_questions(project, researcher)
    teacher = Teacher(faults=False)
    reached, go = threading.Event(), threading.Event()

    def script(number: int, body: dict[str, Any]) -> Reply:
        if body["messages"][-1]["content"].startswith(ASKS_A_JUDGE) and not go.is_set():
            reached.set()
            go.wait(60)
        return teacher.script(number, body)

    small = {"constraint_calls": 0, "rows": 6}
    with serve(script) as server:
        build = begin(project, researcher, server.url, **small)
        claimed = claim(build.errand_id)
        assert claimed is not None
        launching.start_process(claimed)
        first = launching.PROCESSES[-1]
        assert reached.wait(120), (build.directory / "errand.log").read_text()
        first.send_signal(signal.SIGKILL)
        first.wait()
        go.set()
        Errand.objects.filter(pk=build.errand_id).update(lease_until="2020-01-01T00:00:00Z")
        launching.take_over_silent()
        installation.wait_for(lambda: not Errand.objects.get(pk=build.errand_id).is_active, seconds=120)
        build.refresh_from_db()
        assert build.errand.state == "finished", build.errand.fault
        launching.PROCESSES[-1].wait()
        asked = count_bodies(server.asked)
        server.asked.clear()
        whole = finish(begin(project, researcher, server.url, name="whole", **small))
        again = list((asked - count_bodies(server.asked)).elements())
        assert len(again) <= project.endpoints.get().concurrency, again
        assert all(ASKS_A_JUDGE in body for body in again), "only what was under way is asked again"
    assert build.result.sha256 == whole.result.sha256
