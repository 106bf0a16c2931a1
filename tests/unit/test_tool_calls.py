"""Calls as policies write them; everything that is wrong with one is said to the policy."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.rollouts.calls import Call, final_answer, read_calls

TOOLS = {
    "search_law": {"properties": {"query": {"type": "string"}, "top_k": {"type": "integer"}}},
    "read_law": {"properties": {"law_name": {"type": "string"}}},
}


def read(text: str) -> list[Call]:
    return read_calls(text, TOOLS)


def wrap(inner: str) -> str:
    return f"<tool_call>\n{inner}\n</tool_call>"


def test_a_turn_without_calls_is_an_answer():
    assert read("Section 12 says so.") == []
    assert final_answer("<think>\nhm\n</think>\n\nSection 12.\n") == "Section 12."


def test_several_calls_of_a_turn_in_their_order():
    text = f"Let me see. {wrap(json.dumps({'name': 'read_law', 'arguments': {'law_name': 'ประมวล'}}))}\n" + wrap(
        '{"name": "search_law", "arguments": "{\\"query\\": \\"x\\", \\"top_k\\": 3}"}'
    )
    assert [(call.name, call.arguments, call.fault) for call in read(text)] == [
        ("read_law", {"law_name": "ประมวล"}, ""),
        ("search_law", {"query": "x", "top_k": 3}, ""),
    ]


def test_elements_are_typed_by_the_schema():
    text = wrap(
        "<function=search_law>\n<parameter=query>\n12\nlines\n</parameter>\n<parameter=top_k>\n7\n</parameter>\n</function>"
    )
    (call,) = read(text)
    assert (call.name, call.arguments, call.fault) == ("search_law", {"query": "12\nlines", "top_k": 7}, "")


def test_what_stands_in_thoughts_is_no_call():
    inner = '{"name": "read_law", "arguments": {"law_name": "a"}}'
    assert read(f"<think>I could {wrap(inner)}</think>No need.") == []
    assert len(read(f"<think>so</think>{wrap(inner)}")) == 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (wrap('{"name": "read_law", "arguments": {"law_name": "a"'), "not valid JSON"),
        (wrap("search for it"), "not valid JSON (Expecting value at character 2)"),
        (wrap('["read_law"]'), 'one JSON object with "name"'),
        (wrap('{"arguments": {}}'), 'one JSON object with "name"'),
        (wrap('{"name": "read_law", "arguments": [1]}'), "arguments is not a JSON object"),
        (wrap('{"name": "read_law", "arguments": "law_name=a"}'), "arguments is a text that is not valid JSON"),
        (wrap('{"name": "delete_law", "arguments": {}}'), "there is no tool 'delete_law'; the tools are: search_law,"),
        (wrap("<function=delete_law>\n</function>"), "there is no tool 'delete_law'"),
        ('<tool_call>\n{"name": "read_law", "arguments": {}}', "not closed; end it with </tool_call>"),
        (wrap('{"a":' * 100_000), "nested too deeply"),
        (wrap('{"name": "search_law", "arguments": {"query": "\\ud800"}}'), "a character that JSON does not have"),
        (wrap('{"name": "search_law", "arguments": {"top_k": NaN}}'), "a number or a character that JSON does not"),
        (wrap('{"name": "search_law", "arguments": {"top_k": 1e999}}'), "a number or a character that JSON does not"),
        (wrap('{"name": "\\udfff", "arguments": {}}'), "a character that JSON does not have"),
        (wrap("<function=search_law>\n<parameter=top_k>NaN</parameter>\n</function>"), "that JSON does not have"),
        (wrap(""), "not valid JSON"),
    ],
)
def test_a_call_that_cannot_be_made_says_why(text: str, fault: str):
    (call,) = read(text)
    assert fault in call.fault


def test_one_bad_call_leaves_its_neighbours():
    good = wrap('{"name": "read_law", "arguments": {"law_name": "a"}}')
    first, second, third = read(f"{good}<tool_call>{{{good}")
    assert (first.fault, third.fault) == ("", "")
    assert second.fault == "the call is not closed; end it with </tool_call>"


@given(st.text(alphabet=st.sampled_from('<>/toolcal_{}":,\\ \nfunction=parameter[]think0')))
def test_no_text_breaks_the_reader(text: str):
    for call in read(text):
        assert call.fault or call.name in TOOLS
