"""What `make` says of a machine that lacks something, before it installs anything."""

import importlib.util
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[2] / "docker/check_machine.py"


@pytest.fixture
def check():
    spec = importlib.util.spec_from_file_location("check_machine", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_this_machine_will_do(check):
    assert check.find_obstacle() is None


@pytest.mark.parametrize("version", [(3, 10, 2), (3, 14, 0), (2, 7, 18)])
def test_a_wrong_python_is_named_with_the_way_out(check, monkeypatch, version):
    monkeypatch.setattr(check.sys, "version_info", version)
    said = check.find_obstacle()
    assert f"this is Python {version[0]}.{version[1]}" in said
    assert "make PYTHON=" in said


def test_a_full_disk_is_named_in_numbers(check, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 2**30))
    assert check.find_obstacle().startswith("1.0 GiB are free here and the installation needs 4 GiB")
