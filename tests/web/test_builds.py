"""Builds and endpoints: who may set them up, what is refused and how, what pages, REST and the command line show."""

import io
import json
from typing import Any

import pytest

from chanote import cli
from chanote.audit.models import AuditEvent
from chanote.building.funnel import Dropped, Funnel, Kept, Step
from chanote.building.kinds import find_kinds
from chanote.building.models import Build, TeacherEndpoint
from chanote.building.services import BuildRefused, save_endpoint, start_build
from chanote.datasets.services import import_dataset
from chanote.errands.services import stop_errand

pytestmark = pytest.mark.django_db
CONFIG = {"name": "obedient", "questions": "questions", "endpoint": "teacher"}


@pytest.fixture
def house(project, researcher, settings, tmp_path):
    """Questions, an endpoint that nothing asks, and a tool service that nothing calls."""
    settings.HOME = tmp_path
    settings.SANDBOX_ADDRESSES = ["http://127.0.0.1:9"]
    import_rows(project, researcher, "questions", uses=["train", "distil"])
    make_endpoint(project, researcher)
    return project


def import_rows(
    project: Any, actor: Any, slug: str, *, kind: str = "prompts", uses: Any = ("train",), words: str = "ทำไม"
) -> Any:
    row = {"question": words} if kind == "prompts" else {"text": "มาตรา 1"}
    file = io.BytesIO(json.dumps(row).encode() + b"\n")
    return import_dataset(
        project=project, slug=slug, kind=kind, file=file, format="jsonl", uses=list(uses), actor=actor
    )


def make_endpoint(project: Any, actor: Any, **changes: Any) -> TeacherEndpoint:
    given = {"slug": "teacher", "base_url": "http://127.0.0.1:8000/v1", "model": "qwen", "uses": ["train"], **changes}
    return save_endpoint(project=project, actor=actor, **given)


def problems_of(project: Any, actor: Any, **changes: Any) -> dict[str, str]:
    with pytest.raises(BuildRefused) as refused:
        start_build(project=project, kind="autoif", config={**CONFIG, **changes}, actor=actor)
    assert not Build.objects.exists()
    return {problem.field: problem.message for problem in refused.value.problems}


def test_a_build_names_its_versions_by_number_and_waits_as_an_errand(house, curator):
    build = start_build(project=house, kind="autoif", config=CONFIG, actor=curator)
    assert build.config["questions"] == "questions@1"
    assert (build.errand.state, build.errand.kind) == ("queued", "building.build")
    assert [step["name"] for step in build.funnel][:2] == ["1-constraints", "2-functions"]
    assert len(build.funnel) == 9
    event = AuditEvent.objects.get(verb="build.started")
    assert event.detail["config"]["questions"] == "questions@1"


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"questions": "nothing"}, "questions", "is no dataset of this project"),
        ({"endpoint": "other"}, "endpoint", "has no endpoint other; make it under Build data"),
        ({"min_accuracy": 2}, "min_accuracy", "less than or equal to 1"),
        ({"min_functions": 9}, "min_functions", "Only 6 functions are asked for"),
        ({"min_cases": 30}, "min_cases", "At most 24 cases are asked for"),
        ({"name": "questions"}, "name", "choose another name"),
        ({"colour": "red"}, "colour", "is not a known field"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_field_and_the_way_out(house, curator, changes, field, sentence):
    assert sentence in problems_of(house, curator, **changes)[field]


def test_texts_hold_no_questions(house, curator):
    import_rows(house, curator, "laws", kind="text")
    assert problems_of(house, curator, questions="laws")["questions"] == (
        "laws holds text rows; it must hold prompts or chat rows."
    )


def test_questions_and_terms_that_allow_nothing_in_common_build_nothing(house, researcher):
    # Other words than those of the questions: rows that are there already take no rights of their own.
    import_rows(house, researcher, "exam", uses=["evaluate"], words="เมื่อไร")
    told = problems_of(house, researcher, questions="exam")[""]
    assert told == (
        "Nothing could be done with the result: exam@1 allows evaluate; endpoint teacher allows train. Choose others."
    )


def test_a_build_that_runs_functions_needs_the_sandbox(house, curator, settings):
    settings.SANDBOX_ADDRESSES = []
    assert "none is set up" in problems_of(house, curator)[""]


def test_a_key_is_in_a_file_of_its_own_and_nowhere_else(house, researcher, tmp_path, client_of):
    row = make_endpoint(house, researcher, key="sk-very-secret")
    file = tmp_path / "endpoints" / f"{row.pk}.key"
    assert file.read_text() == "sk-very-secret"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "sk-very-secret" not in str(list(AuditEvent.objects.values())) + str(list(TeacherEndpoint.objects.values()))
    page = client_of(researcher).get(f"/p/{house.slug}/endpoints/teacher/").content.decode()
    assert "A key is stored" in page
    assert "sk-very-secret" not in page


def test_a_key_never_goes_to_another_address_than_it_was_given_for(house, researcher, tmp_path):
    row = make_endpoint(house, researcher, key="sk-very-secret")
    moved = make_endpoint(house, researcher, base_url="http://10.0.0.9:8000/v1")
    assert not moved.has_key
    assert not (tmp_path / "endpoints" / f"{row.pk}.key").exists()


def test_an_address_with_a_password_is_refused(house, researcher):
    with pytest.raises(BuildRefused, match="base_url: It is no address like"):
        make_endpoint(house, researcher, base_url="http://user:pass@10.0.0.9/v1")


@pytest.mark.parametrize(
    ("role", "status"), [("viewer", 403), ("curator", 403), ("researcher", 200), ("stranger", 404)]
)
def test_who_may_set_up_an_endpoint(house, request, client_of, role, status):
    page = client_of(request.getfixturevalue(role)).get(f"/p/{house.slug}/endpoints/-/new/")
    assert page.status_code == status


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("curator", 200), ("stranger", 404)])
def test_who_may_build_data(house, request, client_of, role, status):
    page = client_of(request.getfixturevalue(role)).get(f"/p/{house.slug}/builds/-/new/autoif/")
    assert page.status_code == status


