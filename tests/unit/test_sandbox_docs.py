"""docs/sandbox.md tells every route, status and option of the service, so that none is added in silence."""

import re
from pathlib import Path
from typing import get_args

import pytest
from law_rows import write_corpus

from toolsandbox.__main__ import _parse
from toolsandbox.code.provider import CodeProvider
from toolsandbox.code.settings import CodeSettings
from toolsandbox.contract import LawAnswer, Status
from toolsandbox.law.provider import LawTools
from toolsandbox.service import build_app
from toolsandbox.settings import ServiceSettings

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = (REPOSITORY / "docs/sandbox.md").read_text(encoding="utf-8")


def test_every_route_is_told(tmp_path: Path):
    providers = [LawTools(write_corpus(tmp_path / "laws.jsonl")), CodeProvider(CodeSettings())]
    tools = [tool.name for provider in providers for tool in provider.tools()]
    assert {"search_law", "run_python"} <= set(tools)
    paths = [route.path for route in build_app(ServiceSettings(), providers).app.routes]
    assert len(paths) > 10
    for path in paths:
        shown = re.sub(r":path\}", "}", path)
        for told in [shown.replace("{name}", tool) for tool in tools] if "{name}" in shown else [shown]:
            assert told in DOCS, f"{told} is not in docs/sandbox.md"


@pytest.mark.parametrize("word", [*get_args(Status), *get_args(LawAnswer)])
def test_every_status_is_told(word: str):
    assert f"`{word}`" in DOCS


def test_every_option_of_serve_is_told(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        _parse(["serve", "--help"])
    options = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert len(options) > 8
    for option in options:
        assert option in DOCS, f"{option} is not in docs/sandbox.md"


def test_links_lead_to_files_that_exist():
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", DOCS):
        assert (REPOSITORY / "docs" / target).exists(), target
