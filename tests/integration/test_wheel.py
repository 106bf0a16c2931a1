"""The built wheel works in an empty environment, outside the repository."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from law_rows import write_corpus
from sandbox_serving import serve_tools
from serving import Platform

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (built,) = folder.glob("*.whl")
    return built


def install(wheel: Path, extra: str, place: Path) -> str:
    """Install the wheel with one extra into an empty environment; answers its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True, timeout=120)
    python = str(place / "bin/python")
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, f"{wheel}[{extra}]"], check=True, capture_output=True, timeout=600)
    return python


@pytest.mark.timeout(900)
def test_the_wheel_serves_from_an_empty_environment(wheel, tmp_path):
    python = install(wheel, "platform", tmp_path / "empty")
    home = tmp_path / "home"
    home.mkdir()
    platform = Platform(home, python=python)
    try:
        platform.start()
        assert platform.password
        page = httpx.get(f"{platform.url}/login/", timeout=60)
        assert page.status_code == 200
        style = page.text.partition('href="/static/components')[2].partition('"')[0]
        assert httpx.get(f"{platform.url}/static/components{style}", timeout=60).status_code == 200
        assert httpx.get(f"{platform.url}/readyz", timeout=60).status_code == 200
    finally:
        assert platform.stop() == 0


@pytest.mark.timeout(900)
def test_the_sandbox_alone_serves_laws_without_django_and_torch(wheel, tmp_path):
    python = install(wheel, "sandbox", tmp_path / "empty")
    program = (
        "import importlib.util, toolsandbox;"
        "print([name for name in ('django', 'torch', 'transformers') if importlib.util.find_spec(name)],"
        " toolsandbox.__file__)"
    )
    answer = subprocess.run([python, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    absent, place = answer.stdout.split(maxsplit=1)
    assert absent == "[]"
    assert Path(place.strip()).is_relative_to(tmp_path), "the repository was imported instead of the wheel"
    corpus = write_corpus(tmp_path / "laws.jsonl")
    words = ["--no-code", "--corpus", corpus, "--index-folder", tmp_path / "indexes"]
    with serve_tools(tmp_path, *words, python=python, place=tmp_path) as address:
        asked = {"arguments": {"query": "มาตรา 65 ทวิ แห่งประมวลรัษฎากร"}}
        reply = httpx.post(f"{address}/v1/tools/search_law", json=asked, trust_env=False, timeout=60)
        assert reply.json()["result"]["hits"][0]["section_num"] == "65 ทวิ"
