"""A real Chromium against the real product: web server, worker and trainer of one installation with the demo loaded."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from serving import Platform

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or ""
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000
"""Two busy cores do training and pages at once."""
expect.set_options(timeout=PATIENCE_MS)
STATUSES = (
    "ok", "error", "timeout", "oom", "output_limit", "disk_limit", "pids_limit", "killed", "rejected", "infra_error",
)  # fmt: skip
PASSWORD = "correct horse battery"
REPOSITORY = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a browser where there is none; in CI such a test fails instead."""
    if os.environ.get("CI") == "true" or CHROMIUM:
        return
    skip = pytest.mark.skip(reason="no Chromium on the path; install it or name it in CHROMIUM")
    for item in items:
        if "browser" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Serving on a free port; its administrator has never logged in. Of one module: none finds another's runs."""
    home = tmp_path_factory.mktemp("browser-home")
    limits = home / "code.toml"
    limits.write_text(f'socket = "{home / "no-engine.sock"}"\n')
    started = Platform(
        home,
        command="demo",
        CHANOTE_SANDBOX_CORPUS="demo/law-library@1",
        CHANOTE_SANDBOX_PORT="0",
        CHANOTE_SANDBOX_PATIENCE_MS="30000",
        CHANOTE_SANDBOX_CODE_SETTINGS=str(limits),
    )
    loaded = started.run("demo", "--load-only", "--port", str(started.port))
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    started.command = "up"
    started.password = loaded.stdout.split("one-time password ")[1].split()[0]
    started.start()
    yield started
    started.stop()


@contextmanager
def stock(home: Path, program: str, *arguments: str) -> Iterator[Platform]:
    """An installation without the demo, in which a program of the tests has put what is to be seen."""
    started = Platform(home).start()
    try:
        roots = (REPOSITORY, REPOSITORY / "platform", REPOSITORY / "tests")
        subprocess.run(
            [sys.executable, "-m", f"tests.{program}", *arguments, PASSWORD],
            cwd=REPOSITORY,
            env={**started.environment, "PYTHONPATH": os.pathsep.join(map(str, roots))},
            check=True,
        )
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Of one module: while Playwright's own event loop runs, no other test of this process may use one."""
    assert CHROMIUM, "Chromium is not installed"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page and what went wrong on it: errors of the console, of scripts, and of the content policy."""

    page: Page
    faults: list[str] = field(default_factory=list)

    @classmethod
    def watch(cls, page: Page) -> "Visit":
        visit = cls(page)
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", visit._note)
        page.on("pageerror", lambda error: visit.faults.append(f"{page.url}: {error}"))
        page.on("requestfailed", visit._note_request)
        return visit

    def _note(self, message) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{self.page.url}: {message.text} ({message.location.get('url', '')})")

    def _note_request(self, request) -> None:
        # Leaving a page ends its stream and what it was still asking for.
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"{self.page.url}: {request.url} {request.failure}")


@pytest.fixture
def visit(chromium: Browser, platform: Platform) -> Iterator[Visit]:
    """A person who has not logged in."""
    context = chromium.new_context(base_url=platform.url, viewport={"width": 1280, "height": 800})
    yield Visit.watch(context.new_page())
    context.close()


@pytest.fixture
def member(chromium: Browser, lived_in: "LivedIn") -> Iterator[Visit]:
    """An admin of the demo's project, logged in."""
    with lived_in.browse(chromium, "member") as visit:
        yield visit


@pytest.fixture(scope="module")
def cookies_of_mali(platform: Platform, chromium: Browser) -> Any:
    """Of a researcher of a stocked installation, who logs in once."""
    context = chromium.new_context(base_url=platform.url)
    page = Visit.watch(context.new_page()).page
    log_in(page, "mali", PASSWORD)
    page.wait_for_url("**/")
    cookies = context.storage_state()
    context.close()
    return cookies


@pytest.fixture
def mali(platform: Platform, chromium: Browser, cookies_of_mali: Any) -> Iterator[Visit]:
    """A researcher of a stocked installation, logged in."""
    context = chromium.new_context(
        base_url=platform.url, viewport={"width": 1280, "height": 800}, storage_state=cookies_of_mali
    )
    yield Visit.watch(context.new_page())
    context.close()


def log_in(page: Page, username: str, password: str) -> None:
    page.goto("/login/")
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def choose_password(page: Page, old: str, new: str) -> None:
    page.locator("#id_old_password").fill(old)
    page.locator("#id_new_password1").fill(new)
    page.locator("#id_new_password2").fill(new)
    page.get_by_role("button", name="Change password").click()


def ask(platform: Platform, *arguments: str) -> dict:
    """The answer of a `chanote` command in the demo's project."""
    answer = platform.run(*arguments, "--json", "--project", "demo")
    assert answer.returncode == 0, answer.stderr + answer.stdout
    return json.loads(answer.stdout)


