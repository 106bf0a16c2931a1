"""Figures of the trainer beside TRL's on the same model and rows: CPU-seconds of one thread, step against step.

Each pair of programs is kept alive and takes its steps in turn, so that whatever else the machine does falls on both.
A ratio is that of the medians; `_low` and `_high` are the smallest and largest ratio of two neighbouring steps.
The peer lives in an environment of its own (build/peer-venv, made when missing; PEER_PYTHON names another); where it
cannot be had, its ratios are left out.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
PEER_HOME = REPOSITORY / "build" / "peer-venv"
PEER_PACKAGES = ["trl==1.16.0", "transformers==5.23.0", "accelerate==1.15.0", "peft==0.21.2", "datasets==5.2.0"]
MARK = "@@ "
WARM_STEPS, STEPS, STARTS = 3, 9, 3
LOSS_TOKENS = 4096

sys.path.insert(0, str(REPOSITORY))
sys.path.insert(0, str(HERE))

SFT = {"kind": "sft", "loss_on": "all", "batch_size": 4, "sequence_length": 512, "data": "chat@1"}
GRPO = {
    "kind": "grpo",
    "batch_size": 16,
    "group_size": 8,
    "sequence_length": 256,
    "sampling": {"max_new_tokens": 64},
    "rewards": [{"kind": "regex_format", "pattern": "a", "match": "search"}],
    "data": "prompts@1",
}
OPD = {
    "kind": "opd",
    "teacher": "teacher",
    "on_policy": 1.0,
    "beta": 1.0,
    "batch_size": 16,
    "sequence_length": 256,
    "sampling": {"max_new_tokens": 64, "top_p": 1.0},
    "data": "prompts@1",
}
PAIRS = {"sft": SFT, "grpo": GRPO, "opd": OPD}


def measure() -> dict[str, float]:
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="chanote-bench-") as scratch:
        work = Path(scratch)
        from trainer_inputs import write_inputs

        write_inputs(work / "inputs")
        figures |= measure_start(work)
        peer = find_peer()
        for name, stage in PAIRS.items():
            if peer is not None:
                figures |= attempt(name, lambda name=name, stage=stage: compare(name, stage, peer, work))
        figures |= attempt("sampler", measure_sampler)
        figures |= attempt("loss memory", measure_loss_memory)
    return figures


def attempt(title: str, measure_part: Callable[[], dict[str, float]]) -> dict[str, float]:
    """A part that cannot be measured leaves its figures out and says why; the others are still worth having."""
    try:
        return measure_part()
    except (ImportError, subprocess.SubprocessError, EndedEarly) as error:
        print(f"trainer: {title} not measured: {error}", file=sys.stderr)
        return {}


class EndedEarly(Exception):
    pass


class Program:
    """A program that waits at a `step_gate.Gate` after each of its steps."""

    def __init__(self, command: list[str], **environment: str) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the program
        self.process = subprocess.Popen(
            command,
            cwd=HERE,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def finish_step(self) -> dict[str, float]:
        """Wait for the step that was allowed; the first is allowed by starting the program."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(MARK):
                facts: dict[str, float] = json.loads(line.removeprefix(MARK))
                return facts
        self.errors.seek(0)
        said = self.errors.read().strip().splitlines()
        raise EndedEarly(f"{' '.join(self.process.args[1:3])} ended early: {said[-1] if said else 'without a word'}")

    def take_step(self) -> dict[str, float]:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, and finish_step says how
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        return self.finish_step()

    def close(self) -> None:
        """A gate that is closed ends its program; one that does not end is killed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()


@contextmanager
def running(command: list[str], **environment: str) -> Iterator[Program]:
    program = Program(command, **environment)
    try:
        yield program
    finally:
        program.close()


def our_command(directory: Path) -> list[str]:
    return [sys.executable, "our_trainer.py", str(directory)]


def write_our_run(directory: Path, inputs: Path, stage: dict[str, Any]) -> Path:
    """An attempt directory as the platform would make it."""
    from trainer.contract.hashing import hash_directory, hash_file

    def freeze(name: str) -> dict[str, str]:
        return {"path": str(inputs / name), "sha256": hash_directory(inputs / name)}

    kind = stage["data"].split("@")[0]
    rows = inputs / f"{kind}.jsonl"
    spec = {
        "run": "bench",
        "device": "cpu",
        "recipe": {
            "base": "policy",
            "seed": 0,
            "stages": [{"steps": 1000, **stage, "data": [{"dataset": stage["data"]}]}],
        },
        "base": freeze("policy"),
        "models": {"teacher": freeze("teacher")} if "teacher" in stage else {},
        "datasets": {
            stage["data"]: {
                "kind": kind,
                "path": str(rows),
                "sha256": hash_file(rows),
                "rows": len(rows.read_text().splitlines()),
            }
        },
    }
    directory.mkdir(parents=True)
    (directory / "run.json").write_text(json.dumps(spec))
    return directory


def measure_start(work: Path) -> dict[str, float]:
    """CPU-seconds from the start of the process to the end of its first optimiser step."""
    seconds = []
    for number in range(STARTS):
        directory = write_our_run(work / f"start-{number}", work / "inputs", SFT)
        with running(our_command(directory), PYTHONPATH=str(REPOSITORY)) as ours:
            seconds.append(ours.finish_step()["cpu"])
    return {
        "trainer.first_step_cpu_s": statistics.median(seconds),
        "trainer.first_step_cpu_s_low": min(seconds),
        "trainer.first_step_cpu_s_high": max(seconds),
    }


def compare(name: str, stage: dict[str, Any], peer: Path, work: Path) -> dict[str, float]:
    """Warm both up, then measure step by step in turn."""
    directory = write_our_run(work / name, work / "inputs", stage)
    theirs_command = [str(peer), "peer_trainer.py", name, str(work / "inputs"), str(work / f"peer-{name}")]
    with (
        running(theirs_command) as theirs,
        running(our_command(directory), PYTHONPATH=str(REPOSITORY)) as ours,
    ):
        both: list[tuple[dict[str, float], dict[str, float]]] = [(theirs.finish_step(), ours.finish_step())]
        both += [(theirs.take_step(), ours.take_step()) for _ in range(WARM_STEPS + STEPS - 1)]
    pairs = both[WARM_STEPS:]
    if name != "sft":
        return ratio(
            f"trainer.{name}_cpu_ratio", [their["cpu"] for their, _ in pairs], [our["cpu"] for _, our in pairs]
        )
    rates = [[facts["tokens"] / facts["cpu"] for facts in side] for side in zip(*pairs, strict=True)]
    memory = [max(facts["peak_gb"] for facts in side) for side in zip(*both, strict=True)]
    return {
        **ratio("trainer.sft_tokens_ratio", *rates),
        "trainer.sft_tokens_per_cpu_s": statistics.median(rates[1]),
        "trainer.sft_memory_ratio": memory[1] / memory[0],
    }


def ratio(key: str, theirs: list[float], ours: list[float]) -> dict[str, float]:
    each = [our / their for their, our in zip(theirs, ours, strict=True)]
    return {
        key: statistics.median(ours) / statistics.median(theirs),
        f"{key}_low": min(each),
        f"{key}_high": max(each),
    }


def measure_sampler() -> dict[str, float]:
    import sampler_bench

    figures: dict[str, float] = sampler_bench.measure_sampler()
    return figures


def measure_loss_memory() -> dict[str, float]:
    """Largest of what the losses add over hidden states and gradients, each in a process of its own."""
    extra = {}
    for name in ("logprobs", "divergence"):
        said = subprocess.run(
            [sys.executable, "loss_memory.py", name, str(LOSS_TOKENS)],
            cwd=HERE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=True,
        )
        extra[f"trainer.loss_extra_gb_{name}"] = float(said.stdout)
    return {"trainer.loss_extra_gb": max(extra.values()), **extra}


def find_peer() -> Path | None:
    """The peer's Python, installing the peer first where it is missing; None when it cannot be installed."""
    if named := os.environ.get("PEER_PYTHON"):
        return Path(named)
    python = PEER_HOME / "bin" / "python"
    ready = PEER_HOME / ".ready"
    if ready.is_file():
        return python
    print("trainer: installing the peer, once (some minutes) ...", file=sys.stderr)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([sys.executable, "-m", "venv", str(PEER_HOME)], check=True)
        # torch alone and first: the others would otherwise bring a build with gigabytes of GPU libraries.
        subprocess.run([*pip, os.environ.get("TORCH", "torch==2.13.0")], check=True)
        subprocess.run([*pip, *PEER_PACKAGES], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"trainer: the peer cannot be installed, its ratios are left out: {error}", file=sys.stderr)
        return None
    ready.touch()
    return python


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
