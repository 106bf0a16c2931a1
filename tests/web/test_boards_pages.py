"""Boards as people see them: what is claimed, what is not, who may look, and the way down to single answers."""

import csv
import json
import re

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from chanote.audit.models import AuditEvent
from chanote.boards.models import Board, Evaluation, Standing, Task
from chanote.boards.scores import read_scores
from chanote.boards.selectors import describe_board, read_board
from chanote.boards.services import BoardError, create_board, freeze_task, import_evaluation, update_board
from chanote.datasets.models import DatasetVersion
from chanote.models.models import Model
from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]

DEFINITION = TaskSpec(
    task="law-qa", title="Questions on the code", dataset="code@1", output_type="generate_until", metric="exact_match"
)


@pytest.fixture
def task(project, version):
    return freeze_task(project=project, definition=DEFINITION, dataset_version=version)


@pytest.fixture
def board(project):
    return create_board(project=project, slug="main", title="Open book", question="Which model knows the code?")


def add_model(project, slug):
    return Model.objects.create(project=project, slug=slug, origin="directory", location=slug, sha256=slug[:1] * 64)


def write_samples(path, scores, *, statuses=None, clusters=None):
    """Right answers say so; a score of None is an answer that could not be scored."""
    lines = []
    for number, score in enumerate(scores):
        sample = ScoredSample(
            item=f"item-{number}",
            cluster=clusters[number] if clusters else "",
            prompt=f"What is the fine number {number}?",
            output="" if score is None else "forty seven" if score == 1 else f"wrong {number}",
            target="forty seven",
            score=score,
            status=(statuses or {}).get(number, "ok" if score is not None else "unparsable"),
            tokens=3,
        )
        lines.append(sample.model_dump_json() + "\n")
    path.write_text("".join(lines), "utf-8")
    return path


@pytest.fixture
def score(project, task, board, tmp_path):
    """Put a model with these scores on the board."""

    def put(slug, scores, *, on=board, of=task, **details):
        model = Model.objects.filter(project=project, slug=slug).first() or add_model(project, slug)
        path = write_samples(tmp_path / f"{slug}-{of.slug}.jsonl", scores, **details)
        return import_evaluation(task=of, model=model, samples_path=path, board=on)

    return put


def answers(both, only, other, neither):
    """Scores of two models with so many items in each cell."""
    return (
        [1.0] * (both + only) + [0.0] * (other + neither),
        [1.0] * both + [0.0] * only + [1.0] * other + [0.0] * neither,
    )


def read(browser, name, board, **query):
    """The page's text without markup, white space as single spaces."""
    response = browser.get(reverse(f"boards:{name}", args=[board.project.slug, board.slug]), query)
    assert response.status_code == 200, response.content[:500]
    return response, re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", response.content.decode()))


def test_a_board_shows_estimate_interval_n_and_failures(browser, board, score):
    score("trained", [1.0] * 84 + [0.0] * 15 + [None])
    _, text = read(browser, "board", board)
    # Wilson for 84 of 100: .756 to .899; standard error 3.7 points, so no decimals.
    assert "84 76\u201390" in text
    assert "1 of 100, counted as wrong" in text
    assert "Only trained has been scored: there is nothing to compare it with." in text


def test_a_decided_difference_is_said_in_words_and_ranked(browser, board, score):
    a, b = answers(300, 60, 31, 150)
    score("trained", a)
    score("untrained", b)
    response, text = read(browser, "board", board)
    assert "trained is better than untrained by 5 points (95 % interval 2 to 9, p = 0.003)." in text
    assert "One training run each: differences concern these checkpoints, not the recipes." in text
    page = response.context["page"]
    assert [(row.entry.name, row.rank, row.entry.letters) for row in page.rows] == [
        ("trained", "1", "a"),
        ("untrained", "2", "b"),
    ]


def test_models_that_are_not_separated_share_rank_range_and_letter(browser, board, score):
    a, b = answers(398, 57, 47, 39)
    score("gpt", a)
    score("claude", b)
    response, text = read(browser, "board", board)
    assert "Undecided: 541 items do not separate gpt and claude" in text
    assert "about 3,800 items would be needed to find a difference of 2 points" in text
    assert [(row.rank, row.entry.letters) for row in response.context["page"].rows] == [("1\u20132", "a")] * 2


