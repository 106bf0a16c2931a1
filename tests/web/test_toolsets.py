"""Toolsets: pages, REST, who may what, and what a run freezes of them. The service is the real one."""

import io
import json

import pytest
from django.test import Client
from law_rows import ROWS
from run_rows import make_run
from tool_service import TOKEN, ToolService, find_dead_address, point_platform_at

from chanote.accounts.services import create_token
from chanote.api.permissions import SCOPES
from chanote.audit.models import AuditEvent
from chanote.datasets.models import ImmutableError
from chanote.datasets.services import import_dataset
from chanote.models.models import Model
from chanote.recipes.services import save_revision
from chanote.runs.freezing import find_obstacles
from chanote.runs.models import MetricSeries, Run, State
from chanote.runs.services import LaunchRefused, RunRefused, launch_run, reproduce_run
from chanote.tools.models import Toolset, ToolsetRevision
from chanote.tools.services import ToolsetRefused, save_toolset
from trainer.contract import Recipe, RunSpec
from trainer.contract.toolsets import KEY_VARIABLE, ToolLimits
from trainer.rollouts.tool_client import read_tools

pytestmark = pytest.mark.django_db
LAW_TOOLS = ["search_law", "read_law"]
PAGES = "/p/law/tools/"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools")
    corpus = folder / "laws.jsonl"
    written = [{"law_name": law, "section_num": number, "text": text} for law, number, text in ROWS]
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in written]
    corpus.write_text("".join(lines), encoding="utf-8")
    started = ToolService(folder, corpus)
    yield started.start()
    started.stop()


@pytest.fixture
def reached(settings, service):
    point_platform_at(settings, service.address, token_file=service.token_file)
    return service


@pytest.fixture
def laws(project, researcher):
    """The rows of the service's corpus file as a dataset."""
    rows = [{"law_name": law, "section_num": number, "text": text} for law, number, text in ROWS]
    return take(project, researcher, "laws", "text", rows, ["train"])


@pytest.fixture
def toolset(project, researcher, laws):
    return save_toolset(project=project, slug="thai-law", tools=LAW_TOOLS, corpus="laws", author=researcher)


@pytest.fixture
def launch(project, researcher, tmp_path):
    """Launch a recipe that names the toolset."""
    talk = [{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}]
    take(project, researcher, "talk", "chat", talk, ["train"])
    Model.objects.create(project=project, slug="tiny", origin="directory", location=str(tmp_path), sha256="0" * 64)

    def launch(toolset: str):
        text = f"base: tiny\ntoolset: {toolset}\nstages:\n  - {{kind: sft, steps: 5, data: [{{dataset: talk}}]}}\n"
        revision = save_revision(project=project, slug="mine", yaml=text, author=researcher)
        return launch_run(revision=revision, owner=researcher)

    return launch


def take(project, actor, slug, kind, rows, uses):
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    return import_dataset(
        project=project, slug=slug, kind=kind, file=io.BytesIO(lines), format="jsonl", uses=uses, actor=actor
    )


class TestSaving:
    def test_a_revision_never_changes(self, toolset):
        toolset.limits = {}
        with pytest.raises(ImmutableError, match=r"thai-law@1 cannot be changed"):
            toolset.save()
        with pytest.raises(ImmutableError):
            ToolsetRevision.objects.update(tools=[])

    def test_the_same_again_makes_none_and_a_change_the_next(self, project, researcher, toolset):
        again = save_toolset(project=project, slug="thai-law", tools=LAW_TOOLS, corpus="laws@1", author=researcher)
        assert (again.pk, again.is_new) == (toolset.pk, False)
        other = save_toolset(
            project=project, slug="thai-law", tools=LAW_TOOLS, corpus="laws", limits={"top_k": 3}, author=researcher
        )
        assert (other.reference, other.is_new, other.read_limits.top_k) == ("thai-law@2", True, 3)
        told = AuditEvent.objects.filter(verb__startswith="toolset.").order_by("id")
        assert [(one.verb, one.object_name) for one in told] == [
            ("toolset.created", "thai-law"),
            ("toolset.revised", "thai-law@1"),
            ("toolset.revised", "thai-law@2"),
        ]

    @pytest.mark.parametrize(
        ("wrong", "field", "words"),
        [
            ({"tools": []}, "tools", "Choose at least one tool"),
            ({"tools": ["rm -rf"]}, "tools", "is no name of a tool"),
            ({"corpus": ""}, "corpus", "search_law and read_law read a corpus; choose one"),
            ({"corpus": "laws@7"}, "corpus", "laws@7 has no such version; choose a text dataset"),
            ({"tools": ["run_python"]}, "corpus", "none of the tools reads a corpus"),
            ({"limits": {"top_k": 99}}, "top_k", "less than or equal to 50"),
            ({"limits": {"call_seconds": float("nan")}}, "call_seconds", "finite"),
            ({"image_digest": "latest"}, "image_digest", "write sha256:"),
            ({"address": "http://elsewhere"}, "address", "is no service of this installation"),
            ({"slug": "Thai Law"}, "slug", "Use lower-case letters"),
        ],
    )
    def test_bad_input_is_refused_by_field(self, settings, project, researcher, laws, wrong, field, words):
        point_platform_at(settings)
        given = {"slug": "thai-law", "tools": LAW_TOOLS, "corpus": "laws", **wrong}
        with pytest.raises(ToolsetRefused) as refused:
            save_toolset(project=project, author=researcher, **given)
        (problem,) = refused.value.problems
        assert problem.field == field
        assert words in problem.message
        assert not Toolset.objects.exists()


