"""The steps of AutoIF on small examples worked out by hand; the sandbox is the tests' own table here."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chanote.building.autoif import crosschecks, pairing
from chanote.building.autoif.config import AutoIfConfig
from chanote.building.autoif.constraints import PLACEHOLDER, normalise
from chanote.building.autoif.contradiction import read_label
from chanote.building.autoif.crosschecks import cross_check
from chanote.building.autoif.functions import _read
from chanote.building.autoif.languages import count_cjk, name_language, share_scripts
from chanote.building.autoif.quality import read_score
from chanote.building.autoif.replies import find_object, list_lines
from chanote.building.autoif.rows import find_loss
from chanote.building.autoif.seeds import SEEDS
from chanote.building.autoif.views import adapt, see
from chanote.building.autoif.wordings import SYSTEM, USER, fill
from chanote.building.autoif.work import AutoIf
from chanote.building.funnel import Dropped, Funnel, Kept, Step, read_dropped
from chanote.building.replies import Reply
from toolsandbox.contract import VerifierVerdict

THAI = "วันนี้อากาศดีมาก ผมไปตลาดซื้อผลไม้"


class Table:
    """Stands for the sandbox: a function's source is the Python expression that it says."""

    def try_functions(self, functions: Sequence[Any], calls: Sequence[Any]) -> list[VerifierVerdict]:
        sources = {function.name: function.source for function in functions}
        verdicts = []
        for name, (text,) in calls:
            said = {"yes": True, "no": False, "long": len(text) > 5, "words": len(text.split()) >= 4}.get(sources[name])
            status = "error" if said is None else "ok"
            verdicts.append(VerifierVerdict(verifier=name, status=status, passed=said, detail="" if said else "broke"))
        return verdicts


def check(functions: list[str], cases: list[tuple[str, bool]], **config: Any) -> list[Kept | Dropped]:
    item = {
        "id": "c1",
        "text": "a constraint",
        "language": "th",
        "functions": functions,
        "cases": [{"input": text, "output": output} for text, output in cases],
    }
    settings = AutoIfConfig(name="out", questions="in", endpoint="teacher", **config)
    funnel = SimpleNamespace(read_kept=lambda step: iter([item]))
    autoif: Any = SimpleNamespace(config=settings, funnel=funnel, sandbox=Table())
    return list(cross_check(autoif))


def long_and_short(pairs: int) -> list[tuple[str, bool]]:
    return [(f"longer {n}", True) for n in range(pairs)] + [(f"s{n}", False) for n in range(pairs)]


def test_three_functions_and_ten_cases_are_enough_and_no_fewer():
    (kept,) = check(["long", "long ", "long"], long_and_short(5), min_functions=1)[-1:]
    assert isinstance(kept, Kept)
    assert kept.item["cases"] == 10
    *_, few = check(["long"], long_and_short(5), min_functions=2)
    assert (few.reason, few.detail) == (crosschecks.FEW_FUNCTIONS, "1 functions, 10 cases")
    *_, few = check(["long"], long_and_short(5)[:9], min_functions=1)
    assert (few.reason, few.detail) == (crosschecks.FEW_CASES, "1 functions, 9 cases")


@pytest.mark.parametrize(("wrong", "kept"), [(2, True), (3, False)])
def test_a_function_of_exactly_the_lowest_accuracy_stays(wrong, kept):
    """Of ten cases, `yes` reproduces the true ones and `long` all but those that are called wrongly."""
    cases = [(f"longer {n}", True) for n in range(5)] + [("s1", False), ("s2", False)]
    cases += [(f"longest {n}", False) for n in range(wrong)] + [(f"s{n + 5}", False) for n in range(3 - wrong)]
    outcomes = check(["long", "no"], cases, min_functions=1, min_accuracy=0.8)
    assert isinstance(outcomes[-1], Kept) is kept


def test_a_function_that_always_says_yes_proves_nothing():
    cases = [(f"longer {n}", True) for n in range(9)] + [("s", False)]
    lost = check(["yes", "long"], cases, min_functions=1)[0]
    assert (lost.reason, lost.part) == (crosschecks.ONE_SIDED, True)
    assert lost.item["function"] == "yes"


def test_cases_of_one_output_are_no_test():
    *_, lost = check(["yes"], [(f"longer {n}", True) for n in range(10)], min_functions=1)
    assert lost.reason == crosschecks.NO_CONTRAST