def test_the_form_is_made_from_the_config_and_starts_a_build(house, curator, client_of):
    client = client_of(curator)
    page = client.get(f"/p/{house.slug}/builds/-/new/autoif/").content.decode()
    for field in find_kinds()["autoif"].config_class.model_fields.values():
        assert field.title in page
    assert "questions, version 1 (1 prompts)" in page
    form = {**CONFIG, "questions": "questions@1", "min_quality": "7", "answer_language": "th", "languages": "both"}
    answer = client.post(f"/p/{house.slug}/builds/-/new/autoif/", form)
    build = Build.objects.get()
    assert answer["Location"] == build.get_absolute_url()
    assert (build.config["min_quality"], build.config["answer_language"], build.config["rows"]) == (7, "th", 200)


def test_a_wrong_number_keeps_what_was_written(house, curator, client_of):
    form = {**CONFIG, "questions": "questions@1", "min_quality": "eleven", "answer_language": "th", "languages": "en"}
    answer = client_of(curator).post(f"/p/{house.slug}/builds/-/new/autoif/", form)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "valid integer" in page
    assert 'value="obedient"' in page
    assert 'value="eleven"' in page
    assert not Build.objects.exists()


STEP = Step("1-constraints", "Constraints from seeds", "constraints")


@pytest.fixture
def half_done(house, curator):
    """A build whose first step has dropped two of three; text that means something in HTML among them."""
    build = start_build(project=house, kind="autoif", config=CONFIG, actor=curator)
    told = []
    funnel = Funnel(build.directory, lambda step, counts: told.append(counts))
    outcomes = [
        Kept({"text": "first"}),
        Dropped({"text": "<script>alert(1)</script>"}, "said before"),
        Dropped({"text": "x"}, "too short or too long", "1 character"),
    ]
    funnel.run(STEP, lambda: outcomes, total=3)
    build.funnel = [{**build.funnel[0], **told[-1]}, *build.funnel[1:]]
    build.save()
    return build


