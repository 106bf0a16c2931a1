"""A home as `chanote up` leaves it, but without a person: tests copy it instead of migrating again, which costs 8 s.

Run as `python -m tests.prepared_home` with CHANOTE_HOME set to an empty folder.
"""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DATABASE = "chanote.sqlite3"


def prepare_home(home: Path) -> Path:
    """Fill an empty folder with a database of every table and no row, and with the collected static files."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CHANOTE_", "DJANGO_"))}
    roots = (REPOSITORY, REPOSITORY / "platform", REPOSITORY / "tests")
    subprocess.run(
        [sys.executable, "-m", "tests.prepared_home"],
        cwd=REPOSITORY,
        env={**kept, "CHANOTE_HOME": str(home), "PYTHONPATH": os.pathsep.join(map(str, roots))},
        check=True,
        timeout=300,
    )
    database = sqlite3.connect(home / DATABASE)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return home


def fill() -> None:
    """What `chanote.commands.up.prepare` does before it introduces the administrator."""
    import django
    from django.core.management import call_command

    os.environ["DJANGO_SETTINGS_MODULE"] = "chanote.settings"
    django.setup()
    call_command("migrate", interactive=False, verbosity=0)
    call_command("createcachetable", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0, clear=False)


if __name__ == "__main__":
    fill()
