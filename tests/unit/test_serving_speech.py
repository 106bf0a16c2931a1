"""Calls are found in what a policy writes, the same in pieces as whole."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model_serving import make_policy
from trainer.serving.speech import Called, Said, SpeechReader
from trainer.serving.token_text import TextStream

TOOLS = {"search_law": {"properties": {"query": {"type": "string"}, "top_k": {"type": "integer"}}}, "read_law": {}}
CALL = '<tool_call>\n{"name": "search_law", "arguments": {"query": "tax", "top_k": 2}}\n</tool_call>'
FOUND = Called("search_law", '{"query": "tax", "top_k": 2}')


def read(text: str, cuts: tuple[int, ...] = (), *, tools: object = TOOLS) -> tuple[str, list[Called]]:
    reader = SpeechReader(tools)  # type: ignore[arg-type]
    places = sorted({min(cut, len(text)) for cut in cuts})
    pieces = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
    parts = [part for piece in pieces for part in reader.feed(piece)] + reader.end()
    said = "".join(part.text for part in parts if isinstance(part, Said))
    return said, [part for part in parts if isinstance(part, Called)]


@pytest.mark.parametrize(
    ("text", "said", "calls"),
    [
        ("On day 4.", "On day 4.", []),
        ("  On day 4.\n", "  On day 4.\n", []),
        (CALL, "", [FOUND]),
        (f"I look.\n{CALL}\n", "I look.", [FOUND]),
        (f"{CALL}\n{CALL}", "", [FOUND, FOUND]),
        (f"<think>\nwhy {CALL}\n</think>\n\n{CALL}", f"<think>\nwhy {CALL}\n</think>", [FOUND]),
        (f"<think>\nnever closed {CALL}", f"<think>\nnever closed {CALL}", []),
        ("<tool_call>{broken</tool_call>", "<tool_call>{broken</tool_call>", []),
        (f"<tool_call>unclosed {CALL}", "<tool_call>unclosed", [FOUND]),
        (f"{CALL}\n<tool_call>never closed", "\n<tool_call>never closed", [FOUND]),
        ('<tool_call>{"name": "nothing"}</tool_call>', "", [Called("nothing", "{}")]),
        ('<tool_call>{"name": "read_law", "arguments": [1]}</tool_call>', "", [Called("read_law", "[1]")]),
        ('<tool_call>{"name": "read_law", "arguments": "{no"}</tool_call>', "", [Called("read_law", "{no")]),
        (
            "<tool_call><function=search_law><parameter=query>tax</parameter><parameter=top_k>2</parameter>"
            "</function></tool_call>",
            "",
            [FOUND],
        ),
        ("1 < 2 and <tool", "1 < 2 and <tool", []),
    ],
)
def test_text_and_calls_of_a_turn(text: str, said: str, calls: list[Called]):
    assert read(text) == (said, calls)


def test_without_tools_everything_is_text():
    assert read(CALL, tools=None) == (CALL, [])


def test_thoughts_that_the_prompt_opened_hold_no_calls():
    reader = SpeechReader(TOOLS, thinking=True)
    parts = [*reader.feed(f"why {CALL} </think>\n{CALL}"), *reader.end()]
    assert parts == [Said(f"why {CALL} </think>"), FOUND]


def test_a_call_that_no_encoding_takes_is_no_call_but_what_was_said():
    """As in training, where such a call is answered with what is wrong with it."""
    text = '<tool_call>{"name": "read_law", "arguments": {"law_name": "\\ud800"}}</tool_call>'
    assert read(text) == (text, [])


PARTS = ["<think>", "</think>", CALL, "<tool_call>", "</tool_call>", "\n", "  ", "a <", "<tool_", "ก", '{"name": "x"}']


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=8).map("".join), st.lists(st.integers(0, 200), max_size=12))
def test_pieces_give_what_the_whole_gives(text: str, cuts: list[int]):
    assert read(text, tuple(cuts)) == read(text)


@settings(max_examples=80, deadline=None)
@given(
    st.text(max_size=20), st.lists(st.integers(4, 370), max_size=12), st.lists(st.text("ab ก", min_size=1, max_size=2))
)
def test_text_that_grows_is_never_more_than_the_finished_text(text: str, more: list[int], stops: list[str]):
    tokenizer = make_policy().tokenizer
    core = tokenizer.backend_tokenizer
    stream = TextStream(tokenizer, stops)
    shown, ids = "", []
    for token in [*core.encode(text).ids, *more]:
        ids.append(token)
        shown += stream.add(token)
        whole = core.decode(ids, skip_special_tokens=True)
        found = [place for stop in stops if (place := whole.find(stop)) >= 0]
        if found:
            whole = whole[: min(found)]
            break
        assert whole.startswith(shown)
    if ids:
        assert whole.startswith(shown)
        assert shown + stream.finish(whole) == whole
