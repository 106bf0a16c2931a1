"""Corpora of knowledge: what comes in, what stays out because it is evaluated, and what the report says of it."""

import json
import re
from typing import Any

import pytest
from building_data import do_again, do_build, make_endpoint, make_rows, reasons_of, rows_of
from judge_server import Reply, says, serve

from chanote.boards.models import Task
from chanote.building.knowledge.cutting import cut_text
from chanote.building.knowledge.questions import BadReply, read_questions
from chanote.building.replies import Reply as Answer
from chanote.building.services import BuildRefused, start_build
from chanote.datasets.models import DatasetVersion
from chanote.errands.models import State

pytestmark = pytest.mark.django_db

LAWS = {
    "Market Act": {
        "1": "The market of Nakhon opens at six in the morning and closes when the lamps are lit at dusk each day.",
        "2": "Whoever sells fish at the market without a licence of the harbour master pays a fine of 200 baht.",
        "3": "The harbour master keeps a register of all boats that land their catch at the quay of the market.",
    },
    "River Act": {
        "1": "Boats that pass the bridge at night carry a white lamp at the bow and a red one at the stern.",
        "2": "The ferry crosses the river every quarter of an hour as long as the water stands below the mark.",
    },
    "Forest Act": {
        "1": "Nobody cuts teak within a thousand paces of a spring unless the warden of the district has agreed.",
    },
}
ASKED = [
    {
        "question": "At which price is a fishmonger punished who trades on the quay and holds no permit at all for it?",
        "answer": "200 baht",
        "citations": [{"law": "Market Act", "section": "2"}],
    }
]


def law_rows() -> list[dict[str, Any]]:
    return [
        {"law_name": law, "section_num": number, "text": text}
        for law, sections in LAWS.items()
        for number, text in sections.items()
    ]


@pytest.fixture(autouse=True)
def home(settings, tmp_path):
    settings.HOME = tmp_path


@pytest.fixture
def laws(project) -> DatasetVersion:
    return make_rows(project, "laws", "text", law_rows())


@pytest.fixture
def asked(project) -> DatasetVersion:
    return make_rows(project, "asked", "prompts", ASKED, uses=["evaluate"])


def sections_of(version: DatasetVersion | None) -> set[tuple[str, str]]:
    return {(row["law_name"], row["section_num"]) for row in rows_of(version)}


EVERY = {(row["law_name"], row["section_num"]) for row in law_rows()}


def test_a_section_that_an_item_rests_on_stays_out_and_the_rest_comes_in(project, curator, laws, asked):
    build = do_build(project, curator, "knowledge", name="ink", source="laws", evaluation="asked")
    assert build.errand.state == State.FINISHED, build.errand.fault
    assert sections_of(build.result) == EVERY - {("Market Act", "2")}
    assert reasons_of(build, "read") == {"an evaluated item rests on it": 1}
    assert (build.result.licence, build.result.uses) == ("CC-BY-4.0", ["train", "distil", "evaluate"])
    assert [one.reference for one in build.result.drawn_from.all()] == ["laws@1"]
    assert build.result.operation["name"] == "knowledge"
    assert build.result.operation["config"]["source"] == "laws@1"


def test_the_whole_law_stays_out_when_laws_are_kept_apart(project, curator, laws, asked):
    build = do_build(project, curator, "knowledge", name="ink", source="laws", evaluation="asked", keep_out="laws")
    assert sections_of(build.result) == {("River Act", "1"), ("River Act", "2"), ("Forest Act", "1")}
    assert reasons_of(build, "read") == {"its law or cluster is evaluated": 2, "an evaluated item rests on it": 1}


def test_the_report_tells_questions_and_sources_apart_before_and_after(project, curator, client_of, asked):
    rows = [*law_rows(), {"text": "An exam: " + ASKED[0]["question"].upper().replace(" ", "  ") + " Nobody knows."}]
    make_rows(project, "laws", "text", rows)
    build = do_build(project, curator, "knowledge", name="ink", source="laws", evaluation="asked")
    assert reasons_of(build, "read") == {
        "an evaluated item rests on it": 1,
        "holds the question of an evaluated item": 1,
    }
    (told,) = build.result.operation["overlap"]["sets"]
    assert (told["set"], told["items"]) == ("asked@1", 1)
    assert told["question_overlap"] == {"pairs_before": 1, "items_before": 1, "texts_after": 0}
    assert told["source_overlap"] == {"pairs_before": 1, "items_before": 1, "texts_after": 0}
    samples = {(one["row"], one["part"], one["item"]) for one in build.result.operation["overlap"]["samples"]}
    assert samples == {(2, "source", "asked@1#1"), (7, "question", "asked@1#1")}
    page = client_of(curator).get(build.get_absolute_url()).content.decode()
    card = page[page.index('id="overlap"') :].partition("</section>")[0]
    assert "row 7 holds the question of" in card
    row = card[card.index("asked@1") :].partition("</tr>")[0]
    assert re.findall(r'<td class="r">(\d+)</td>', row) == ["1", "1", "0", "0", "0", "1", "0"]


