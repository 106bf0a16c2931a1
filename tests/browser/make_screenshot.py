"""The picture of the README: a run of the demo while it trains. `make screenshot` writes docs/images/run.png."""

import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from playwright.sync_api import Page, expect, sync_playwright  # noqa: E402
from serving import Platform  # noqa: E402

from tests.browser.conftest import ARGUMENTS, CHROMIUM, PASSWORD, choose_password, log_in  # noqa: E402

TARGET = REPOSITORY / "docs/images/run.png"
LARGEST = 200_000
"""Bytes."""
STEP = 480
"""Far into the first stage that trains; the run has 800."""


def main() -> int:
    if not CHROMIUM:
        print("Chromium is needed and was not found; install it or name it in CHROMIUM.", file=sys.stderr)
        return 5
    with tempfile.TemporaryDirectory(prefix="chanote-screenshot-") as folder:
        platform = Platform(Path(folder), command="demo").start()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
                page = browser.new_page(base_url=platform.url, viewport={"width": 1280, "height": 1000})
                picture = take(page, platform.password)
                browser.close()
        finally:
            platform.stop()
    if len(picture) > LARGEST:
        print(f"The picture has {len(picture):,} bytes; {LARGEST:,} are allowed.", file=sys.stderr)
        return 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(picture)
    print(f"{TARGET.relative_to(REPOSITORY)}: {len(picture) / 1000:.0f} kB")
    return 0


def take(page: Page, one_time_password: str) -> bytes:
    """The run's page once it has trained for a while."""
    log_in(page, "admin", one_time_password)
    choose_password(page, one_time_password, PASSWORD)
    page.wait_for_url("**/")
    page.goto("/p/demo/runs/1/")
    reached = "step => Number(document.querySelector('[data-live=step]').textContent.replaceAll(',', '')) >= step"
    page.wait_for_function(reached, arg=STEP, timeout=600_000)
    expect(page.locator("main h1")).to_contain_text("Running")
    expect(page.locator("figure .u-over").first).to_be_attached()
    return page.screenshot(animations="disabled")


if __name__ == "__main__":
    sys.exit(main())