def test_the_correction_counts_the_pairs_on_the_board(browser, board, score):
    a, b = answers(300, 60, 31, 150)
    score("trained", a)
    score("untrained", b)
    for number in range(6):
        score(f"copy-{number}", b)
    response, text = read(browser, "board", board)
    assert "Holm, 28 pairs" in text
    table = response.context["table"]
    assert table.find("trained", "untrained").verdict == "undecided"
    assert table.find("trained", "untrained").p_adjusted > 0.05 > table.find("trained", "untrained").p


def test_differences_from_the_baseline_are_worded_from_each_models_side(browser, board, score, project):
    a, b = answers(300, 60, 31, 150)
    score("base", b)
    score("trained", a)
    update_board(board, title="Open book", question="", baseline=Model.objects.get(slug="base"))
    response, text = read(browser, "board", board)
    trained, base = response.context["page"].rows
    assert (trained.delta, trained.claim.word) == ("+5", "better")
    assert base.is_baseline
    response, _ = read(browser, "board", board, baseline="trained")
    trained, base = response.context["page"].rows
    assert (base.delta, base.claim.word) == ("\u22125", "worse")


def test_a_verdict_that_failures_carry_is_withheld_on_the_page(browser, board, score):
    score("answers", [1.0] * 60 + [1.0, 0.0] * 270)
    score("fails", [None] * 60 + [1.0, 0.0] * 270)
    _, text = read(browser, "board", board)
    assert "No verdict on answers and fails: it changes with how the 60 failed answers are counted." in text


def test_a_model_with_other_items_is_shown_but_not_compared(browser, board, score):
    score("whole", [1.0, 0.0] * 20)
    score("part", [1.0, 0.0] * 10)
    response, text = read(browser, "board", board)
    assert "not compared, other items: 20 missing, 0 of its own" in text
    assert response.context["page"].rows[1].rank == ""
    _, text = read(browser, "pair", board, a="whole", b="part")
    assert "These models did not answer the same items." in text


def test_clusters_widen_the_interval(browser, board, score):
    scores = [float(n < 50) for n in range(100)]
    alone = score("alone", scores)
    response, _ = read(browser, "board", board)
    before = response.context["page"].rows[0].entry.estimate
    alone.delete()
    score("alone", scores, clusters=[f"law-{n // 10}" for n in range(100)])
    response, text = read(browser, "board", board)
    after = response.context["page"].rows[0].entry.estimate
    assert after.high - after.low > 2 * (before.high - before.low)
    assert "100 in 10 clusters" in text


def test_less_is_better_for_perplexity(browser, board, score, project, version):
    spec = TaskSpec(task="law-text", dataset="code@1", output_type="loglikelihood_rolling", metric="perplexity")
    text_task = freeze_task(project=project, definition=spec, dataset_version=version)
    wiggle = [0.01 * (n % 7) for n in range(40)]
    score("trained", [1.0 + w for w in wiggle], of=text_task)
    score("untrained", [2.0 + w for w in wiggle], of=text_task)
    response, text = read(browser, "board", board)
    assert [row.entry.name for row in response.context["page"].rows] == ["trained", "untrained"]
    assert "trained is better than untrained by 1.0" in text
    assert "bits per byte" in text
    assert "law-text, bits per byte" in text


def test_only_the_newest_score_of_a_model_counts(browser, board, score, project, task, tmp_path):
    score("model", [0.0] * 10)
    path = write_samples(tmp_path / "again.jsonl", [1.0] * 10)
    import_evaluation(task=task, model=Model.objects.get(slug="model"), samples_path=path, board=board)
    response, _ = read(browser, "board", board)
    assert [row.number.value for row in response.context["page"].rows] == ["100"]


