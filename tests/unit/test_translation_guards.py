"""What a translation must keep, and how a loss is told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chanote.building.endpoint import Reply
from chanote.building.translation.guarding import find_losses, guard, list_numbers, name_kind, restore
from chanote.building.translation.texts import list_texts, replace_texts
from chanote.building.translation.wordings import ask_to_translate, find_faults, keep_edges, score_back

TEXT = """\
Write "P.S." at the end, {name}, and see https://example.org/a?b=1.

```python
print("hello")  # 3 times
```
Use `ls -l` with %s or <br>, {{ user.id }} and ${HOME}; mail me@example.org, [DATE]."""


def test_what_must_not_change_is_taken_out_in_the_order_in_which_it_stands():
    guarded = guard(TEXT)
    assert guarded.text == (
        "Write ⟦1⟧ at the end, ⟦2⟧, and see ⟦3⟧.\n\n⟦4⟧\nUse ⟦5⟧ with ⟦6⟧ or ⟦7⟧, ⟦8⟧ and ⟦9⟧; mail ⟦10⟧, ⟦11⟧."
    )
    assert [kind for kind, _ in guarded.kept] == [
        "quoted string", "placeholder", "address", "code block", "code", "placeholder", "placeholder", "placeholder",
        "placeholder", "address", "placeholder",
    ]  # fmt: skip
    assert guarded.kept[3][1] == '```python\nprint("hello")  # 3 times\n```'
    assert restore(guarded.text, guarded) == TEXT


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("It's Anna's book, isn't it?", []),
        ("Say 'yes' or “no” or «oui» or „ja“.", ["'yes'", "“no”", "«oui»", "„ja“"]),
        ("a < b and b > c, 5 % of it", []),
        ("```\nnever closed", ["```\nnever closed"]),
        ("Formula \\(a^2\\) and $$b$$.", ["\\(a^2\\)", "$$b$$"]),
        ("See (https://example.org/x).", ["https://example.org/x"]),
        ("``a ` b`` and `c`", ["``a ` b``", "`c`"]),
        ("costs $5 and {} more", ["{}"]),
        ("already ⟦1⟧ marked", ["⟦", "⟧"]),
    ],
)
def test_only_what_is_none_of_the_language_is_taken_out(text: str, taken: list[str]):
    guarded = guard(text)
    assert [string for _, string in guarded.kept] == taken
    assert restore(guarded.text, guarded) == text


PIECES = st.sampled_from(
    ["⟦1⟧", "⟦", "⟧", "`", "```", "~~~", "\n", "{name}", "{{", "}}", "{", "}", "%s", "<b>", "</b>", "<", "https://a.b/c",
     "“", "”", '"', "'", "«", "»", "$", "$HOME", "[A]", "\\(", "\\)", "12", "๑๒", "1,000.5", "ก", "a", " ", ".", "²"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=60), st.booleans())
def test_any_text_comes_back_whole_and_its_own_marks_are_no_loss(text: str, quotes: bool):
    guarded = guard(text, quotes=quotes)
    assert restore(guarded.text, guarded) == text
    assert find_losses(guarded.text, guarded) == []


def test_quoted_strings_may_be_left_to_the_translator():
    assert guard('Say "yes".', quotes=False).text == 'Say "yes".'


def test_each_kind_of_loss_is_named():
    guarded = guard("Ask {name} about `x` for 1,000.50 baht in 3 days.")
    assert find_losses("ถาม ⟦1⟧ เรื่อง ⟦2⟧ ราคา ๑.๐๐๐,๕๐ บาท ใน 3 วัน", guarded) == []
    assert find_losses("ถาม ⟦ 1 ⟧ เรื่อง ⟦๒⟧ 100050 และ 3", guarded) == [
        "code lost: `x` (⟦2⟧)",
        "mark broken: a bracket stands alone",
    ]
    assert find_losses("⟦1⟧ ⟦1⟧ ⟦2⟧ ⟦7⟧ 1000.50 3", guarded) == [
        "placeholder doubled: {name} (⟦1⟧)",
        "mark made up: ⟦7⟧",
    ]
    assert find_losses("⟦1⟧ ⟦2⟧ พันบาท 3", guarded) == ["number lost: 100050"]
    assert name_kind("code block lost: x (⟦2⟧)") == "code block lost"
    assert name_kind("no answer: it failed") == "no answer"


def test_a_number_that_stands_twice_is_wanted_twice():
    assert find_losses("3", guard("3 and 3")) == ["number lost: 3"]
    assert list_numbers("๑๒/๓ and 12") == {"12": 2, "3": 1}


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (Reply(fault="The server is away."), "no answer: The server is away."),
        (Reply("สวัสดี", finish_reason="length"), "cut off: the answer was longer than allowed"),
        (Reply(" \n"), "empty: the answer holds nothing"),
        (Reply("Good morning"), "not translated: the answer is not in Thai"),
        (Reply("Sure! Good day to you all"), "not translated: the answer is not in Thai"),
    ],
)
def test_an_answer_that_is_no_translation_is_told_as_such(reply: Reply, fault: str):
    assert find_faults(reply, guard("Good morning"), target="th") == [fault]


def test_a_good_answer_has_no_fault_and_keeps_the_white_space_around_it():
    assert find_faults(Reply("สวัสดีตอนเช้า\n"), guard("Good morning"), target="th") == []
    assert keep_edges("สวัสดี\n", "\n  Hello ") == "\n  สวัสดี "


def test_another_try_says_what_was_lost_and_is_another_question():
    guarded = guard("Hello {name}")
    first = ask_to_translate(guarded, source="en", target="th")
    second = ask_to_translate(guarded, source="en", target="th", attempt=1, losses=["placeholder lost: {name} (⟦1⟧)"])
    assert "placeholder lost: {name}" in second.messages[0]["content"]
    assert (first.sample, second.sample) == (0, 1)
    assert second.temperature > first.temperature


def test_the_score_of_a_back_translation_is_chrf():
    # The published measure: 100 for the same text, 0 for one that shares no letter.
    assert score_back("The cat sat.", "The cat sat.") == 100.0
    assert score_back("abc", "xyz") == 0.0
    # sacrebleu 2.6, sentence_chrf("the cat sat on the mat", ["the cat is on the mat"])
    assert score_back("the cat is on the mat", "the cat sat on the mat") == pytest.approx(64.578, abs=0.001)


def test_texts_for_people_are_translated_and_nothing_else():
    row = {
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "content": "raw"},
            {"role": "assistant", "content": "Bye"},
        ],
        "id": "a-1",
    }
    assert list(list_texts(row, "chat")) == [(("messages", 0, "content"), "Hello"), (("messages", 3, "content"), "Bye")]
    changed = replace_texts(row, {("messages", 3, "content"): "ลาก่อน"})
    assert changed["messages"][3]["content"] == "ลาก่อน"
    assert row["messages"][3]["content"] == "Bye"
    exam = {"question": "q", "choices": ["a", "b"], "answer": 1}
    assert [path for path, _ in list_texts(exam, "choices")] == [("question",), ("choices", 0), ("choices", 1)]
