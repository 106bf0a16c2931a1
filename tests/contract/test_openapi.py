"""The API keeps to its own description, whatever it is sent.

After a change of the API: `python manage.py spectacular --file docs/openapi.yml`.
"""

import io
import json
from pathlib import Path

import pytest
import schemathesis
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.utils import timezone
from hypothesis import HealthCheck, Phase
from hypothesis import settings as examples
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.rollout_rows import make_rollout, store_step

REPOSITORY = Path(__file__).resolve().parents[2]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
NAMES = {
    "datasets": "talk",
    "models": "tiny",
    "recipes": "mine",
    "tasks": "exam",
    "boards": "first",
    "aliases": "candidate",
    "toolsets": "tools",
    "endpoints": "teacher",
    "sources": "talk",
}
"""Something that exists, by the noun in the path."""
RECIPE = "base: tiny\nstages:\n  - {kind: sft, steps: 5, data: [{dataset: talk}]}\n"


def test_the_committed_description_is_the_present_one():
    out = io.StringIO()
    call_command("spectacular", stdout=out, validate=True, fail_on_warn=True)
    committed = (REPOSITORY / "docs/openapi.yml").read_text(encoding="utf-8")
    assert out.getvalue() == committed, "run: python manage.py spectacular --file docs/openapi.yml"


def test_every_operation_names_its_errors_and_its_words():
    out = io.StringIO()
    call_command("spectacular", format="openapi-json", stdout=out)
    schema = json.loads(out.getvalue())
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], f"{method} {path} says nothing"
            assert {"401", "403", "404"} <= set(operation["responses"]), f"{method} {path}"


@pytest.fixture
def material(project, researcher, tmp_path):
    """One of everything, so that valid addresses lead somewhere."""
    from chanote.boards.aliases import create_alias
    from chanote.boards.services import create_board, freeze_task, import_evaluation
    from chanote.building.services import save_endpoint
    from chanote.datasets.services import import_dataset
    from chanote.models.models import Model
    from chanote.recipes.services import save_revision
    from chanote.runs.metrics import ingest_metrics_request
    from chanote.runs.models import Attempt, Checkpoint, Run, RunEvent, State
    from chanote.tools.calls import store_calls
    from chanote.tools.services import save_toolset
    from trainer.contract import TaskSpec
    from trainer.contract.tool_calls import StoredToolCall

    rows = [
        {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": str(n)}]} for n in range(3)
    ]
    chat = "".join(json.dumps(row) + "\n" for row in rows).encode()
    import_dataset(project=project, slug="talk", kind="chat", file=io.BytesIO(chat), format="jsonl", actor=researcher)
    asked = b'{"question": "1+1?", "answer": "2"}\n{"question": "2+2?", "answer": "4"}\n'
    version = import_dataset(
        project=project, slug="asked", kind="prompts", file=io.BytesIO(asked), format="jsonl", actor=researcher
    )
    model = Model.objects.create(
        project=project, slug="tiny", origin="directory", location=str(tmp_path), sha256="0" * 64
    )
    revision = save_revision(project=project, slug="mine", title="Mine", yaml=RECIPE, author=researcher)
    run = Run.objects.create(
        project=project, number=1, name="first", revision=revision, base=model, snapshot={"tasks": {}},
        state=State.FAILED, owner=researcher,
    )  # fmt: skip
    attempt = Attempt.objects.create(run=run, number=1, state=State.FAILED, directory=str(tmp_path))
    (tmp_path / "stderr.log").write_text("one\ntwo\n")
    RunEvent.objects.create(attempt=attempt, seq=0, at=timezone.now(), type="run_finished", payload={"step": 1})
    Checkpoint.objects.create(
        run=run, attempt=attempt, step=1, stage=0, directory=str(tmp_path / "gone"), sha256="2" * 64
    )
    store_step(run, 1, [make_rollout(0, 0), make_rollout(0, 1, reward=None, masked="judge: no answer")])
    save_endpoint(
        project=project, slug="teacher", base_url="http://127.0.0.1:9/v1", model="m", uses=["train"], actor=researcher
    )
    save_toolset(project=project, slug="tools", tools=["run_python"], author=researcher)
    call = {"call": "c1", "step": 1, "rollout": "0.0", "tool": "run_python", "arguments": "{}", "output": "1"}
    store_calls(run, [StoredToolCall(**call, status="ok", wall_ms=1.0)])
    points = {"steps": [1, 2, 3], "values": [1.5, "NaN", 0.5]}
    ingest_metrics_request(run, json.dumps({"batch": "1", "series": {"train/loss": points}}).encode())
    spec = TaskSpec(task="exam", dataset="asked", output_type="generate_until", metric="exact_match")
    task = freeze_task(project=project, definition=spec, dataset_version=version, actor=researcher)
    board = create_board(project=project, slug="first", actor=researcher)
    create_alias(project=project, name="candidate", guard=board, actor=researcher)
    samples = tmp_path / "samples.jsonl"
    sample = {"prompt": "?", "output": "2", "target": "2", "score": 1.0, "status": "ok"}
    samples.write_text("".join(json.dumps(sample | {"item": str(n)}) + "\n" for n in range(4)))
    evaluation = import_evaluation(task=task, model=model, samples_path=samples, board=board, run=run, actor=researcher)
    return {"run": run.number, "evaluation": evaluation.pk}


@pytest.fixture
def api(material, researcher, monkeypatch):
    from chanote.accounts.services import create_token
    from chanote.api.permissions import SCOPES

    limits = dict.fromkeys(settings.API_REQUESTS_PER_MINUTE, 10**9)
    monkeypatch.setattr(settings, "API_REQUESTS_PER_MINUTE", limits)
    _, token = create_token(researcher, "contract", list(SCOPES), 1)
    # Without a server in between nobody unpacks a compressed answer for the test.
    return {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}


def read_description():
    """The description as it is generated now; the test above holds the committed one to it."""
    out = io.StringIO()
    call_command("spectacular", format="openapi-json", stdout=out)
    schema = schemathesis.openapi.from_dict(json.loads(out.getvalue()))
    schema.app = get_wsgi_application()
    schema.config.generation = GenerationConfig(
        modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE],
        max_examples=3,
        deterministic=True,
        allow_extra_parameters=False,
    )
    return schema


described = read_description()


@described.parametrize()
@examples(
    max_examples=3,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_keep_to_the_description(case, material, api):
    """As generated, and again at an address that exists."""
    case.call_and_validate(checks=CHECKS, headers=api)
    given = dict(case.path_parameters or {})
    if not given:
        return
    noun = case.operation.path.split("{project}/", 1)[-1].split("/", 1)[0]
    place = {"project": "law"}
    if "slug" in given:
        place["slug"] = NAMES[noun]
    if "number" in given:
        place["number"] = {"runs": material["run"], "evaluations": material["evaluation"]}.get(noun, 1)
    if "step" in given:
        place["step"] = 1
    place |= {name: 0 for name in ("group", "index", "change") if name in given}
    place |= {name: value for name, value in (("row", 1), ("link", 1), ("name", "personal")) if name in given}
    case.path_parameters = place
    case.call_and_validate(checks=[check for check in CHECKS if check is not negative_data_rejection], headers=api)
