"""What commands print for people."""

from chanote.commands.answers import print_answer
from chanote.commands.board import _print_task


def test_the_name_of_a_metric_is_printed_as_it_is_written(capsys):
    print_answer({"rollout/truncated_share": 0.25, "total_steps": 4}, as_json=False)
    assert capsys.readouterr().out.splitlines() == ["rollout/truncated_share  0.25", "total steps              4"]


def test_a_board_is_a_line_for_each_model_with_rank_and_interval(capsys):
    row = {"estimate": 0.8125, "low": 0.7, "high": 0.9, "items": 128, "failed_share": 0.0}
    models = [
        {**row, "model": "ink", "rank": [1, 2]},
        {**row, "model": "base", "low": None, "high": None, "rank": None},
    ]
    task = {
        "task": "exam@1",
        "metric": "acc",
        "higher_is_better": True,
        "headline": ["Undecided."],
        "models": models,
        "judging": None,
    }
    _print_task(task)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["exam@1, acc, more is better", "  Undecided."]
    assert lines[3].split() == ["1–2", "ink", "0.8125", "0.7", "0.9", "128", "0", "%"]
    assert lines[4].split() == ["base", "0.8125", "–", "–", "128", "0", "%"]
