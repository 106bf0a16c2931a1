"""`chanote serve`: a model by its name, told to the web application while it is served, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from chanote.accounts.models import Membership, Project, Role, User
from chanote.audit.models import AuditEvent
from chanote.chat.models import ServedModel
from chanote.models.services import register_directory
from tests.model_serving import make_policy

pytestmark = [pytest.mark.trains]


def test_a_model_is_served_until_it_is_told_to_stop(installation, tmp_path: Path):
    person = User.objects.create(username="ada")
    project = Project.objects.create(slug="law", name="Law")
    Membership.objects.create(project=project, user=person, role=Role.RESEARCHER)
    make_policy().save(tmp_path / "weights")
    register_directory(project=project, slug="tiny-model", path=tmp_path / "weights", actor=person)
    home = tmp_path / "home"
    environment = {**os.environ, "CHANOTE_HOME": str(home)}
    command = [sys.executable, "-m", "chanote.cli", "serve", "tiny-model", "--engine", "torch", "--as", "ada", "--json"]
    serving = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert serving.stdout is not None
        told = json.loads(serving.stdout.readline())
        (program,) = psutil.Process(serving.pid).children()
        headers = {"Authorization": f"Bearer {told['api_key']}"}
        body = {"model": told["model"], "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}
        assert httpx.post(f"{told['base_url']}/chat/completions", json=body, trust_env=False).status_code == 401
        reply = httpx.post(
            f"{told['base_url']}/chat/completions", json=body, headers=headers, trust_env=False, timeout=60
        )
        assert reply.json()["usage"]["completion_tokens"] <= 3
        served = ServedModel.objects.alive().get()
        assert (served.name, served.engine, served.context) == ("tiny-model", "torch", 256)
        assert served.read_token() == told["api_key"]
        assert Path(served.token_file).stat().st_mode & 0o777 == 0o600
        serving.send_signal(signal.SIGINT)
        assert serving.wait(timeout=120) == 0
    finally:
        serving.kill()
        serving.wait()
        serving.stdout.close()
    psutil.wait_procs([program], timeout=60)
    assert not program.is_running()
    assert not ServedModel.objects.exists()
    assert list((home / "serving").iterdir()) == []
    assert list(AuditEvent.objects.order_by("pk").values_list("verb", flat=True))[-2:] == [
        "model.served",
        "model.withdrawn",
    ]
