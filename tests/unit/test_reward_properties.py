"""Whatever a policy writes is worth something within the stated range, and is never a fault: a fault would let it
escape its punishment by writing nonsense."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reward_rows import rewards
from trainer.contract.rewards import reward_kinds
from trainer.rewards import Answer, score_all

ROW = {
    "question": "ค่าปรับตามมาตรา 5 เท่าไร",
    "answer": "2",
    "citations": [{"law": "ประมวลรัษฎากร", "section": "40 ทวิ"}],
    "target_tokens": 50,
    "answerable": False,
}
LISTED: list[dict[str, Any]] = [
    {"kind": "exact"},
    {"kind": "numeric", "tolerance": 0.1},
    {"kind": "numeric", "name": "tagged", "read": "answer_tag"},
    {"kind": "multiple_choice"},
    {"kind": "citation_f1"},
    {"kind": "citation_f1", "name": "cited_json", "written": "json", "measure": "precision"},
    {"kind": "regex_format", "pattern": r".*\d.*"},
    {"kind": "think_answer", "partial": True},
    {"kind": "script", "scripts": ["Thai"]},
    {"kind": "code_switching", "graded": True},
    {"kind": "overlong", "buffer": 30},
    {"kind": "lcpo"},
    {"kind": "lcpo_max", "correct": "exact"},
    {"kind": "cosine", "correct": "exact"},
    {"kind": "kimi", "correct": "exact", "gate": "think_answer"},
    {"kind": "repetition", "size": 2, "tolerated": 0.2},
    {"kind": "abstention"},
    {"kind": "gold_section"},
    {"kind": "tool_form"},
]
PIECES = [
    "<think>", "</think>", "<answer>", "</answer>", "มาตรา ", "๔๐", " ทวิ", "ประมวลรัษฎากร", "แห่ง", "section ", "§ ",
    '{"citations": [', '{"law": "a", "section": "1"}', "]}", "```", "`", "https://x", "ก", "B", " is ", "answer ",
    "คำตอบ", "1e9", "12/1", "−1,000.5", "²", "٣", "\u200b", "\x00", "\ud800", "İ", "ß", "ﷺ", "你好", "\n", " ",
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=25).map("".join)


def test_every_kind_that_needs_no_service_is_in_the_list():
    assert {reward["kind"] for reward in LISTED} == set(reward_kinds()) - {"judge", "unit_tests", "valid_citation"}


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(st.tuples(TEXTS, st.integers(0, 100)), min_size=1, max_size=3))
def test_no_text_of_the_policy_is_a_fault_or_leaves_the_range(texts: list[tuple[str, int]]):
    listed = rewards(*LISTED)
    answers = [
        Answer(row=ROW, text=text, tokens=tokens, longest=100, truncated=tokens == 100, group=0)
        for text, tokens in texts
    ]
    for scored in score_all(listed, answers):
        assert scored.faults == {}
        for reward in listed:
            value = scored.components[reward.config.component]
            low, high = reward.range
            assert value is not None
            assert low <= value <= high, reward.config.component
        assert scored.total == sum(value or 0.0 for value in scored.components.values())