def test_the_pair_page_leads_to_the_items_of_each_cell(browser, board, score):
    a, b = answers(20, 7, 3, 10)
    score("first", a)
    score("second", b)
    response, text = read(browser, "pair", board, a="first", b="second")
    assert response.context["cells"] == {"both": 20, "only_a": 7, "only_b": 3, "neither": 10}
    assert "exact McNemar" in text
    assert "p = 0.34" in text
    # Beta(8, 4) is above one half with probability 1 - 232/2048.
    assert "89 % that first is better, by these items alone and a flat prior" in text
    response, text = read(browser, "samples", board, a="first", b="second", cell="only_b")
    assert [sample.item for sample, *_ in response.context["rows"]] == ["item-27", "item-28", "item-29"]
    assert text.count("wrong 2") == 3
    assert "What is the fine number 27?" in text


def test_the_pair_page_turns_with_its_models(browser, board, score):
    a, b = answers(300, 60, 31, 150)
    score("trained", a)
    score("untrained", b)
    _, text = read(browser, "pair", board, a="untrained", b="trained")
    assert "trained is better than untrained by 5 points" in text
    assert "\u22125 points, 95 % interval \u22129 to \u22122" in text


def test_items_can_be_narrowed_to_failures_and_words(browser, board, score):
    score("model", [1.0] * 30 + [None, 0.0], statuses={31: "truncated"})
    response, text = read(browser, "samples", board, a="model", failed="on")
    assert [sample.item for sample, *_ in response.context["rows"]] == ["item-30", "item-31"]
    assert "Unparsable" in text
    assert "Truncated" in text
    response, _ = read(browser, "samples", board, a="model", q="number 17?")
    assert [sample.item for sample, *_ in response.context["rows"]] == ["item-17"]
    response, text = read(browser, "samples", board, a="model", page="2")
    assert len(response.context["rows"]) == 7
    assert "Page 2 of 2" in text


def test_answers_are_escaped(browser, board, task, project, tmp_path):
    sample = ScoredSample(
        item="x", prompt="<script>alert(1)</script>", output="<b>bold", target="t", score=0, status="ok"
    )
    path = tmp_path / "x.jsonl"
    path.write_text(sample.model_dump_json() + "\n", "utf-8")
    import_evaluation(task=task, model=add_model(project, "m"), samples_path=path, board=board)
    response, _ = read(browser, "samples", board, a="m")
    assert b"<script>alert" not in response.content
    assert b"&lt;b&gt;bold" in response.content


def test_the_pages_hold_no_inline_style_or_script(browser, board, score):
    score("a", [1.0, 0.0] * 10)
    score("b", [0.0, 0.0] * 10)
    for name, query in [("board", {}), ("pair", {"a": "a", "b": "b"}), ("samples", {"a": "a", "b": "b"})]:
        response, _ = read(browser, name, board, **query)
        assert not re.search(rb"<main.*(\sstyle=|<script|\son\w+=)", response.content, re.DOTALL)


def test_a_stranger_and_a_visitor_see_nothing(client, client_of, stranger, board, score):
    score("a", [1.0, 0.0])
    assert client.get(reverse("boards:board", args=["law", "main"])).status_code == 302
    browser = client_of(stranger)
    for name in ("board", "edit", "pair", "samples", "csv"):
        assert browser.get(reverse(f"boards:{name}", args=["law", "main"])).status_code == 404
    assert browser.get(reverse("boards:list", args=["law"])).status_code == 404
    assert browser.get(reverse("boards:task", args=["law", "law-qa", 1])).status_code == 404


def test_a_viewer_reads_but_does_not_change(client_of, viewer, board):
    browser = client_of(viewer)
    page = browser.get(reverse("boards:board", args=["law", "main"]))
    assert page.status_code == 200
    assert reverse("boards:edit", args=["law", "main"]) not in page.content.decode()
    assert browser.post(reverse("boards:edit", args=["law", "main"]), {"title": "Mine"}).status_code == 403
    assert browser.post(reverse("boards:new", args=["law"]), {"slug": "x", "title": "x"}).status_code == 403