def test_a_function_that_breaks_is_dropped_with_what_it_said():
    lost = check(["bang", "long"], long_and_short(5), min_functions=1)[0]
    assert (lost.reason, lost.detail) == (crosschecks.FAILED, "error: broke")


def test_a_function_that_counts_words_proves_itself_on_the_view_of_words():
    cases = [(f"วันนี้อากาศดีมากผมไปตลาด{n}", True) for n in range(5)] + [(f"ครับ{n}", False) for n in range(5)]
    kept = check(["words"], cases, min_functions=1)[-1]
    assert isinstance(kept, Kept)
    (function,) = kept.item["functions"]
    assert [shown["view"] for shown in function["views"]] == ["words"]
    assert function["accuracy"] == 1.0
    assert all(" " in text for text in function["views"][0]["good"])


def test_views_cut_thai_and_leave_english_alone():
    assert see(THAI, "raw") == THAI
    assert see(THAI, "words").split() == ["วันนี้", "อากาศ", "ดีมาก", "ผม", "ไป", "ตลาด", "ซื้อ", "ผลไม้"]
    assert see(THAI, "sentences").splitlines() == ["วันนี้อากาศดีมาก", "ผมไปตลาดซื้อผลไม้"]
    assert see("A dog. A cat.", "words") == "A dog. A cat."


@pytest.mark.parametrize(
    ("written", "adapted"),
    [
        ("t.split('.')", r't.split("\n")'),
        (r"t.split('\n\n')", r't.split("\n")'),
        (r"re.split(r'(?<=[.!?])\s+', t)", r're.split(r"\n+", t)'),
        (r"re.findall(r'\w+', t)", r"re.findall(r'[\w\u0E31\u0E34-\u0E3A\u0E47-\u0E4E]+', t)"),
        ("t.split(',')", "t.split(',')"),
    ],
)
def test_cuts_that_do_not_fit_thai_are_rewritten(written, adapted):
    assert adapt(written) == adapted


def test_languages_are_told_by_the_shares_of_scripts():
    assert share_scripts("กขคabc中") == pytest.approx({"thai": 3 / 7, "latin": 3 / 7, "cjk": 1 / 7, "other": 0})
    assert [name_language(text) for text in (THAI, "What is § 5?", "Что это?", "12 + 3", "บริษัท ABC จำกัด")] == [
        "th", "en", "", "", "th",
    ]  # fmt: skip
    assert count_cjk("ไทย 中文 ひらがな 한국 ๆ") == 2 + 4 + 2


def test_seeds_are_distinct_checkable_and_in_both_languages():
    for thai, english in SEEDS:
        assert (name_language(thai), name_language(english.replace("“", '"'))) == ("th", "en")
        assert not PLACEHOLDER.search(thai + english)
    assert len({normalise(wording) for pair in SEEDS for wording in pair}) == 2 * len(SEEDS)


def test_a_json_object_is_found_wherever_it_stands():
    assert find_object('Sure!\n```json\n{"func": "a"}\n```') == {"func": "a"}
    assert find_object('<think>{"func": "no"}</think> it is {"func": "b"} done') == {"func": "b"}
    assert find_object("[1, 2] {broken") is None
    assert find_object("{" * 100_000) is None


def test_lists_lose_their_bullets_and_headings():
    assert list_lines("Here they are:\n1. One\n- two\n๓. สาม\n\n# Title\n**four**") == ["One", "two", "สาม", "four"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"func": 1, "cases": []}', "the reply defines no function evaluate"),
        ('{"func": "def evaluate(r): ...", "cases": "many"}', "the reply has no usable case"),
        (
            '{"func": "def evaluate(r): ...", "cases": [{"input": "a", "output": "perhaps"}]}',
            "the reply has no usable case",
        ),
        ("no", "the reply holds no JSON object"),
    ],
)
def test_replies_that_are_no_function_say_why(text, reason):
    assert _read(Reply(text=text)) == reason


