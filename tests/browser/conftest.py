"""A real Chromium against the real product: web server, worker and trainer of one installation with the demo loaded."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
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
ROOTS = (REPOSITORY, REPOSITORY / "platform", REPOSITORY / "tests")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a browser where there is none; in CI such a test fails instead."""
    if os.environ.get("CI") == "true" or CHROMIUM:
        return
    skip = pytest.mark.skip(reason="no Chromium on the path; install it or name it in CHROMIUM")
    for item in items:
        if "browser" in item.keywords:
            item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """A failed test shows what the platform said last."""
    report = yield
    used = getattr(item, "funcargs", {})
    serving = used.get("platform") or getattr(used.get("lived_in"), "platform", None)
    if report.failed and serving is not None:
        report.sections.append(("Platform", "".join(serving.output[-60:])))
    return report


@pytest.fixture(scope="session")
def demo_home(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home with the demo loaded, to copy from, and its administrator's one-time password."""
    demo = Platform(tmp_path_factory.mktemp("demo-home"), prepared=prepared_home)
    loaded = demo.run("demo", "--load-only", "--port", str(demo.port))
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    return demo.home, loaded.stdout.split("one-time password ")[1].split()[0]


@contextmanager
def serve_demo(demo_home: tuple[Path, str], home: Path) -> Iterator[Platform]:
    """The demo on a free port, with tools of law and without a container engine."""
    limits = home / "code.toml"
    limits.write_text(f'socket = "{home / "no-engine.sock"}"\n')
    started = Platform(
        home,
        prepared=demo_home[0],
        CHANOTE_SANDBOX_CORPUS="demo/law-library@1",
        CHANOTE_SANDBOX_PORT="0",
        CHANOTE_SANDBOX_PATIENCE_MS="30000",
        CHANOTE_SANDBOX_CODE_SETTINGS=str(limits),
    )
    started.password = demo_home[1]
    started.start()
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def platform(demo_home: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Its administrator has never logged in. Of one module: none finds another's runs."""
    with serve_demo(demo_home, tmp_path_factory.mktemp("browser-home")) as started:
        yield started


@contextmanager
def stock(prepared: Path, home: Path, program: str, *arguments: str) -> Iterator[Platform]:
    """An installation without the demo, in which a program of the tests has put what is to be seen."""
    started = Platform(home, prepared=prepared).start()
    try:
        subprocess.run(
            [sys.executable, "-m", f"tests.{program}", *arguments, PASSWORD],
            cwd=REPOSITORY,
            env={**started.environment, "PYTHONPATH": os.pathsep.join(map(str, ROOTS))},
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


def ask_all(platform: Platform, *commands: tuple[str, ...]) -> list[dict]:
    """The answers of `chanote` commands in the demo's project, given one after the other by one process."""
    given = [[*command, "--json", "--project", "demo"] for command in commands]
    answer = subprocess.run(
        [sys.executable, "-m", "tests.command_batch"],
        input=json.dumps(given),
        cwd=REPOSITORY,
        env={**platform.environment, "PYTHONPATH": os.pathsep.join(map(str, ROOTS))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr + answer.stdout
    return [json.loads(one) for one in json.loads(answer.stdout)]


def send_tool_calls(platform: Platform, token: str) -> None:
    """Calls of every status in the log of run 1, as a trainer sends them."""
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


LIVED_IN: pytest.StashKey["LivedIn"] = pytest.StashKey()


@dataclass
class LivedIn:
    """An installation where something has happened: runs that finished, were cancelled, go on, and wait."""

    platform: Platform
    model: str
    """What the finished run made."""
    one_time_password: str
    """Of somebody who has not logged in yet."""
    agentic: str
    """Address of the rollouts of a finished run whose policy called tools."""
    sessions: dict[str, dict[str, Any]]
    """Cookies of people who are logged in."""
    trainer: psutil.Process
    """Of the run that goes on."""

    def hold(self) -> None:
        """Let the run pause in its step: pages are read for minutes, and it would take all processors."""
        self.trainer.suspend()

    def go_on(self) -> None:
        self.trainer.resume()

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


@pytest.fixture(scope="session")
def _kept() -> Iterator[ExitStack]:
    """What outlives a module; emptied at the latest when all tests are through."""
    with ExitStack() as kept:
        yield kept


@pytest.fixture(scope="module")
def lived_in(
    request: pytest.FixtureRequest,
    _kept: ExitStack,
    demo_home: tuple[Path, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LivedIn]:
    """One for all modules that use it, as it takes minutes to make; it ends with the last of them."""
    if LIVED_IN not in request.session.stash:
        platform = _kept.enter_context(serve_demo(demo_home, tmp_path_factory.mktemp("lived-in")))
        request.session.stash[LIVED_IN] = lived = live_in(platform)
        # Before the platform stops: it lets its run save.
        _kept.callback(lived.go_on)
    yield request.session.stash[LIVED_IN]
    users = [item for item in request.session.items if "lived_in" in item.fixturenames]
    if users[-1].getparent(pytest.Module) is request.node:
        del request.session.stash[LIVED_IN]
        _kept.close()


def live_in(platform: Platform) -> LivedIn:
    files = platform.home / "written"
    files.mkdir()
    texts = {"20": RECIPE.format(steps=20), "40": RECIPE.format(steps=40), "long": LONG_RECIPE}
    for name, text in texts.items():
        (files / f"{name}.yaml").write_text(text)
    questions = [{"question": f"How large is the fine by Act {n}?", "answer": f"{n} coins."} for n in range(32)]
    (files / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    *_, newcomer, member, viewer = ask_all(
        platform,
        *(("recipe", "save", "short", str(files / f"{n}.yaml"), "--message", f"{n} steps") for n in (20, 40)),
        ("run", "launch", "short", "--name", "short"),
        ("run", "launch", "short", "--name", "given up"),
        ("run", "cancel", "2"),
        (
            "dataset",
            "import",
            str(files / "asked.jsonl"),
            "--kind",
            "prompts",
            "--licence",
            "CC0-1.0",
            "--use",
            "train",
        ),
        ("recipe", "save", "long", str(files / "long.yaml")),
        ("user", "create", "newcomer", "--role", "viewer"),
        ("user", "create", "member", "--role", "admin"),
        ("user", "create", "viewer", "--role", "viewer"),
    )
    people = {name: one["one_time_password"] for name, one in (("member", member), ("viewer", viewer))}
    sessions = {name: enter(platform, name, password) for name, password in people.items()}
    ask(platform, "run", "wait", "1")
    ended = {str(folder) for folder in platform.home.glob("runs/*/*")}
    *_, token = ask_all(
        platform,
        ("run", "launch", "long", "--name", "goes on"),
        ("run", "launch", "short", "--name", "waits"),
        ("token", "create", "calls", "--scope", "runs:write", "--as", "member"),
    )
    send_tool_calls(platform, token["token"])
    agentic = add_agentic_run(platform)
    trainer = find_trainer(platform, ended)
    wait_for_rollouts(platform, sessions["member"], "/p/demo/runs/3/rollouts/?step=2")
    lived = LivedIn(platform, "short-1-step-40", newcomer["one_time_password"], agentic, sessions, trainer)
    lived.hold()
    return lived


def enter(platform: Platform, username: str, one_time_password: str) -> dict[str, Any]:
    """A browser's cookies after the first login and the new password that it asks for."""
    with httpx.Client(base_url=platform.url, follow_redirects=True, timeout=60, trust_env=False) as client:

        def send(path: str, **fields: str) -> httpx.Response:
            client.get(path)
            sent = client.post(path, data={**fields, "csrfmiddlewaretoken": client.cookies["csrftoken"]})
            assert sent.status_code == 200, sent.text
            return sent

        send("/login/", username=username, password=one_time_password)
        given = {"old_password": one_time_password, "new_password1": PASSWORD, "new_password2": PASSWORD}
        assert send("/password/", **given).url.path == "/"
        place = {"domain": "127.0.0.1", "path": "/", "expires": -1, "secure": False, "sameSite": "Lax"}
        cookies = [{"name": key, "value": value, "httpOnly": False, **place} for key, value in client.cookies.items()]
    return {"cookies": cookies, "origins": []}


def find_trainer(platform: Platform, ended: set[str]) -> psutil.Process:
    """Of the one attempt that is not in a folder of `ended`."""
    began = time.monotonic()
    while True:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                attempt = process.environ().get("CHANOTE_ATTEMPT_DIRECTORY", "")
                if attempt.startswith(str(platform.home)) and attempt not in ended:
                    return process
        assert time.monotonic() - began < 120, "".join(platform.output)
        time.sleep(0.1)


def wait_for_rollouts(platform: Platform, session: dict[str, Any], page: str) -> None:
    cookies = {one["name"]: one["value"] for one in session["cookies"]}
    began = time.monotonic()
    with httpx.Client(base_url=platform.url, cookies=cookies, timeout=60, trust_env=False) as client:
        while "data-walk" not in client.get(page).text:
            assert time.monotonic() - began < 240, "".join(platform.output)
            time.sleep(0.2)


def add_agentic_run(platform: Platform) -> str:
    """Address of the rollouts of a finished run whose policy called tools."""
    folder = platform.home / "agentic"
    folder.mkdir()
    script = Path(__file__).with_name("agentic_run.py")
    environment = {**platform.environment, "DJANGO_SETTINGS_MODULE": "chanote.settings"}
    made = subprocess.run(
        [sys.executable, str(script), "demo", str(folder)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert made.returncode == 0, made.stderr
    return f"/p/demo/runs/{int(made.stdout)}/rollouts/"


@pytest.fixture
def agentic(lived_in: LivedIn) -> str:
    return lived_in.agentic