def test_the_page_of_a_build_shows_the_funnel_while_it_lives(half_done, curator, client_of):
    client = client_of(curator)
    page = client.get(half_done.get_absolute_url()).content.decode()
    assert "said before" in page
    assert 'hx-trigger="every 2s"' in page
    part = client.get(half_done.get_absolute_url(), headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith('<div id="funnel"')
    stop_errand(half_done.errand, actor=curator)
    assert 'id="funnel" hx-get' not in client.get(half_done.get_absolute_url()).content.decode()
    assert half_done.get_absolute_url() in client.get(half_done.errand.get_absolute_url()).content.decode()


def test_what_was_dropped_is_shown_with_its_reason_and_downloaded_whole(half_done, viewer, client_of):
    client = client_of(viewer)
    address = f"{half_done.get_absolute_url()}1-constraints/"
    page = client.get(address).content.decode()
    assert "&lt;script&gt;" in page
    assert "1 character" in page
    only = client.get(address, {"reason": "too short or too long"}).content.decode()
    assert "1 character" in only
    assert "alert(1)" not in only
    file = client.get(f"{half_done.get_absolute_url()}1-constraints.jsonl")
    lines = [json.loads(line) for line in b"".join(file.streaming_content).splitlines()]
    assert [line["reason"] for line in lines] == ["said before", "too short or too long"]


def test_a_step_that_is_not_there_is_not_found(half_done, curator, client_of):
    client = client_of(curator)
    for name in ("9-nothing/", "..%2f..%2fsecret/", "9-nothing.jsonl"):
        assert client.get(f"{half_done.get_absolute_url()}{name}").status_code == 404


def test_another_projects_build_is_not_found(half_done, researcher, client_of):
    from chanote.accounts.models import Membership, Project

    other = Project.objects.create(slug="tax", name="Tax desk")
    Membership.objects.create(project=other, user=researcher, role="researcher")
    assert client_of(researcher).get(f"/p/tax/builds/{half_done.pk}/").status_code == 404


def test_rest_starts_a_build_and_tells_what_was_dropped(half_done, house, researcher, client_of):
    client = client_of(researcher)
    base = f"/api/v1/projects/{house.slug}"
    kinds = client.get(f"{base}/build-kinds/").json()["kinds"]
    assert "min_accuracy" in next(kind for kind in kinds if kind["name"] == "autoif")["config"]["properties"]
    body = {"kind": "autoif", "config": {**CONFIG, "name": "other"}}
    answer = client.post(f"{base}/builds/", body, content_type="application/json")
    assert answer.status_code == 201, answer.content
    assert client.get(answer["Location"]).json()["state"] == "queued"
    wrong = client.post(f"{base}/builds/", {**body, "kind": "alchemy"}, content_type="application/json")
    assert wrong.status_code == 422
    assert "choose one of autoif" in wrong.content.decode()
    dropped = client.get(f"{base}/builds/{half_done.pk}/dropped/1-constraints/").json()
    assert (dropped["total"], dropped["reasons"]) == (2, {"said before": 1, "too short or too long": 1})
    assert dropped["items"][1]["detail"] == "1 character"


def test_rest_never_shows_a_key(house, researcher, client_of):
    client = client_of(researcher)
    base = f"/api/v1/projects/{house.slug}/endpoints/"
    body = {"slug": "mine", "base_url": "https://models.example/v1", "model": "m", "key": "sk-very-secret"}
    made = client.post(base, body, content_type="application/json")
    assert made.status_code == 201, made.content
    assert made.json()["has_key"] is True
    assert "sk-very-secret" not in made.content.decode() + client.get(base).content.decode()
    assert client.delete(f"{base}mine/").status_code == 204
    assert client.get(f"{base}mine/").status_code == 404


def test_the_command_line_starts_a_build_and_says_what_is_wrong(house, researcher, capsys):
    words = ["dataset", "build", "autoif", "--json", "--project", house.slug, "--as", "researcher", "--name", "said"]
    settings = ["--set", "questions=questions", "--set", "endpoint=teacher"]
    assert cli.main([*words, *settings, "--set", "min_quality=9"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "queued"
    assert Build.objects.get().config["min_quality"] == 9
    assert cli.main([*words, *settings, "--set", "min_quality=high"]) != 0
    assert "min_quality" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prompt_price": float("nan")}, "prompt_price: It is no finite number"),
        ({"uses": ["sell"]}, "uses: The use 'sell' is not known"),
        ({"key": "two words"}, "key: A key has no spaces"),
        ({"concurrency": 0}, "concurrency: Ensure this value is greater than or equal to 1"),
    ],
)
def test_settings_that_cannot_be_are_refused_and_nothing_changes(house, researcher, changes, sentence):
    with pytest.raises(BuildRefused, match=sentence):
        make_endpoint(house, researcher, **changes)
    assert TeacherEndpoint.objects.get().uses == ["train"]


def test_an_endpoint_is_set_up_changed_and_removed_on_its_page(house, researcher, client_of):
    client, base = client_of(researcher), f"/p/{house.slug}/endpoints/"
    said = {"base_url": "http://127.0.0.1:8000/v1", "model": "qwen", "uses": ["train"], "concurrency": "4"}
    said |= {"seconds": "60", "prompt_price": "0", "completion_price": "0"}
    assert client.post(f"{base}-/new/", {"slug": "writer", **said}).status_code == 302
    assert client.post(f"{base}-/new/", {"slug": "writer", **said}).status_code == 422
    assert client.post(f"{base}writer/", {**said, "model": "typhoon"}).status_code == 302
    assert TeacherEndpoint.objects.get(slug="writer").model == "typhoon"
    assert client.post(f"{base}writer/", {"do": "remove"}).status_code == 302
    assert not TeacherEndpoint.objects.filter(slug="writer").exists()