def test_a_board_is_made_and_changed_by_form(browser, project, score):
    address = reverse("boards:new", args=["law"])
    answer = browser.post(address, {"slug": "closed-book", "title": "Closed book", "question": "Who knows?"})
    assert answer.url == reverse("boards:board", args=["law", "closed-book"])
    board = Board.objects.get(slug="closed-book")
    evaluation = score("base", [1.0, 0.0], on=board)
    browser.post(
        reverse("boards:edit", args=["law", "closed-book"]),
        {"title": "Shut book", "question": "", "baseline": evaluation.model_id},
    )
    board.refresh_from_db()
    assert (board.title, board.baseline) == ("Shut book", evaluation.model)
    verbs = AuditEvent.objects.filter(actor__username="researcher").values_list("verb", flat=True)
    assert {"board.created", "board.changed"} <= set(verbs)
    again = browser.post(address, {"slug": "closed-book", "title": "Other"})
    assert again.status_code == 422
    assert "already has a board named closed-book; choose another name" in again.content.decode()
    bad = browser.post(address, {"slug": "Not A Name", "title": "Other"})
    assert "Use lower-case letters" in bad.content.decode()


def test_the_list_counts_models_and_tasks(browser, board, score, task):
    score("a", [1.0, 0.0])
    score("b", [1.0, 0.0])
    page = browser.get(reverse("boards:list", args=["law"]))
    (row,) = page.context["boards"]
    assert (row.models_count, row.tasks_count) == (2, 1)
    assert "law-qa@1" in page.content.decode()
    details = browser.get(reverse("boards:task", args=["law", "law-qa", 1])).content.decode()
    assert "likeliest token, up to 64 tokens" in details
    assert "{{question}}" in details


def test_a_board_takes_as_many_queries_with_many_models_as_with_few(
    browser, board, score, django_assert_num_queries, django_assert_max_num_queries
):
    score("model-0", [1.0, 0.0] * 5)
    read(browser, "board", board)
    with django_assert_max_num_queries(12) as few:
        read(browser, "board", board)
    count = len(few)
    for number in range(1, 7):
        score(f"model-{number}", [float((n + number) % 3 == 0) for n in range(10)])
    read(browser, "board", board)
    with django_assert_num_queries(count):
        read(browser, "board", board)


def test_an_empty_board_says_how_to_fill_it(browser, board):
    _, text = read(browser, "board", board)
    assert "Name this board, main , in the evaluate stage of a recipe" in text


@pytest.mark.parametrize("query", [{"task": "other@1"}, {"a": "nobody", "b": "a"}])
def test_an_address_that_names_something_unknown_is_404(browser, board, score, query):
    score("a", [1.0, 0.0])
    assert browser.get(reverse("boards:pair", args=["law", "main"]), query).status_code == 404


def test_csv_holds_the_unrounded_numbers(browser, board, score):
    score("a", [1.0] * 2 + [0.0])
    response, _ = read(browser, "csv", board)
    (row,) = csv.DictReader(response.content.decode().splitlines())
    assert float(row["estimate"]) == pytest.approx(2 / 3)
    assert (row["model"], row["task"], row["items"], row["method"]) == ("a", "law-qa@1", "3", "Wilson")


def test_the_board_as_values_carries_verdict_and_sentence(board, score):
    a, b = answers(300, 60, 31, 150)
    score("trained", a)
    score("untrained", b)
    (table,) = json.loads(json.dumps(describe_board(read_board(board))))
    (pair,) = table["comparisons"]
    assert (pair["verdict"], pair["only_a"], pair["only_b"]) == ("a_better", 60, 31)
    assert pair["sentence"] == table["headline"][0]
    assert [model["rank"] for model in table["models"]] == [[1, 1], [2, 2]]


def test_importing_a_file_twice_gives_one_evaluation(board, task, project, tmp_path):
    path = write_samples(tmp_path / "a.jsonl", [1.0, 0.0, None])
    model = add_model(project, "m")
    first = import_evaluation(task=task, model=model, samples_path=path, board=board)
    again = import_evaluation(task=task, model=model, samples_path=path, board=board)
    assert first == again
    assert Evaluation.objects.count() == 1
    assert (first.count, first.failed, first.mean, first.samples.count()) == (3, 1, pytest.approx(1 / 3), 3)
    assert first.samples_sha256 == again.samples_sha256
    assert list(board.evaluations.all()) == [first]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a.jsonl holds no sample"),
        ("{}\n", "a.jsonl, line 1: item: Field required"),
        ("not json\n", "a.jsonl, line 1: the line: Invalid JSON"),
        (
            '{"item":"x","prompt":"","output":"","target":"","score":1,"status":"ok"}\n' * 2,
            "a.jsonl, line 2: item x stands twice",
        ),
    ],
)
def test_a_file_with_a_bad_line_is_refused_whole(board, task, project, tmp_path, content, message):
    path = tmp_path / "a.jsonl"
    path.write_text(content, "utf-8")
    with pytest.raises(BoardError, match=message):
        import_evaluation(task=task, model=add_model(project, "m"), samples_path=path, board=board)
    assert not Evaluation.objects.exists()