class TestPages:
    def test_the_list_tells_of_the_service_and_of_the_toolsets(self, reached, toolset, viewer, client_of):
        page = client_of(viewer).get(PAGES).content.decode()
        assert "thai-law" in page
        assert "laws@1" in page
        assert "Law tools work. Code tools answer “unavailable: no container engine" in page
        assert "New toolset" not in page

    def test_an_empty_list_says_how_to_begin(self, settings, researcher, client_of):
        point_platform_at(settings)
        page = client_of(researcher).get(PAGES).content.decode()
        assert "No toolset yet" in page
        assert "No tool service is set up." in page

    def test_a_person_makes_one_and_saves_a_revision(self, reached, project, laws, researcher, client_of):
        client = client_of(researcher)
        given = {
            "slug": "mine", "title": "Mine", "tools": LAW_TOOLS, "corpus": "laws@1", "call_seconds": "5",
            "output_characters": "2000", "top_k": "4", "image_digest": "", "address": "", "message": "First",
        }  # fmt: skip
        assert client.post(f"{PAGES}-/new/", given).status_code == 302
        page = client.get(f"{PAGES}mine/").content.decode()
        assert "5 s" in page
        assert "No run can be launched" not in page
        changed = client.post(f"{PAGES}mine/edit/", {**given, "top_k": "9", "based_on": "1"}, follow=True)
        assert "Revision 2 of mine is saved." in changed.content.decode()
        late = client.post(f"{PAGES}mine/edit/", {**given, "top_k": "1", "based_on": "1"})
        assert late.status_code == 422
        assert "researcher saved revision 2 while you were writing" in late.content.decode()
        assert "Most sections" in client.get(f"{PAGES}mine/?revision=1").content.decode()
        assert client.get(f"{PAGES}mine/?revision=3").status_code == 404

    def test_what_is_wrong_stands_at_its_field(self, reached, laws, researcher, client_of):
        answer = client_of(researcher).post(f"{PAGES}-/new/", {"slug": "mine", "tools": LAW_TOOLS, "call_seconds": "5",
            "output_characters": "2000", "top_k": "99"})  # fmt: skip
        assert answer.status_code == 422
        page = answer.content.decode()
        assert "search_law and read_law read a corpus; choose one." in page
        assert "less than or equal to 50" in page

    def test_a_viewer_looks_on(self, reached, toolset, viewer, client_of):
        client = client_of(viewer)
        assert client.get(f"{PAGES}thai-law/").status_code == 200
        assert client.get(f"{PAGES}-/new/").status_code == 403
        assert client.post(f"{PAGES}thai-law/edit/", {}).status_code == 403

    def test_the_corpus_file_is_what_the_service_has_open(self, reached, toolset, viewer, client_of):
        answer = client_of(viewer).get(f"{PAGES}thai-law/1.jsonl")
        assert len(b"".join(answer.streaming_content).splitlines()) == len(ROWS)
        assert 'filename="laws-1-corpus.jsonl"' in answer["Content-Disposition"]

    def test_the_list_asks_as_much_of_the_database_for_many_as_for_one(
        self, settings, project, researcher, laws, toolset, client_of, django_assert_num_queries
    ):
        point_platform_at(settings)
        client = client_of(researcher)
        client.get(PAGES)
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        with CaptureQueriesContext(connection) as one:
            client.get(PAGES)
        for number in range(5):
            save_toolset(project=project, slug=f"t{number}", tools=LAW_TOOLS, corpus="laws", author=researcher)
        with django_assert_num_queries(len(one)):
            client.get(PAGES)


