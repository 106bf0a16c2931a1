"""The evaluate stage and the command: files that appear whole, events that agree with them."""

import json

import pytest

from trainer.contract import DatasetFile, ExitCode, ModelFile, Recipe, RunSpec, TaskSpec
from trainer.contract.events import PhaseProgressed, ScoredSample, TaskScored
from trainer.contract.stages.evaluate import EvaluateStage
from trainer.evaluation.command import main
from trainer.evaluation.stage import run_evaluate_stage

KNOWN = {"q": {" ": 1.0}, " ": {"a": 0.6, "b": 0.4}}
TASK = {"task": "exam", "dataset": "exam@1", "output_type": "multiple_choice", "metric": "acc"}
ROWS = [{"id": f"n{n}", "question": "q", "choices": ["a", "b"], "answer": int(n >= 6)} for n in range(8)]


class Events:
    def __init__(self):
        self.seen = []

    def emit(self, event):
        self.seen.append(event)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "exam.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")
    return path


def run_stage(policy, data, out, events, should_stop=lambda: False):
    stage = EvaluateStage(tasks=["exam"], board="main")
    spec = RunSpec(
        run="r1",
        recipe=Recipe(base="tiny", stages=[stage]),
        base=ModelFile(path="tiny", sha256="0" * 64),
        datasets={"exam@1": DatasetFile(kind="choices", path=str(data), sha256="1" * 64, rows=len(ROWS))},
        tasks={"exam": TaskSpec(**TASK)},
    )
    return run_evaluate_stage(
        model=policy.model,
        tokenizer=policy.tokenizer,
        stage=stage,
        stage_number=2,
        step=40,
        spec=spec,
        out=out,
        events=events,
        checkpoint_path="checkpoints/step-000040",
        model_sha256="2" * 64,
        should_stop=should_stop,
    )


def test_samples_stand_in_a_file_and_the_event_names_it(bigram, data, tmp_path):
    events = Events()
    assert run_stage(bigram(KNOWN), data, tmp_path, events) is True
    *progress, scored = events.seen
    assert isinstance(scored, TaskScored)
    assert scored.samples_path == "evaluations/stage-2-exam.jsonl"
    assert (scored.samples, scored.mean, scored.board, scored.step) == (8, 0.75, "main", 40)
    lines = (tmp_path / scored.samples_path).read_text("utf-8").splitlines()
    samples = [ScoredSample.model_validate_json(line) for line in lines]
    assert [s.item for s in samples] == [f"n{n}" for n in range(8)]
    assert [s.score for s in samples] == [1.0] * 6 + [0.0] * 2
    assert all(isinstance(event, PhaseProgressed) and event.phase == "evaluate/exam" for event in progress)
    assert [(event.done, event.total) for event in progress][-1] == (8, 8)


def test_a_stop_midway_leaves_no_file_and_no_score(bigram, data, tmp_path):
    events = Events()
    assert run_stage(bigram(KNOWN), data, tmp_path, events, should_stop=lambda: True) is False
    assert list((tmp_path / "evaluations").iterdir()) == []
    assert not any(isinstance(event, TaskScored) for event in events.seen)


@pytest.fixture
def saved_model(bigram, tmp_path):
    policy = bigram(KNOWN)
    policy.model.save_pretrained(tmp_path / "model")
    policy.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def task_file(tmp_path):
    path = tmp_path / "exam.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in TASK.items()), "utf-8")
    return path


def test_the_command_scores_a_directory_and_prints_json(saved_model, task_file, data, tmp_path, capsys):
    arguments = ["--model", saved_model, "--task", task_file, "--data", f"exam={data}", "--out", tmp_path / "out"]
    assert main([*map(str, arguments), "--device", "cpu", "--json"]) == ExitCode.FINISHED
    (result,) = json.loads(capsys.readouterr().out)
    assert (result["task"], result["mean"], result["n"], result["failed"]) == ("exam", 0.75, 8, 0)
    # Wilson for 6 of 8, z = 1.96: centre (.75 + .2401) / 1.4802 = .66890, half 1.32414 · .19607 = .25962.
    assert result["interval"] == pytest.approx([0.40928, 0.92852], abs=1e-4)
    assert (tmp_path / "out" / result["samples"]).is_file()


def test_the_command_prints_a_table(saved_model, task_file, data, tmp_path, capsys):
    arguments = ["--model", saved_model, "--task", task_file, "--data", f"exam@1={data}", "--out", tmp_path / "out"]
    assert main([*map(str, arguments), "--device", "cpu"]) == ExitCode.FINISHED
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["task", "metric", "mean", "95", "%", "interval", "n", "failed"]
    assert row.split() == ["exam", "acc", "0.750", "0.409", "to", "0.929", "8", "0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--model": "nowhere"}, "--model nowhere is no Hugging Face checkpoint directory"),
        ({"--data": "other=x.jsonl"}, "task exam reads dataset exam@1: add --data exam@1=FILE.jsonl"),
        ({"--data": "exam"}, "--data exam: write NAME=FILE.jsonl"),
        ({"--task": "nothing.yaml"}, "--task nothing.yaml cannot be read"),
    ],
)
def test_the_command_says_what_is_missing_and_exits_with_two(
    saved_model, task_file, data, tmp_path, capsys, change, message
):
    arguments = {"--model": saved_model, "--task": task_file, "--data": f"exam={data}", "--out": tmp_path / "out"}
    given = [str(part) for pair in {**arguments, **change}.items() for part in pair]
    assert main(given) == ExitCode.INVALID_SPEC
    assert message in capsys.readouterr().err


def test_a_task_with_an_unknown_field_is_refused_by_name(saved_model, data, tmp_path, capsys):
    path = tmp_path / "bad.yaml"
    path.write_text("task: exam\ndataset: exam@1\noutput_type: multiple_choice\nmetric: acc\nrepeats: 2\n", "utf-8")
    arguments = ["--model", saved_model, "--task", path, "--data", f"exam={data}", "--out", tmp_path / "out"]
    assert main(list(map(str, arguments))) == ExitCode.INVALID_SPEC
    assert "repeats" in capsys.readouterr().err