def test_a_missing_file_is_named(board, task, project, tmp_path):
    with pytest.raises(BoardError, match=r"the samples file none.jsonl cannot be read: No such file"):
        import_evaluation(task=task, model=add_model(project, "m"), samples_path=tmp_path / "none.jsonl")


def test_a_changed_definition_is_the_next_number_and_the_same_one_is_not(project, version, task):
    assert freeze_task(project=project, definition=DEFINITION, dataset_version=version) == task
    changed = DEFINITION.model_copy(update={"doc_to_text": "Q: {{question}}"})
    second = freeze_task(project=project, definition=changed, dataset_version=version)
    assert (second.reference, second.sha256 == task.sha256) == ("law-qa@2", False)
    assert Task.objects.count() == 2


def test_rows_without_the_right_to_evaluate_are_refused(project, version):
    closed = DatasetVersion.objects.create(
        dataset=version.dataset, number=2, sha256="b" * 64, rows=4, bytes=10, uses=["train"]
    )
    with pytest.raises(
        BoardError, match=r"the rights of code@2 allow train, not evaluate: it must not be evaluated on \(rows 1 to 4\)"
    ):
        freeze_task(project=project, definition=DEFINITION, dataset_version=closed)


def test_a_board_asks_the_database_as_often_however_many_models_it_shows(browser, board, task, score, project, version):
    other = freeze_task(
        project=project, definition=DEFINITION.model_copy(update={"task": "other"}), dataset_version=version
    )
    counts = []
    for models in (2, 6):
        for number in range(models):
            score(f"m-{number}", [1.0, 0.0] * 20 + [float(number % 2)])
            score(f"m-{number}", [1.0] * 20 + [0.0] * 20, of=other)
        read(browser, "board", board)
        with CaptureQueriesContext(connection) as caught:
            read(browser, "board", board)
        counts.append(len(caught))
    assert counts[0] == counts[1] < 16


def test_what_was_worked_out_is_kept_and_found_again(board, task, score, monkeypatch):
    a, b = answers(300, 60, 31, 150)
    score("trained", a)
    score("untrained", b)
    first = describe_board(read_board(board))
    assert Standing.objects.filter(task=task).count() == 1
    monkeypatch.setattr("chanote.boards.standings.compute_standings", None)
    assert describe_board(read_board(board)) == first
    monkeypatch.undo()
    score("third", b)
    assert len(describe_board(read_board(board))[0]["models"]) == 3


def test_scores_are_read_as_the_samples_have_them(board, task, score):
    """The blob beside an evaluation says what its samples say, whatever order they came in."""
    one = score("trained", [1.0, 0.25, None, 0.0], statuses={3: "truncated"}, clusters=["b", "a", "a", ""])
    kept = read_scores([one.pk])[one.pk]
    one.item_set, one.scores = None, None
    one.save()
    read_again = read_scores([one.pk])[one.pk]
    for found in (kept, read_again):
        assert list(found.items) == ["item-0", "item-1", "item-2", "item-3"]
        assert list(found.clusters) == ["b", "a", "a", ""]
        assert np.array_equal(found.values, [1.0, 0.25, np.nan, 0.0], equal_nan=True)
        assert found.failed.tolist() == [False, False, True, True]


def test_only_a_model_that_surely_beats_all_others_is_bold(browser, board, score):
    a, b = answers(300, 60, 31, 150)
    score("trained", a)
    score("untrained", b)
    response, _ = read(browser, "board", board)
    assert response.content.count(b"<b title=") == 1
    score("rival", a)
    response, _ = read(browser, "board", board)
    assert response.content.count(b"<b title=") == 0
    assert [one["winner"] for one in describe_board(read_board(board))[0]["models"]] == [False] * 3
