"""Conversations → pieces of text, each marked as trained or not, whatever the chat template."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from trainer.data.documents import Document, Piece

Message = dict[str, Any]
RenderChat = Callable[[Sequence[Message], bool], str]
"""(messages, whether to open the assistant's turn) → text."""

CHATML = (
    "{% set told = messages[0]['content'] if messages and messages[0]['role'] == 'system' else '' %}"
    "{% if tools %}"
    "{{ '<|im_start|>system\\n' }}{% if told %}{{ told + '\\n\\n' }}{% endif %}"
    "{{ 'Tools:\\n<tools>\\n' }}{% for tool in tools %}{{ (tool | tojson) + '\\n' }}{% endfor %}"
    '{{ \'</tools>\\nCall one by <tool_call>\\n{"name": ..., "arguments": {...}}\\n</tool_call><|im_end|>\\n\' }}'
    "{% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'tool' %}"
    "{% if loop.first or loop.previtem['role'] != 'tool' %}{{ '<|im_start|>user' }}{% endif %}"
    "{{ '\\n<tool_response>\\n' + (message['content'] or '') + '\\n</tool_response>' }}"
    "{% if loop.last or loop.nextitem['role'] != 'tool' %}{{ '<|im_end|>\\n' }}{% endif %}"
    "{% elif not (tools and loop.first and message['role'] == 'system') %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] or '' }}"
    "{% for call in message['tool_calls'] or [] %}"
    "{% set called = call['function'] or call %}{% set given = called['arguments'] %}"
    "{% if message['content'] or not loop.first %}{{ '\\n' }}{% endif %}"
    "{{ '<tool_call>\\n{\"name\": ' + (called['name'] | tojson) + ', \"arguments\": ' }}"
    "{{ (given if given is string else given | tojson) + '}\\n</tool_call>' }}"
    "{% endfor %}"
    "{{ '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ (message['content'] or '') + '<|im_end|>' }}{% endif %}"
    "{{ '\\n' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""Template of policies that the project initialises itself."""


def render_conversation(
    messages: Sequence[Message], render: RenderChat, *, loss_on: Literal["assistant", "all"]
) -> list[Document]:
    """Documents of one conversation, cut where the assistant's turns begin and end.

    An answer is trained together with its end token, but without the white space that the template puts after it:
    the policy stops before that. Pieces are tokenised apart, since an answer is sampled after a prompt that was
    tokenised on its own.

    Some templates write earlier turns differently once later ones follow (Qwen3 drops their thoughts). Then no single
    text shows every answer as it is sampled, and each answer becomes a document of its own after its own history.
    """
    answers = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    whole = render(messages, False)
    if loss_on == "all":
        return [[Piece(whole, trained=True)]]
    spans = [_answer_span(messages, number, render) for number in answers]
    if all(whole.startswith(text) for _, _, text in spans):
        return [_cut(whole, [(start, end) for start, end, _ in spans])]
    return [_cut(text, [(start, end)]) for start, end, text in spans]


def render_answer(messages: Sequence[Message], answer: Message, render: RenderChat) -> tuple[Piece, Piece]:
    """A prompt of several turns, and one answer to it, which is trained together with its end token."""
    start, end, text = _answer_span([*messages, answer], len(messages), render)
    return Piece(text[:start], trained=False), Piece(text[start:end], trained=True)


def _answer_span(messages: Sequence[Message], number: int, render: RenderChat) -> tuple[int, int, str]:
    """Where the answer begins and ends in the conversation up to it, and that text."""
    prompt = render(messages[:number], True)
    text = render(messages[: number + 1], False)
    if not text.startswith(prompt):
        raise ValueError(
            "the chat template of the model writes the history of an answer differently once the answer is there, "
            "so nobody can say which tokens the answer has; choose a model with another template."
        )
    return len(prompt), max(len(prompt), len(text.rstrip())), text


def _cut(text: str, spans: Sequence[tuple[int, int]]) -> Document:
    pieces, position = [], 0
    for start, end in spans:
        pieces += [Piece(text[position:start], trained=False), Piece(text[start:end], trained=True)]
        position = end
    pieces.append(Piece(text[position:], trained=False))
    return [piece for piece in pieces if piece.text]
