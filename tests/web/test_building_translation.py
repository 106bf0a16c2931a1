"""A dataset translated by an endpoint that loses things, answers nonsense, fails and is killed in between."""

import re
from typing import Any

import pytest
from building_data import do_again, do_build, make_endpoint, make_rows, reasons_of, rows_of
from judge_server import Reply, says, serve

from chanote.building.services import BuildRefused, start_build
from chanote.errands.models import State

pytestmark = pytest.mark.django_db

WORDS = {"Hello": "สวัสดี", "Bye": "ลาก่อน", "Pay": "จ่าย", "Look": "ดู", "and": "และ", "baht": "บาท", "at": "ที่"}


@pytest.fixture(autouse=True)
def home(settings, tmp_path):
    settings.HOME = tmp_path


def swap(text: str, words: dict[str, str]) -> str:
    for one, other in words.items():
        text = text.replace(one, other)
    return text


def translate(body: dict[str, Any]) -> str:
    """Word by word into the language that is asked for."""
    system, user = (message["content"] for message in body["messages"])
    back = "into English" in system
    return swap(
        user["content"] if isinstance(user, dict) else user, {v: k for k, v in WORDS.items()} if back else WORDS
    )


def chat(*texts: str) -> dict[str, Any]:
    roles = ("user", "assistant") * len(texts)
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]}


@pytest.fixture
def talk(project):
    return make_rows(
        project,
        "talk",
        "chat",
        [chat("Hello {name}", "Bye"), chat("Pay 1,000 baht", "Look at `x`"), chat("Look", "Bye")],
    )


def test_rows_come_translated_with_their_original_beside_and_a_score(project, curator, project_admin, client_of, talk):
    with serve(lambda number, body: says(translate(body))) as server:
        make_endpoint(project, project_admin, server.url)
        build = do_build(project, curator, "translation", name="talk-th", source="talk", endpoint="teacher")
    assert build.errand.state == State.FINISHED, build.errand.fault
    rows = rows_of(build.result)
    assert [message["content"] for message in rows[0]["messages"]] == ["สวัสดี {name}", "ลาก่อน"]
    assert [message["content"] for message in rows[1]["messages"]] == ["จ่าย 1,000 บาท", "ดู ที่ `x`"]
    assert rows[1]["original"] == {"messages.0.content": "Pay 1,000 baht", "messages.1.content": "Look at `x`"}
    assert rows[0]["translation"] == {
        "from": "en",
        "to": "th",
        "model": "big-model",
        "back_translation_score": 100.0,
        "back_model": "big-model",
    }
    assert build.result.dataset.kind == "chat"
    assert build.result.dataset.languages == ["th"]
    assert build.result.uses == ["train", "distil"]
    assert build.result.licence == "CC-BY-4.0 AND Apache-2.0"
    operation = build.result.operation
    assert (operation["name"], operation["to"]) == ("translate", "th")
    assert operation["back_translation"] == {"rows": 3, "mean": 100.0, "lowest": 100.0, "tens": [["90 to 100", 3]]}
    page = client_of(curator).get(build.get_absolute_url()).content.decode()
    assert "Back-translation scores" in page
    assert [one.reference for one in build.result.drawn_from.all()] == ["talk@1"]


def test_a_text_that_lost_something_is_asked_for_again_and_then_its_row_is_dropped(
    project, curator, project_admin, talk
):
    """The placeholder comes back at the second try; the number never does."""

    def script(number: int, body: dict[str, Any]) -> Reply:
        again = "An earlier translation" in body["messages"][0]["content"]
        text = translate(body)
        if "⟦1⟧" in text and "สวัสดี" in text and not again:
            return says("สวัสดี")
        return says(text.replace("1,000", "พัน"))

    with serve(script) as server:
        make_endpoint(project, project_admin, server.url)
        build = do_build(project, curator, "translation", name="talk-th", source="talk", endpoint="teacher", tries=2)
        asked = [body["messages"][0]["content"] for body in server.asked]
    assert [row["messages"][0]["content"] for row in rows_of(build.result)] == ["สวัสดี {name}", "ดู"]
    assert reasons_of(build, "translate") == {"number lost in every try": 1}
    assert sum("placeholder lost: {name}" in words for words in asked) == 1
    assert sum("number lost: 1000" in words for words in asked) == 1