def test_outputs_in_words_are_understood_and_the_first_of_equal_inputs_stays():
    text = (
        '{"func": "def evaluate(r): ...", "cases": [{"input": "a", "output": "True"}, {"input": "a", "output": false}]}'
    )
    assert _read(Reply(text=text)) == ("def evaluate(r): ...", [{"input": "a", "output": True}])


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Contradiction.", "contradiction"),
        ("<think>entailment? no</think>neutral", "neutral"),
        ("entailment or neutral", None),
        ("yes", None),
    ],
)
def test_a_label_counts_only_alone(text, label):
    assert read_label(text) == label


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Good.\nScore: 8", 8),
        ("**Score: 10/10**", 10),
        ("Score: ๗", 7),
        ("Score: 8\nThank you", None),
        ("Score: 11", None),
        ("Score: 7.5", None),
        ("", None),
    ],
)
def test_a_score_is_a_whole_number_on_the_last_line(text, score):
    assert read_score(text) == score


@pytest.mark.parametrize(
    ("translated", "loss"),
    [
        ("Use the word “ข้าวเหนียว” 2 times.", ""),
        ("Use the word “sticky rice” 2 times.", "“ข้าวเหนียว” is missing"),
        ("Use the word “ข้าวเหนียว” twice.", "the number 2 is missing"),
        ("ใช้ “ข้าวเหนียว” 2 ครั้ง", "it is in another language than was asked for"),
        ("", "it is empty or too long"),
    ],
)
def test_a_translation_keeps_quotes_and_numbers(translated, loss):
    assert find_loss("ใส่คำว่า “ข้าวเหนียว” ๒ ครั้ง", translated, "en") == loss


def test_braces_in_questions_are_braces():
    assert (
        fill("{question} {constraint}", question="{constraint}", constraint="{question}") == "{constraint} {question}"
    )
    for wordings in (*USER.values(), *SYSTEM.values()):
        assert len(set(wordings)) == len(wordings)
        assert all("{constraint}" in wording for wording in wordings)


def test_every_question_meets_every_constraint_once_and_the_first_round_is_even():
    questions = [{"question": str(n), "row": n, "language": "th", "source": None} for n in range(4)]
    constraints = [{"id": f"c{n}", "text": f"t{n}", "language": "th"} for n in range(3)]
    pairs = [(pair["row"], pair["constraint"]["id"]) for pair in pairing._walk(questions, constraints)]
    assert len(pairs) == len(set(pairs)) == 12
    assert sorted(constraint for _, constraint in pairs[:3]) == ["c0", "c1", "c2"]
    assert list(pairing._walk(questions, [])) == []


STEP = Step("1-letters", "Letters", "letters")


def test_a_step_that_is_done_is_not_done_again(tmp_path: Path):
    told: list[dict[str, Any]] = []
    funnel = Funnel(tmp_path, lambda step, counts: told.append(counts))
    worked = []

    def work() -> Iterator[Kept | Dropped]:
        worked.append(1)
        yield Kept({"letter": "ก"})
        yield Dropped({"letter": "x"}, "not Thai")
        yield Dropped({"letter": "ก"}, "half of one", part=True)

    assert funnel.run(STEP, work, total=2) == funnel.run(STEP, work, total=2) == 1
    assert worked == [1]
    assert told[-1] == {
        "in": 2, "kept": 1, "dropped": 1, "reasons": {"not Thai": 1}, "parts": {"half of one": 1}, "done": True,
    }  # fmt: skip
    assert list(funnel.read_kept(STEP)) == [{"letter": "ก"}]
    assert [one["reason"] for one in read_dropped(tmp_path, "1-letters")] == ["not Thai", "half of one"]


def test_a_step_that_was_cut_off_begins_anew(tmp_path: Path):
    funnel = Funnel(tmp_path, lambda step, counts: None)

    def broken() -> Iterator[Kept]:
        yield Kept({"letter": "ก"})
        raise KeyError

    with pytest.raises(KeyError):
        funnel.run(STEP, broken)
    assert funnel.read_counts(STEP) is None
    assert funnel.run(STEP, lambda: [Kept({"letter": "ข"})]) == 1
    assert list(funnel.read_kept(STEP)) == [{"letter": "ข"}]


def test_draws_depend_on_the_seed_and_the_purpose_alone():
    def draw(seed: int, purpose: str) -> float:
        config = AutoIfConfig(name="out", questions="in", endpoint="teacher", seed=seed)
        return AutoIf.draw(SimpleNamespace(config=config), purpose).random()  # type: ignore[arg-type]

    assert draw(1, "rows") == draw(1, "rows")
    assert len({draw(1, "rows"), draw(2, "rows"), draw(1, "pairs")}) == 3
