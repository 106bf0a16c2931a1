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


def test_the_first_pages_weigh_at_most_150_kb(tmp_path):
    """Files as `collectstatic` leaves them, compressed and under hashed names; the page itself as it is."""
    assert manage(tmp_path, "collectstatic", "--no-input", "-v0").returncode == 0
    assert manage(tmp_path, "migrate", "-v0").returncode == 0
    assert manage(tmp_path, "shell", "-v0", "-c", PREPARE).returncode == 0
    told = manage(tmp_path, "shell", "-v0", "-c", WEIGH)
    assert told.returncode == 0, told.stderr
    weights = {address: int(size) for address, size in (line.split() for line in told.stdout.splitlines())}
    assert set(weights) == {"/login/", "/", "/p/law/"}
    assert all(10_000 < size <= 150_000 for size in weights.values()), weights


PREPARE = """
from chanote.accounts.services import change_own_password, create_project, create_user
user, _ = create_user("admin", is_superuser=True)
change_own_password(user, "correct horse battery")
create_project(slug="law", name="Law assistant", owner=user)
"""
WEIGH = """
import re
from django.test import Client
from chanote.accounts.models import User
client = Client(headers={"accept-encoding": "gzip", "host": "localhost"})
for address in ("/login/", "/", "/p/law/"):
    page = client.get(address)
    assert page.status_code == 200, page.status_code
    total = len(page.content)
    for file in set(re.findall(r'(?:src|href)="(/static/[^"#]+)', page.content.decode())):
        answer = client.get(file)
        assert answer.status_code == 200, file
        assert re.search(r"[.][0-9a-f]{12}[.]", file), file
        assert "immutable" in answer["Cache-Control"], file
        total += len(answer.content)
    print(address, total)
    client.force_login(User.objects.get(), backend="django.contrib.auth.backends.ModelBackend")
"""