class TestRuns:
    def test_a_run_freezes_tools_corpus_and_schemas(self, reached, toolset, launch, client_of, researcher, monkeypatch):
        run = launch("thai-law")
        frozen = run.snapshot["toolset"]
        assert frozen["name"] == run.snapshot["recipe"]["toolset"] == "thai-law@1"
        assert frozen["tools"] == LAW_TOOLS
        assert [one["name"] for one in frozen["functions"]] == LAW_TOOLS
        assert frozen["corpus"]["dataset"] == "laws@1"
        assert frozen["corpus"]["corpus_sha256"] == toolset.corpus_sha256
        assert frozen["address"] == reached.address
        spec = RunSpec.model_validate(
            {name: run.snapshot[name] for name in RunSpec.model_fields if name in run.snapshot}
        )
        assert spec.toolset.limits.top_k == 10
        monkeypatch.setenv(KEY_VARIABLE, TOKEN)
        _, told = read_tools(spec.toolset)
        assert [one["function"] for one in told] == frozen["functions"], "the policy is told what was frozen"
        client = client_of(researcher)
        page = client.get(f"/p/law/runs/{run.number}/").content.decode()
        assert "thai-law@1" in page
        assert toolset.corpus_sha256[:6] in page
        assert toolset.corpus_sha256 in client.get(f"/p/law/runs/{run.number}/config/").content.decode()
        assert run.name in client.get(f"{PAGES}thai-law/").content.decode()

    def test_the_token_is_in_no_snapshot(self, reached, toolset, launch):
        assert reached.token_file.read_text().split(":")[1].strip() not in json.dumps(launch("thai-law").snapshot)

    def test_a_run_is_reproduced_with_the_same_tools_only(
        self, settings, reached, project, researcher, toolset, launch
    ):
        run = launch("thai-law")
        with pytest.raises(RunRefused):
            reproduce_run(run, owner=researcher)
        Run.objects.filter(pk=run.pk).update(state=State.FINISHED)
        run.attempts.update(state=State.FINISHED)
        MetricSeries.objects.create(run=run, key="train/loss")
        run.refresh_from_db()
        again = reproduce_run(run, owner=researcher)
        assert again.snapshot["toolset"] == run.snapshot["toolset"]
        run.snapshot["toolset"]["corpus"]["language"] = "de"
        with pytest.raises(LaunchRefused, match=r"thai-law@1 has another corpus now: another result is to be expected"):
            reproduce_run(run, owner=researcher)
        point_platform_at(settings, find_dead_address())
        with pytest.raises(LaunchRefused, match="cannot be reached"):
            reproduce_run(run, owner=researcher)

    def test_a_later_revision_does_not_reach_the_run(self, reached, project, researcher, toolset, launch):
        run = launch("thai-law")
        save_toolset(project=project, slug="thai-law", tools=["read_law"], corpus="laws", author=researcher)
        run.refresh_from_db()
        assert run.snapshot["toolset"]["tools"] == LAW_TOOLS

    def test_a_service_that_is_down_refuses_the_launch(self, settings, toolset, launch):
        point_platform_at(settings, find_dead_address())
        with pytest.raises(LaunchRefused, match=r"toolset: The tool service at .* cannot be reached"):
            launch("thai-law")

    def test_another_corpus_refuses_the_launch(self, reached, project, researcher, toolset, launch):
        rows = [{"law_name": "Tax Code", "section_num": "1", "text": "Who earns pays."}]
        take(project, researcher, "other", "text", rows, ["train"])
        save_toolset(project=project, slug="thai-law", tools=LAW_TOOLS, corpus="other", author=researcher)
        with pytest.raises(LaunchRefused, match=r"reads other@1 \(corpus .*\), and the service at .* has corpus"):
            launch("thai-law")

    def test_code_tools_without_an_engine_refuse_the_launch(self, reached, project, researcher, laws, launch):
        save_toolset(project=project, slug="code", tools=["run_python"], author=researcher)
        with pytest.raises(LaunchRefused, match=r"code@1 has run_python, which does not run now: unavailable: no cont"):
            launch("code")

    def test_what_the_project_lacks_is_said_without_the_service(self, settings, project, researcher, toolset):
        point_platform_at(settings, find_dead_address())
        stage = {"kind": "sft", "steps": 5, "data": [{"dataset": "talk"}]}

        def tell(name):
            recipe = Recipe.model_validate({"base": "tiny", "toolset": name, "stages": [stage]})
            return [one.message for one in find_obstacles(project, recipe) if one.field == "toolset"]

        assert tell("") == tell("thai-law") == tell("thai-law@1") == []
        assert tell("thai-law@2") == ["thai-law@2 has no such revision; choose one of thai-law."]
        assert tell("nobody") == ["nobody is no toolset of this project; choose one of thai-law."]

    def test_rights_that_forbid_training_forbid_the_corpus(self, settings, project, researcher, laws):
        point_platform_at(settings)
        rows = [{"law_name": "Tax Code", "section_num": "1", "text": "Who earns pays."}]
        take(project, researcher, "closed", "text", rows, ["evaluate"])
        save_toolset(project=project, slug="closed", tools=LAW_TOOLS, corpus="closed", author=researcher)
        stage = {"kind": "sft", "steps": 5, "data": [{"dataset": "talk"}]}
        recipe = Recipe.model_validate({"base": "tiny", "toolset": "closed", "stages": [stage]})
        assert (
            "toolset: closed@1 reads closed@1, and a policy would learn from it: closed@1 is for evaluation only"
        ) in " ".join(map(str, find_obstacles(project, recipe)))

    def test_the_recipe_form_offers_the_toolsets(self, reached, toolset, researcher, client_of):
        page = client_of(researcher).get("/p/law/recipes/-/new/").content.decode()
        assert "thai-law, newest (now revision 1)" in page


