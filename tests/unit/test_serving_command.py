"""`python -m trainer serve` says in a sentence what cannot be served, before anything listens or is read for long."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.model_serving import REPOSITORY, make_policy
from trainer.serving.command import main


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("step-000004") / "model"
    make_policy().save(folder)
    return folder


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing-here"], "holds no config.json"),
        (["MODEL", "--host", "192.0.2.1"], "name a --token-file"),
        (["MODEL", "--token-file", "nothing"], "--token-file: No such file"),
        (["MODEL", "--token-file", "SHORT"], "each of 8 or more"),
        (["MODEL", "--engine", "vllm"], "vLLM is not installed here"),
        (["MODEL", "--engine", "torch", "--port", "99999999"], "choose another --port"),
        (["MODEL", "--engine", "torch", "--port", "0", "--context", "99999"], "was made for 256 tokens"),
        (["MODEL", "--engine", "torch", "--port", "0", "--device", "cuda"], "shows no GPU"),
    ],
)
def test_what_cannot_be_served_is_said(
    checkpoint: Path, tmp_path: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "short").write_text("# nothing\nname:abc\n")
    named = {"MODEL": str(checkpoint), "SHORT": str(tmp_path / "short")}
    assert main([named.get(word, word) for word in words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_server_ends_when_its_input_closes():
    """So that it never outlives who started it, however that ended; and it ends without aborting."""
    program = (
        "import threading; from trainer.serving.command import end_with_input;"
        "over = threading.Event(); end_with_input(over.set); print('waits', flush=True); over.wait()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as waiting:
        assert waiting.stdin is not None
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == b"waits\n"
        assert waiting.poll() is None
        waiting.stdin.close()
        assert waiting.wait(timeout=120) == 0


def test_a_server_that_stops_for_another_reason_is_not_held_up_by_its_input():
    program = "from trainer.serving.command import end_with_input; end_with_input(lambda: None)"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE) as ending:
        assert ending.wait(timeout=120) == 0
