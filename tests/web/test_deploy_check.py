"""Production settings, as a fresh process reads them from the environment."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def manage(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CHANOTE_", "DJANGO_"))}
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "manage.py"), *words],
        env=clean | {"CHANOTE_HOME": str(home)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_production_settings_raise_no_warning(tmp_path):
    production = {"CHANOTE_HTTPS": "1", "CHANOTE_SECRET_KEY": secrets.token_urlsafe(64)}
    told = manage(tmp_path, "check", "--deploy", "--fail-level", "WARNING", **production)
    assert "no issues" in told.stdout, told.stderr
    assert told.returncode == 0


def test_a_key_is_made_once_and_is_readable_by_its_owner_only(tmp_path):
    for _ in range(2):
        assert manage(tmp_path, "check").returncode == 0
    key = tmp_path / "secret-key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_text()) > 60


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CHANOTE_HTTPS", "perhaps", "write 1 or 0"),
        ("CHANOTE_LEASE_SECONDS", "soon", "is not a whole number"),
        ("CHANOTE_DEVICE_SLOTS", "0", "is below 1"),
        ("CHANOTE_DATABASE_URL", "mysql://x", "postgresql://USER:PASSWORD@HOST/NAME"),
    ],
)
def test_a_setting_that_cannot_be_used_names_itself_and_the_way_out(tmp_path, name, value, said):
    told = manage(tmp_path, "check", **{name: value})
    assert told.returncode != 0
    assert name in told.stderr
    assert said in told.stderr


def test_no_migration_is_missing(tmp_path):
    told = manage(tmp_path, "makemigrations", "--check", "--dry-run")
    assert told.returncode == 0, told.stdout
