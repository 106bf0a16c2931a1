"""The built wheel works in an empty environment, outside the repository."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from serving import Platform

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(900)
def test_the_wheel_serves_from_an_empty_environment(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path / "dist"), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "empty"], check=True, timeout=120)
    python = str(tmp_path / "empty/bin/python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{wheel}[platform]"]
    subprocess.run(install, check=True, capture_output=True, timeout=600)
    home = tmp_path / "home"
    home.mkdir()
    platform = Platform(home, python=python)
    try:
        platform.start()
        assert platform.password
        page = httpx.get(f"{platform.url}/login/", timeout=20)
        assert page.status_code == 200
        style = page.text.partition('href="/static/components')[2].partition('"')[0]
        assert httpx.get(f"{platform.url}/static/components{style}", timeout=20).status_code == 200
        assert httpx.get(f"{platform.url}/readyz", timeout=20).status_code == 200
    finally:
        assert platform.stop() == 0