def test_only_questions_stay_out_when_the_law_may_be_known(project, curator, laws, asked):
    build = do_build(project, curator, "knowledge", name="ink", source="laws", evaluation="asked", keep_out="questions")
    assert sections_of(build.result) == EVERY
    (told,) = build.result.operation["overlap"]["sets"]
    assert told["source_overlap"] == {"pairs_before": 1, "items_before": 1, "texts_after": 1}


def test_thai_digits_zero_width_signs_and_layout_hide_no_copy(project, curator):
    question = "ผู้ใดขายปลาในตลาดโดยไม่มีใบอนุญาตต้องระวางโทษปรับไม่เกิน 200 บาท และต้องปิดร้านภายใน 15 วันใช่หรือไม่"
    make_rows(project, "asked", "prompts", [{"question": question}], uses=["evaluate"])
    hidden = question.replace("200", "๒๐๐").replace("15", "๑๕").replace("ตลาด", "ต\u200bลา\u200bด").replace(" ", "\n")
    make_rows(project, "laws", "text", [{"text": f"แบบฝึกหัด {hidden} จบ"}, {"text": "ตลาดเปิดทุกวันเวลาหกโมงเช้า"}])
    build = do_build(project, curator, "knowledge", name="ink", source="laws", evaluation="asked")
    assert [row["text"] for row in rows_of(build.result)] == ["ตลาดเปิดทุกวันเวลาหกโมงเช้า"]


def test_tasks_of_the_project_are_kept_apart_without_being_named(project, curator, laws, asked):
    Task.objects.create(project=project, slug="law-qa", number=1, dataset_version=asked, definition={})
    build = do_build(project, curator, "knowledge", name="ink", source="laws")
    assert ("Market Act", "2") not in sections_of(build.result)


def test_a_share_of_laws_is_set_apart_whole_and_on_one_side(project, curator, laws):
    build = do_build(project, curator, "knowledge", name="ink", source="laws", held_out=0.4, seed=1)
    apart = DatasetVersion.objects.get(dataset__slug="ink-held-out")
    inside, outside = sections_of(build.result), sections_of(apart)
    assert inside | outside == EVERY
    assert not {law for law, _ in inside} & {law for law, _ in outside}
    assert outside


def test_copies_come_in_once(project, curator):
    text = law_rows()[0]
    make_rows(project, "laws", "text", [text, {**text, "text": text["text"].replace(" ", "\n")}])
    build = do_build(project, curator, "knowledge", name="ink", source="laws")
    assert build.result.rows == 1
    assert reasons_of(build, "read") == {"a copy of an earlier text": 1}


