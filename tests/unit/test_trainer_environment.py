"""Every process of the trainer that the platform starts sees nothing of the platform's own settings."""

import re
from pathlib import Path

from chanote.runs.processes import trainer_environment

PLATFORM = Path(__file__).parents[2] / "platform/chanote"
BY_A_PERSON = PLATFORM / "chat/serving.py"
"""`chanote serve`: in the foreground, with what the person who gave the command has set."""


def test_settings_and_secrets_of_the_platform_stay_behind(monkeypatch):
    for name in ("CHANOTE_SECRET_KEY", "DJANGO_SETTINGS_MODULE", "PGPASSWORD", "REDIS_URL"):
        monkeypatch.setenv(name, "private")
    monkeypatch.setenv("JUDGE_KEY", "of a judge, which the trainer asks")
    environment = trainer_environment()
    assert "private" not in environment.values()
    assert environment["JUDGE_KEY"]
    assert environment["PYTHONPATH"]


def test_whoever_starts_the_trainer_uses_it():
    starts = [file for file in PLATFORM.rglob("*.py") if re.search(r"\*trainer_command\(\)", file.read_text("utf-8"))]
    starts.remove(BY_A_PERSON)
    assert len(starts) >= 4
    assert [file for file in starts if "trainer_environment()" not in file.read_text("utf-8")] == []
