"""Every rule on rights with the sentence that a person reads, wherever it is asked."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from chanote.accounts.services import create_token
from chanote.boards.services import BoardError, freeze_task
from chanote.datasets.errors import ImportRefused
from chanote.datasets.making import make_version
from chanote.datasets.models import Use
from chanote.datasets.shared import load_shared_data
from chanote.models.services import describe_model
from chanote.rights.exceptions import RightsRefused
from chanote.rights.licences import check_licence
from chanote.rights.models import Source
from chanote.rights.rules import (
    VERSION_RULES,
    Finding,
    check_export,
    judge_model,
    judge_version,
    version_rule,
)
from chanote.rights.sources import change_source, create_source, set_purpose
from chanote.rights.terms import trace_terms
from chanote.rights.withdrawal import withdraw_row, withdraw_source
from chanote.runs.freezing import LaunchRefused
from chanote.runs.models import Run
from chanote.runs.services import launch_run
from chanote.tools.corpora import CorpusRefused, write_corpus
from chanote.tools.services import ToolsetRefused, save_toolset
from tests.rights_rows import (
    approve,
    import_texts,
    make_model,
    make_source,
    make_texts,
    train_model,
    write_text_recipe,
)
from trainer.contract import TaskSpec

pytestmark = pytest.mark.django_db


def sentences(judgement) -> list[str]:
    return [refusal.message for refusal in judgement.refusals]


@pytest.fixture
def mixed(project):
    """Rows 1 to 4 are free, 5 to 7 for evaluation only, 8 and 9 free again."""
    court, exam = make_source(project), make_source(project, "exam", uses=["evaluate"])
    return make_texts(project, [(court, 4), (exam, 3), (court, 2)])


def test_scope_names_the_rows_and_their_source(mixed):
    assert sentences(judge_version(mixed, "train")) == [
        "rows 5 to 7 of mixed@1 are for evaluation only and must not be trained on (source exam); choose a dataset "
        "whose rights allow it, or ask for an exception."
    ]
    [refusal] = judge_version(mixed, "train").refusals
    assert (refusal.rule, refusal.subject, refusal.rows, refusal.source) == ("scope", "mixed@1", ((5, 7),), "exam")
    assert refusal.ask == "/p/law/rights/exceptions/-/new/?version=mixed@1&use=train"
    assert not judge_version(mixed, "evaluate").refusals


def test_several_ranges_are_told_and_many_are_counted(project):
    court, exam = make_source(project), make_source(project, "exam", uses=["evaluate", "publish"])
    version = make_texts(project, [(exam, 1), (court, 1)] * 2)
    assert sentences(judge_version(version, "distil"))[0].startswith(
        "the rights of rows 1 and 3 of mixed@1 allow evaluate, publish, not distil: they must not be used to distil a "
        "teacher (source exam)"
    )
    many = make_texts(project, [(exam, 1), (court, 1)] * 6, slug="many")
    assert "rows 1, 3, 5 and 3 more ranges of many@1" in sentences(judge_version(many, "distil"))[0]


def test_what_a_version_was_narrowed_to_counts_beside_its_sources(project):
    version = make_texts(project, [(make_source(project), 3)], uses=["evaluate"])
    assert (
        "mixed@1 is for evaluation only and must not be trained on (rows 1 to 3)"
        in sentences(judge_version(version, "train"))[0]
    )


def test_rows_may_be_measured_on_by_rights_to_train_or_to_evaluate(project):
    training = make_texts(project, [(make_source(project, uses=["train"]), 2)])
    assert not judge_version(training, Use.EVALUATE, measured=True).refusals
    assert judge_version(training, Use.EVALUATE).refusals
    closed = make_texts(project, [(make_source(project, "closed", uses=["publish"]), 2)], slug="closed")
    assert "must not be measured on" in sentences(judge_version(closed, Use.EVALUATE, measured=True))[0]


def test_an_expired_consent_refuses_from_the_day_after(project):
    today = timezone.localdate()
    source = make_source(project, expires=today)
    version = make_texts(project, [(source, 3)])
    assert not judge_version(version, "train").refusals
    Source.objects.filter(pk=source.pk).update(expires=today - timedelta(days=1))
    assert sentences(judge_version(version, "train")) == [
        f"the consent for mixed@1 ended on {today - timedelta(days=1)} (rows 1 to 3, source court), so it must not be "
        "trained on; ask the owner for a longer consent, or choose another dataset, or ask for an exception."
    ]


def test_non_commercial_rows_are_refused_where_the_project_serves_commerce(project, project_admin, researcher):
    free, bound = make_source(project), make_source(project, "xnli", non_commercial=True)
    version = make_texts(project, [(free, 4), (bound, 2)])
    assert not judge_version(version, "train").refusals
    set_purpose(project, commercial=True, actor=project_admin)
    [sentence] = sentences(judge_version(version, "train"))
    assert sentence.startswith(
        "rows 5 to 6 of mixed@1 are non-commercial (source xnli) and this project serves commerce: they must not be "
        "trained on"
    )


def test_a_withdrawn_source_refuses_every_use_and_knows_no_exception(project, curator, researcher, mixed):
    approve(project, mixed, "train", asks=researcher, decides=curator)
    assert not judge_version(mixed, "train").refusals
    withdraw_source(Source.objects.get(slug="exam"), reason="The court asked for it.", actor=curator)
    for use in Use.values:
        [refusal] = [one for one in judge_version(mixed, use).refusals if one.rule == "withdrawn"]
        assert refusal.message.startswith("rows 5 to 7 of mixed@1 must not be")
        assert "(The court asked for it.); make a version without it." in refusal.message
        assert refusal.ask == ""


def test_a_withdrawn_row_refuses_every_version_that_holds_it(project, curator, mixed):
    copy = make_texts(project, [(None, 3)], slug="other")
    same = import_texts(project, curator, slug="again", count=1)
    withdraw_row(mixed, 6, reason="A person is named in it.", actor=curator)
    assert "row 6 of mixed@1 was withdrawn (A person is named in it.)" in sentences(judge_version(mixed, "evaluate"))[0]
    assert not judge_version(copy, "evaluate").refusals
    assert not judge_version(same, "evaluate").refusals


def test_a_launch_is_refused_with_the_sentence_on_the_page_the_api_and_the_service(
    project, researcher, client_of, mixed
):
    revision = write_text_recipe(project, researcher)
    with pytest.raises(LaunchRefused) as refused:
        launch_run(revision=revision, owner=researcher)
    words = "rows 5 to 7 of mixed@1 are for evaluation only and must not be trained on"
    assert any(words in one.message for one in refused.value.problems)
    assert not Run.objects.exists()
    page = client_of(researcher).get("/p/law/recipes/reads/edit/").content.decode()
    assert words in page
    assert 'href="/p/law/rights/exceptions/-/new/?version=mixed@1&amp;use=train">Ask for an exception</a>' in page
    _, token = create_token(researcher, "t", ["runs:write"], 1)
    answer = client_of(researcher).post(
        "/api/v1/projects/law/runs/",
        {"recipe": "reads"},
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 422
    [problem] = [one for one in answer.json()["problems"] if one.get("rule")]
    assert (problem["rule"], problem["rows"], problem["data_source"]) == ("scope", [[5, 7]], "exam")


def test_a_launch_with_an_exception_passes_and_says_so_for_ever(project, researcher, curator, client_of, mixed):
    asked = approve(project, mixed, "train", asks=researcher, decides=curator)
    run = launch_run(revision=write_text_recipe(project, researcher), owner=researcher)
    [noted] = run.snapshot["exceptions"]
    assert (noted["id"], noted["subject"], noted["use"]) == (asked.pk, "mixed@1", "train")
    assert (noted["requested_by"], noted["approved_by"]) == ("researcher", "curator")
    page = client_of(researcher).get(f"/p/law/runs/{run.number}/").content.decode()
    assert f'href="/p/law/rights/exceptions/{asked.pk}/"' in page
    assert "Runs that it let pass" in client_of(researcher).get(asked.get_absolute_url()).content.decode()


def test_what_was_withdrawn_while_a_run_waited_or_stood_still_does_not_go_on(project, researcher, curator):
    source = make_source(project)
    make_texts(project, [(source, 5)])
    run = launch_run(revision=write_text_recipe(project, researcher), owner=researcher)
    withdraw_source(source, reason="No longer allowed.", actor=curator)
    run.refresh_from_db()
    assert run.state == "cancelled"


def test_a_task_on_closed_rows_is_refused(project, researcher):
    closed = make_texts(project, [(make_source(project, uses=["train"]), 3)])
    definition = TaskSpec(task="qa", dataset="mixed@1", output_type="generate_until", metric="exact_match")
    with pytest.raises(BoardError, match=r"the rights of mixed@1 allow train, not evaluate: it must not be evaluated"):
        freeze_task(project=project, definition=definition, dataset_version=closed)


class TestModels:
    def test_forbidden_distillation_refuses_the_teacher(self, project):
        teacher = make_model(
            project, "teacher", licence="LicenseRef-Llama", terms="section 1.b", uses=["train", "evaluate", "publish"]
        )
        assert sentences(judge_model(teacher, "distil")) == [
            "the terms of teacher (LicenseRef-Llama, section 1.b) forbid distilling: it must not be a teacher; choose "
            "another model, or ask for an exception."
        ]

    def test_a_student_carries_the_terms_of_its_teacher_and_its_base(self, project, client_of, researcher):
        teacher = make_model(project, "teacher", uses=["train", "distil", "evaluate"], terms="no release")
        base = make_model(project, "base", non_commercial=True, licence="CC-BY-NC-4.0")
        student = train_model(project, "student", teacher=teacher, base=base)
        grandchild = train_model(project, "grandchild", base=student, number=2)
        for model in (student, grandchild):
            tags = {(tag.words, tag.because) for tag in trace_terms(model).tags}
            assert tags == {
                ("Not to be published", "learned from teacher"), ("Non-commercial", "started from base"),
            }  # fmt: skip
            assert "learned from teacher, whose terms (no licence named, no release) forbid publication" in str(
                check_export(model)[0]
            )
        told = client_of(researcher).get("/api/v1/projects/law/models/grandchild/").json()["carries"]
        assert {"words": "Not to be published", "because": "learned from teacher"} in told
        page = client_of(researcher).get("/p/law/models/grandchild/").content.decode()
        assert "Terms that it carries" in page
        assert "Not to be published" in page
        assert 'href="/p/law/models/teacher/"' in page

    def test_registering_the_files_again_does_not_wash_terms_off(self, project):
        teacher = make_model(project, "teacher", uses=["evaluate", "distil"])
        student = train_model(project, "student", teacher=teacher)
        copy = make_model(project, "fresh")
        copy.sha256 = student.sha256
        copy.save()
        assert {refusal.rule for refusal in check_export(copy)} == {"terms"}

    def test_a_model_that_learned_from_what_was_withdrawn_is_not_published(self, project, curator, researcher):
        source = make_source(project)
        version = make_texts(project, [(source, 5)])
        model = train_model(project, "reader", on=version)
        assert check_export(model) == []
        withdraw_source(source, reason="Asked by the owner.", actor=curator)
        [refusal] = check_export(model)
        assert refusal.message == (
            "reader was trained on rows 1 to 5 of mixed@1, whose source court has been withdrawn: it must not be "
            "published; train it again without them, or ask for an exception."
        )
        assert not judge_model(model, "evaluate").refusals

    def test_only_who_decides_on_rights_widens_terms(self, project, researcher, project_admin):
        model = make_model(project, "teacher", uses=["evaluate"])
        words = {"title": "", "description": "", "licence": ""}
        with pytest.raises(Exception, match="allow more than terms did so far"):
            describe_model(model, uses=["evaluate", "distil"], actor=researcher, **words)
        describe_model(model, uses=[], actor=researcher, **words)
        describe_model(model, uses=["distil"], actor=project_admin, **words)
        model.refresh_from_db()
        assert model.uses == ["distil"]


class TestSources:
    def test_an_import_that_names_none_gets_one_made_of_what_it_says(self, project, researcher):
        version = import_texts(project, researcher, licence="CC-BY-4.0", uses=["evaluate"], source="the archive")
        [span] = version.spans.select_related("source")
        assert (span.start, span.stop, span.source.slug) == (0, 9, "rulings")
        assert (span.source.licence, span.source.uses, span.source.origin) == (
            "CC-BY-4.0", ["evaluate"], "the archive",
        )  # fmt: skip
        again = import_texts(project, researcher, count=10)
        assert [span.source.slug for span in again.spans.all()] == ["rulings"]
        assert Source.objects.count() == 1

    def test_an_import_takes_over_the_terms_of_the_source_that_it_names(self, project, researcher):
        make_source(project, "archive", uses=["train"], licence="CC-BY-NC-4.0", non_commercial=True)
        version = import_texts(project, researcher, source_name="archive")
        assert (version.uses, version.licence, version.non_commercial) == (["train"], "CC-BY-NC-4.0", True)
        with pytest.raises(ImportRefused, match="The source archive does not allow publish"):
            import_texts(project, researcher, slug="more", source_name="archive", uses=["train", "publish"])

    def test_a_source_is_made_on_the_way_with_everything_that_is_known(self, project, researcher, client_of):
        facts = {"owner": "The court", "contact": "clerk@court.example", "legal_basis": "Act 7", "jurisdiction": "TH",
                 "collected": "2026-01-02", "expires": "2030-01-01"}  # fmt: skip
        _, token = create_token(researcher, "t", ["datasets:write"], 1)
        from django.core.files.uploadedfile import SimpleUploadedFile

        answer = client_of(researcher).post(
            "/api/v1/projects/law/datasets/",
            {"slug": "rulings", "kind": "text", "source_name": "court",
             "file": SimpleUploadedFile("a.jsonl", b'{"text": "x"}\n'), **facts},
            headers={"Authorization": f"Bearer {token}"},
        )  # fmt: skip
        assert answer.status_code == 201, answer.content
        assert answer.json()["sources"] == [{"source": "court", "rows": [[1, 1]]}]
        source = Source.objects.get(slug="court")
        assert (source.owner, source.jurisdiction, source.expires) == ("The court", "TH", date(2030, 1, 1))
        page = client_of(researcher).get("/p/law/datasets/rulings/?tab=card").content.decode()
        assert "Provenance" in page
        assert 'href="/p/law/rights/sources/court/"' in page

    def test_a_withdrawn_source_takes_no_further_rows(self, project, curator):
        withdraw_source(make_source(project), reason="Over.", actor=curator)
        with pytest.raises(ImportRefused, match="The source court was withdrawn, so no further rows of it are taken"):
            import_texts(project, curator, source_name="court")

    def test_a_researcher_may_narrow_and_not_widen(self, project, researcher, curator):
        source = make_source(project, uses=["train"])
        change_source(source, reason="The owner called.", uses=[], actor=researcher)
        with pytest.raises(Exception, match="allow more than terms did so far"):
            change_source(source, reason="I want to.", uses=["train", "publish"], actor=researcher)
        change_source(source, reason="The owner wrote.", uses=["train", "publish"], actor=curator)
        assert Source.objects.get().uses == ["train", "publish"]

    def test_the_same_rows_under_another_name_win_no_rights(self, project, researcher, curator):
        import_texts(project, researcher, uses=["evaluate"])
        with pytest.raises(ImportRefused, match="These very rows are rulings@1 already"):
            import_texts_again(project, researcher)
        assert import_texts_again(project, curator).uses == ["train", "evaluate"]

    def test_a_licence_is_on_the_spdx_list(self, project, curator):
        assert check_licence("MIT AND (CC-BY-4.0 OR LicenseRef-house)") == ""
        assert "is not on the SPDX list" in check_licence("CC-BY-5.0")
        with pytest.raises(RightsRefused, match="is not on the SPDX list"):
            create_source(project=project, slug="x", licence="Fair-Use", actor=curator)
        made = create_source(project=project, slug="nc", licence="CC-BY-NC-SA-4.0", uses=["train"], actor=curator)
        assert made.non_commercial, "its licence says so"


def import_texts_again(project, actor):
    import io

    from chanote.datasets.services import import_dataset

    lines = "".join(f'{{"text": "rulings {number}"}}\n' for number in range(9))
    return import_dataset(
        project=project, slug="free", kind="text", file=io.BytesIO(lines.encode()), format="jsonl", actor=actor,
        uses=["train", "evaluate"],
    )  # fmt: skip


def test_an_app_adds_a_rule_of_its_own(project):
    version = make_texts(project, [(make_source(project), 2)])

    @version_rule("state", exceptable=False)
    def check_state(asked):
        yield Finding(f"{asked.version.reference} is a draft", "have it approved")

    try:
        assert sentences(judge_version(version, "train")) == ["mixed@1 is a draft; have it approved."]
    finally:
        VERSION_RULES.pop()


@pytest.mark.shared_data
def test_the_real_data_is_refused_where_its_owners_said_no(project, researcher, project_admin, shared_data, tmp_path):
    for name in ("nitibench_tax", "thai_exam_openthaigpt"):
        Path(tmp_path / name).symlink_to(shared_data / name)
    versions = {one.dataset.slug: one for one in load_shared_data(project, researcher, tmp_path)}
    tax, exam = versions["nitibench-tax"], versions["thai-exam"]
    assert sentences(judge_version(tax, "train")) == [
        "nitibench-tax@1 is for evaluation only and must not be trained on (rows 1 to 50, source nitibench-tax); "
        "choose a dataset whose rights allow it, or ask for an exception."
    ]
    assert not judge_version(tax, "evaluate").refusals
    assert [(one.rows, one.source) for one in check_export(exam) if one.source == "xnli"] == [(((426, 625),), "xnli")]
    assert not judge_version(exam, "train").refusals
    set_purpose(project, commercial=True, actor=project_admin)
    assert sentences(judge_version(exam, "train"))[0].startswith(
        "rows 426 to 625 of thai-exam@1 are non-commercial (source xnli) and this project serves commerce"
    )
    assert not judge_version(versions["thai-exam-without-xnli"], "train").refusals


def test_the_state_of_a_version_is_a_rule_among_the_others(project, researcher):
    version = make_texts(project, [(make_source(project), 3)])
    assert not judge_version(version, "train").refusals
    project.reviews_data = True
    project.save()
    version = type(version).objects.get(pk=version.pk)
    [refusal] = judge_version(version, "train").refusals
    assert (refusal.rule, refusal.ask) == ("state", "")
    assert "mixed@1 is a draft that nobody has reviewed" in refusal.message
    with pytest.raises(LaunchRefused, match="is a draft that nobody has reviewed"):
        launch_run(revision=write_text_recipe(project, researcher), owner=researcher)


def test_agents_do_not_read_a_corpus_whose_source_was_withdrawn(project, researcher, curator, tmp_path):
    source = make_source(project)
    rows = [
        ({"law_name": "Tax Code", "section_num": str(n), "text": f"Who earns {n} pays."}, source.pk) for n in (1, 2)
    ]
    laws = make_version(
        project=project, slug="laws", kind="text", rows=rows, drawn_from=[], operation={}, reason="", actor=None,
        uses=["evaluate"],
    )  # fmt: skip
    given = {"project": project, "tools": ["search_law", "read_law"], "corpus": "laws", "author": researcher}
    save_toolset(slug="before", **given)
    withdraw_source(source, reason="Over.", actor=curator)
    with pytest.raises(ToolsetRefused, match="the source court was withdrawn"):
        save_toolset(slug="after", **given)
    with pytest.raises(CorpusRefused, match="the source court was withdrawn"):
        write_corpus(laws, tmp_path / "corpus.jsonl")


def test_an_import_tells_by_its_own_fields_what_is_wrong_with_a_new_source(project, researcher):
    make_source(project, owner="The court")
    with pytest.raises(ImportRefused) as refused:
        import_texts(project, researcher, source_name="court", source_facts={"owner": "Somebody else"})
    assert [problem.field for problem in refused.value.problems] == ["owner"]
    with pytest.raises(ImportRefused) as refused:
        import_texts(project, researcher, source_name="Not A Name")
    assert [problem.field for problem in refused.value.problems] == ["source_name"]
    assert Source.objects.count() == 1