class TestRest:
    @pytest.fixture
    def api(self, researcher):
        _, text = create_token(researcher, "program", list(SCOPES), 30)
        return Client(headers={"Authorization": f"Bearer {text}"})

    def post(self, api, path, body):
        return api.post(f"/api/v1/projects/law{path}", json.dumps(body), content_type="application/json")

    def test_a_toolset_is_made_revised_and_read(self, reached, api, laws):
        body = {"slug": "thai-law", "tools": LAW_TOOLS, "corpus": "laws@1", "limits": {"top_k": 3}}
        made = self.post(api, "/toolsets/", body)
        assert made.status_code == 201
        assert made.json()["limits"] == ToolLimits(top_k=3).model_dump()
        assert made["Location"].endswith("/toolsets/thai-law/revisions/1/")
        assert self.post(api, "/toolsets/", body).status_code == 400
        del body["slug"]
        assert self.post(api, "/toolsets/thai-law/revisions/", body).status_code == 200
        assert self.post(api, "/toolsets/thai-law/revisions/", {**body, "tools": ["read_law"]}).status_code == 201
        (listed,) = api.get("/api/v1/projects/law/toolsets/").json()["results"]
        assert listed["newest"]["number"] == 2
        numbers = [
            one["number"] for one in api.get("/api/v1/projects/law/toolsets/thai-law/revisions/").json()["results"]
        ]
        assert numbers == [2, 1]
        assert api.get("/api/v1/projects/law/toolsets/thai-law/revisions/1/").json()["tools"] == LAW_TOOLS

    def test_a_refusal_names_the_field(self, reached, api, laws):
        answer = self.post(api, "/toolsets/", {"slug": "x", "tools": LAW_TOOLS})
        assert answer.status_code == 422
        assert answer.json()["problems"][0]["field"] == "corpus"

    def test_how_the_service_is(self, reached, api):
        told = api.get("/api/v1/projects/law/tools/").json()
        assert told["health"] == "partly"
        assert told["facts"]["sections"] == len(ROWS)
        assert [one["name"] for one in told["functions"]] == [*LAW_TOOLS, "run_python", "run_tests"]

    def test_a_token_needs_the_scope(self, reached, researcher, toolset):
        _, text = create_token(researcher, "runs", ["runs:read"], 30)
        answer = Client(headers={"Authorization": f"Bearer {text}"}).get("/api/v1/projects/law/toolsets/")
        assert answer.status_code == 403
        assert "tools:read" in answer.json()["detail"]


def test_the_home_page_tells_of_the_service_and_asks_it_once(settings, reached, viewer, client_of):
    page = client_of(viewer).get("/p/law/").content.decode()
    assert "Law tools only" in page
    assert "“unavailable: no container engine" in page
    assert "10 sections of 3 laws" in page


def test_the_home_page_tells_of_a_service_that_is_down(settings, viewer, client_of):
    point_platform_at(settings, find_dead_address())
    page = client_of(viewer).get("/p/law/").content.decode()
    assert "Unreachable" in page
    assert "start it, or correct CHANOTE_SANDBOX_URL." in page


def test_a_run_without_a_toolset_shows_none(project, viewer, client_of):
    make_run(project)
    assert "Toolset" not in client_of(viewer).get("/p/law/runs/1/").content.decode()
