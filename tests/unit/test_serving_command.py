"""`python -m trainer serve` says in a sentence what cannot be served, before anything listens or is read for long."""

from pathlib import Path

import pytest

from tests.model_serving import make_policy
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