def send_tool_calls(platform: Platform) -> None:
    """Calls of every status in the log of run 1, as a trainer sends them."""
    token = ask(platform, "token", "create", "calls", "--scope", "runs:write", "--as", "member")["token"]
    calls = [
        {
            "call": f"c{number}",
            "step": 1 + number // 20,
            "rollout": f"{number // 4}.0",
            "turn": number % 4,
            "tool": ("search_law", "read_law", "run_python")[number % 3],
            "arguments": json.dumps({"query": "ค่าปรับตามพระราชบัญญัติ เลรา", "top_k": 3}, ensure_ascii=False),
            "status": STATUSES[number % len(STATUSES)],
            "wall_ms": 1.5 * number,
            "output": "Under the Lera Act, the fine is 60 coins. " * (number % 9),
        }
        for number in range(60)
    ]
    answer = httpx.post(
        f"{platform.url}/api/v1/projects/demo/runs/1/tool-calls/",
        json={"calls": calls},
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text


RECIPE = """\
base: demo-base
description: >
  Reads the new code for {steps} steps, which is far too short to learn it, and long enough to see every page of a run
  with real content on it.
stages:
  - kind: evaluate
    name: before
    board: new-code
    tasks: [read-only-choices]
  - kind: cpt
    name: read
    data: [{{dataset: new-code}}, {{dataset: base-sample}}]
    held_out: [{{dataset: read-only-reworded}}]
    steps: {steps}
    batch_size: 4
    sequence_length: 64
    measure_every: 20
  - kind: evaluate
    name: after
    board: new-code
    tasks: [read-only-choices]
"""


LONG_RECIPE = """\
base: demo-base
description: Answers questions and reads the new code between them, for far longer than anybody waits.
stages:
  - kind: ink_grpo
    name: ask
    data: [{dataset: asked}]
    corpus: [{dataset: new-code}]
    steps: 100_000
    batch_size: 8
    group_size: 4
    sequence_length: 96
    knowledge_batch_size: 1
    sampling: {max_new_tokens: 24}
    rewards:
      - {kind: exact, weight: 0.9}
      - {kind: overlong, buffer: 12, weight: 0.1}
"""


@dataclass
class LivedIn:
    """An installation where something has happened: runs that finished, were cancelled, go on, and wait."""

    platform: Platform
    model: str
    """What the finished run made."""
    one_time_password: str
    """Of somebody who has not logged in yet."""
    sessions: dict[str, dict] = field(default_factory=dict)
    """Cookies of people who are logged in."""

    @contextmanager
    def browse(self, chromium: Browser, username: str, **options) -> Iterator[Visit]:
        """A page of somebody who is logged in."""
        context = chromium.new_context(
            base_url=self.platform.url,
            viewport={"width": 1280, "height": 800},
            storage_state=self.sessions[username],
            **options,
        )
        try:
            yield Visit.watch(context.new_page())
        finally:
            context.close()


@pytest.fixture(scope="module")
def lived_in(platform: Platform, chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> LivedIn:
    recipe = tmp_path_factory.mktemp("recipes") / "short.yaml"
    for steps in (20, 40):
        recipe.write_text(RECIPE.format(steps=steps))
        ask(platform, "recipe", "save", "short", str(recipe), "--message", f"{steps} steps")
    ask(platform, "run", "launch", "short", "--name", "short")
    ask(platform, "run", "launch", "short", "--name", "given up")
    ask(platform, "run", "cancel", "2")
    newcomer = ask(platform, "user", "create", "newcomer", "--role", "viewer")
    people = {
        name: ask(platform, "user", "create", name, "--role", role)["one_time_password"]
        for name, role in (("member", "admin"), ("viewer", "viewer"))
    }
    ask(platform, "run", "wait", "1")
    asked = recipe.with_name("asked.jsonl")
    questions = [{"question": f"How large is the fine by Act {n}?", "answer": f"{n} coins."} for n in range(32)]
    asked.write_text("".join(json.dumps(row) + "\n" for row in questions))
    ask(platform, "dataset", "import", str(asked), "--kind", "prompts", "--licence", "CC0-1.0", "--use", "train")
    recipe.write_text(LONG_RECIPE)
    ask(platform, "recipe", "save", "long", str(recipe))
    ask(platform, "run", "launch", "long", "--name", "goes on")
    ask(platform, "run", "launch", "short", "--name", "waits")
    lived = LivedIn(platform, "short-1-step-40", newcomer["one_time_password"])
    for name, password in people.items():
        context = chromium.new_context(base_url=platform.url)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        log_in(page, name, password)
        choose_password(page, password, PASSWORD)
        page.wait_for_url("**/")
        lived.sessions[name] = context.storage_state()
        context.close()
    send_tool_calls(platform)
    return lived


@pytest.fixture(scope="module")
def agentic(lived_in: LivedIn) -> str:
    """Address of the rollouts of a finished run whose policy called tools."""
    folder = lived_in.platform.home / "agentic"
    folder.mkdir()
    script = Path(__file__).with_name("agentic_run.py")
    environment = {**lived_in.platform.environment, "DJANGO_SETTINGS_MODULE": "chanote.settings"}
    made = subprocess.run(
        [sys.executable, str(script), "demo", str(folder)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert made.returncode == 0, made.stderr
    return f"/p/demo/runs/{int(made.stdout)}/rollouts/"
