"""What a command prints for people."""

import json

from chanote.commands.answers import CommandEnd, print_answer, print_end


def test_a_sentence_is_said_once(capsys):
    sentence = "You have signed this version already."
    named = {"field": "uses", "message": "Name one use at least."}
    print_end(CommandEnd(sentence, 4, [{"field": "", "message": sentence}, named]), as_json=False)
    assert capsys.readouterr().err.splitlines() == [f"chanote: {sentence}", "  uses: Name one use at least."]


def test_tables_leave_what_is_nested_to_programs(capsys):
    rows = [{"check": "schema", "counts": {"fields": 3}}, {"check": "personal", "counts": {}}]
    print_answer(rows, as_json=False)
    assert capsys.readouterr().out.splitlines() == ["check", "schema", "personal"]
    print_answer(rows, as_json=True)
    assert json.loads(capsys.readouterr().out) == rows