def test_long_texts_are_cut_where_a_reader_pauses():
    text = "First line of it.\nSecond line is here.\n\nA new paragraph begins. It goes on and on"
    assert cut_text(text, 45) == [
        "First line of it.\nSecond line is here.",
        "A new paragraph begins. It goes on and on",
    ]
    assert cut_text("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
    assert cut_text("one two three", 8) == ["one two", "three"]
    assert cut_text("short", 10) == ["short"]


def test_exact_questions_need_no_endpoint(project, curator, laws):
    build = do_build(project, curator, "knowledge", name="ink", source="laws", form="questions", language="en")
    row = rows_of(build.result)[3]
    assert row["question"] == "What does section 1 of the River Act provide?"
    assert row["text"] == f"{row['question']}\n{LAWS['River Act']['1']}"
    assert row["written_by"] == "template"


def test_text_that_is_no_law_has_no_exact_question_and_says_so(project, curator):
    make_rows(project, "laws", "text", [*law_rows(), {"text": "A tale of the river and of the moon above it."}])
    build = do_build(project, curator, "knowledge", name="ink", source="laws", form="questions", language="en")
    assert reasons_of(build, "form") == {"no section of a law, so no exact question can be made": 1}


def write(question: str, answer: str, evidence: str) -> dict[str, str]:
    return {"question": question, "answer": answer, "evidence": evidence}


def test_written_questions_are_held_to_their_text_and_to_what_is_evaluated(
    project, curator, project_admin, laws, asked
):
    """A passage is answered well, with invented evidence, with nonsense, with the very question of an item, or not."""
    sound = write("When does the market of Nakhon open?", "At six in the morning.", "opens at six in the morning")

    def script(number: int, body: dict[str, Any]) -> Reply:
        said = body["messages"][0]["content"]
        if "six in the morning" in said:
            invented = write("When does it close?", "Never.", "the market never closes at all")
            return says("Here you are:\n```json\n" + json.dumps([sound, invented]) + "\n```")
        if "register of all boats" in said:
            return says("I would rather not.")
        if "white lamp" in said:
            copied = write(ASKED[0]["question"], "A lamp.", "carry a white lamp at the bow")
            return says(json.dumps([copied]))
        if "ferry" in said:
            return Reply({"error": {"message": "the passage is not allowed"}}, status=400)
        return says(json.dumps([write("Who agrees?", "The warden.", "the warden of the district")]))

    with serve(script) as server:
        make_endpoint(project, project_admin, server.url)
        config = {"source": "laws", "form": "questions", "endpoint": "teacher", "language": "en", "evaluation": "asked"}
        build = do_build(project, curator, "knowledge", name="ink", **config)
        asked_for = len(server.asked)
    assert build.errand.state == State.FINISHED, build.errand.fault
    assert [row["question"] for row in rows_of(build.result)] == [sound["question"], "Who agrees?"]
    assert rows_of(build.result)[0]["passage"] == LAWS["Market Act"]["1"]
    assert reasons_of(build, "form") == {"the reply holds no questions": 1, "the endpoint gave no answer": 1}
    (form,) = [one for one in build.funnel if one["name"] == "form"]
    assert form["parts"] == {"the evidence does not stand in the text": 1}
    assert reasons_of(build, "overlap") == {"holds the question of an evaluated item": 1}
    assert asked_for == 5
    # what a model wrote is bound by its terms
    assert build.result.uses == ["train", "distil"]
    assert build.result.licence == "CC-BY-4.0 AND Apache-2.0"
    assert build.result.operation["endpoints"][0]["model"] == "big-model"


def test_a_build_that_broke_off_goes_on_and_asks_nothing_twice(project, curator, project_admin, laws):
    down = [True]

    def script(number: int, body: dict[str, Any]) -> Reply:
        if down[0] and number >= 3:
            return Reply({"error": {"message": "the key is no good"}}, status=401)
        text = body["messages"][0]["content"].partition("<passage>\n")[2].partition("\n</passage>")[0]
        return says(json.dumps([write("What is said?", text, text)]))

    with serve(script) as server:
        make_endpoint(project, project_admin, server.url, concurrency=1)
        config = {"source": "laws", "form": "questions", "endpoint": "teacher", "language": "en"}
        build = do_build(project, curator, "knowledge", name="ink", **config)
        assert build.errand.state == State.FAILED
        assert "Correct the endpoint and resume." in build.errand.fault
        assert not DatasetVersion.objects.filter(dataset__slug="ink").exists()
        down[0] = False
        before = len(server.asked)
        build = do_again(build, curator)
        assert build.errand.state == State.FINISHED, build.errand.fault
        assert len(server.asked) - before == 3
    assert build.result.rows == 6
    assert build.errand.cost["replies"] == 6


@pytest.mark.parametrize(
    ("config", "field", "said"),
    [
        ({"evaluation": "nowhere"}, "evaluation", "nowhere is no dataset of this project."),
        ({"evaluation": "laws"}, "source", "holds the very rows of an evaluation set"),
        ({"longest": 50}, "longest", "use 100 or more, or 0"),
        ({"held_out": 0.9}, "held_out", "0.5"),
        ({"source": "nothing"}, "source", "nothing is no dataset of this project."),
    ],
)
def test_a_bad_wish_is_told_by_its_field_before_anything_starts(project, curator, laws, config, field, said):
    with pytest.raises(BuildRefused) as refused:
        start_build(
            project=project, kind="knowledge", config={"name": "ink", "source": "laws", **config}, actor=curator
        )
    assert [problem.field for problem in refused.value.problems] == [field]
    assert said in str(refused.value.problems[0])


@pytest.mark.parametrize("text", ["", "[", "no list", '[{"question": ', "]["])
def test_a_reply_without_a_list_is_no_reply(text):
    with pytest.raises(BadReply):
        read_questions(Answer(text))


def test_entries_of_other_shapes_are_passed_over():
    listed = [1, None, {"question": 3}, {"question": "a", "answer": "b", "evidence": "c"}]
    assert read_questions(Answer(json.dumps(listed))) == [{"question": "a", "answer": "b", "evidence": "c"}]
