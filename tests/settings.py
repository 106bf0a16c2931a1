"""The platform's settings on a temporary home.

pytest-django reads the settings before any conftest.py, so the home must be chosen here.
"""

import os
import tempfile
from pathlib import Path

os.environ["CHANOTE_HOME"] = tempfile.mkdtemp(prefix="chanote-test-")
(Path(os.environ["CHANOTE_HOME"]) / "static").mkdir()
os.environ.setdefault("CHANOTE_LOG_JSON", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CHANOTE_SECRET_KEY", "only-for-tests-0123456789012345678901234567890123456789")

# Programs that tests start take the same settings, with the home that the environment now names.
os.environ["DJANGO_SETTINGS_MODULE"] = "chanote.settings"

from chanote.settings import *  # noqa: E402, F403