def test_every_way_of_misbehaving_drops_its_row_with_its_reason(project, curator, project_admin):
    rows = [chat(f"Hello {word}", "Bye") for word in ("echo", "empty", "refused", "long", "badly", "well")]
    make_rows(project, "talk", "chat", rows)

    def script(number: int, body: dict[str, Any]) -> Reply:
        said = body["messages"][1]["content"]
        if "echo" in said:
            return says(said)
        if "empty" in said:
            return says("  ")
        if "refused" in said:
            return Reply({"error": {"message": "not that"}}, status=400)
        if "long" in said:
            return says("สวัสดีสวัสดีสวัสดี", finish_reason="length")
        if "badly" in said and "into English" in body["messages"][0]["content"]:
            return says("Something else entirely")
        return says(translate(body))

    with serve(script) as server:
        make_endpoint(project, project_admin, server.url)
        build = do_build(project, curator, "translation", name="talk-th", source="talk", endpoint="teacher", tries=2)
    assert build.errand.state == State.FINISHED, build.errand.fault
    assert [row["original"]["messages.0.content"] for row in rows_of(build.result)] == ["Hello well"]
    assert sum(reasons_of(build, "translate").values()) == 4
    assert set(reasons_of(build, "translate")) == {
        "not translated in every try", "empty in every try", "no answer in every try", "cut off in every try",
    }  # fmt: skip
    assert reasons_of(build, "back") == {"the back-translation score is too low": 1}


def test_what_holds_no_words_is_not_sent_at_all(project, curator, project_admin):
    make_rows(project, "talk", "chat", [chat("Hello", "```\nx = 1\n```"), chat("`ls`", "42")])
    with serve(lambda number, body: says(translate(body))) as server:
        make_endpoint(project, project_admin, server.url)
        build = do_build(project, curator, "translation", name="talk-th", source="talk", endpoint="teacher")
        assert len(server.asked) == 2  # one there, one back
    assert [message["content"] for message in rows_of(build.result)[1]["messages"]] == ["`ls`", "42"]


def test_a_broken_off_translation_goes_on_where_it_was(project, curator, project_admin):
    make_rows(project, "talk", "chat", [chat(f"Hello {number}", "Bye") for number in range(20)])
    down = [True]

    def script(number: int, body: dict[str, Any]) -> Reply:
        if down[0] and number >= 15:
            return Reply({"error": {"message": "no such key"}}, status=401)
        return says(translate(body))

    with serve(script) as server:
        make_endpoint(project, project_admin, server.url, concurrency=1)
        build = do_build(project, curator, "translation", name="talk-th", source="talk", endpoint="teacher")
        assert build.errand.state == State.FAILED
        assert "Correct the endpoint and resume." in build.errand.fault
        down[0] = False
        build = do_again(build, curator)
        answered = [body for body in server.asked if not re.search("no such key", str(body))]
    assert build.errand.state == State.FINISHED, build.errand.fault
    assert build.result.rows == 20
    # 20 greetings and one farewell each way, as equal texts are asked once; one call had met the closed door
    assert len(answered) == 2 * 21 + 1
    assert build.errand.cost["replies"] == 42


def test_the_terms_of_the_model_that_translates_back_bind_the_result_too(project, curator, project_admin, talk):
    with serve(lambda number, body: says(translate(body))) as server:
        make_endpoint(project, project_admin, server.url)
        make_endpoint(project, project_admin, server.url, "other", uses=["train"], licence="MIT", model="other-model")
        build = do_build(
            project, curator, "translation", name="talk-th", source="talk", endpoint="teacher", back_endpoint="other"
        )
    assert build.result.uses == ["train"]
    assert build.result.licence == "CC-BY-4.0 AND Apache-2.0"  # it wrote nothing in the rows
    assert [one["slug"] for one in build.result.operation["endpoints"]] == ["teacher", "other"]
    assert rows_of(build.result)[0]["translation"]["back_model"] == "other-model"


def test_texts_and_preferences_are_translated_as_well(project, curator, project_admin):
    make_rows(project, "docs", "text", [{"text": "Hello", "law_name": "Market Act", "section_num": "2"}])
    pair = {"messages": [{"role": "user", "content": "Hello"}], "chosen": "Bye", "rejected": "Look"}
    make_rows(project, "pairs", "preferences", [pair])
    with serve(lambda number, body: says(translate(body))) as server:
        make_endpoint(project, project_admin, server.url)
        docs = do_build(project, curator, "translation", name="docs-th", source="docs", endpoint="teacher")
        pairs = do_build(project, curator, "translation", name="pairs-th", source="pairs", endpoint="teacher")
    assert rows_of(docs.result)[0]["text"] == "สวัสดี"
    assert rows_of(docs.result)[0]["law_name"] == "Market Act"
    (row,) = rows_of(pairs.result)
    assert (row["messages"][0]["content"], row["chosen"], row["rejected"]) == ("สวัสดี", "ลาก่อน", "ดู")


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"to_language": "en"}, "to_language"),
        ({"endpoint": ""}, "endpoint"),
        ({"endpoint": "nobody"}, "endpoint"),
        ({"back": False, "back_endpoint": "teacher"}, "back_endpoint"),
        ({"least_score": 120}, "least_score"),
    ],
)
def test_a_bad_wish_is_told_by_its_field(project, curator, project_admin, talk, config, field):
    make_endpoint(project, project_admin, "http://127.0.0.1:9/v1")
    with pytest.raises(BuildRefused) as refused:
        start_build(
            project=project,
            kind="translation",
            config={"name": "talk-th", "source": "talk", "endpoint": "teacher", **config},
            actor=curator,
        )
    assert [problem.field for problem in refused.value.problems] == [field]
