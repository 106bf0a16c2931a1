"""What a person does on the first day, from the one-time password to a resumed run, in one browser."""

import json
import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PASSWORD, Visit, choose_password, log_in

pytestmark = [pytest.mark.browser, pytest.mark.trains, pytest.mark.timeout(600)]

RUN_MS = 180_000
"""A run of the tiny policy and its two evaluations takes about 20 s on two idle cores."""
STEPS = 300


@pytest.fixture(scope="module")
def statutes(tmp_path_factory) -> str:
    """A file as somebody would bring it: 60 sections of law, one JSON object a line."""
    path = tmp_path_factory.mktemp("files") / "harbour-code.jsonl"
    lines = [
        {"law_name": f"Harbour Act {law}", "section": str(hours), "text": f"A ship of class {law} waits {hours} hours."}
        for law in range(6)
        for hours in range(1, 11)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_from_the_first_login_to_a_resumed_run(visit: Visit, platform, statutes):
    page = visit.page
    enter_for_the_first_time(page, platform.password)
    import_file(page, statutes)
    write_recipe_in_the_form(page)

    page.get_by_role("button", name="Save and launch").click()
    expect(page).to_have_url(re.compile(r"/p/demo/runs/\d+/$"))
    watch_the_loss_move(page)
    read_the_verdict(page)

    launch_again(page)
    cancel(page)

    launch_again(page)
    stop_and_resume(page)
    assert visit.faults == []


def enter_for_the_first_time(page: Page, one_time_password: str) -> None:
    log_in(page, "admin", one_time_password)
    expect(page).to_have_url(re.compile("/password/"))
    page.goto("/p/demo/runs/")
    expect(page).to_have_url(re.compile("/password/"))
    choose_password(page, one_time_password, PASSWORD)
    page.goto("/p/demo/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Demo: a made-up nation's law")


def import_file(page: Page, path: str) -> None:
    page.goto("/p/demo/datasets/")
    page.get_by_role("link", name="Import a file").first.click()
    page.get_by_label("File").set_input_files(path)
    page.get_by_role("button", name="Upload and look at its columns").click()
    expect(page.get_by_role("table", name="First rows of the file")).to_contain_text("Harbour Act 0")
    page.get_by_label("Name", exact=True).fill("harbour-code")
    page.get_by_label("Title").fill("Harbour code")
    page.get_by_label("Licence").fill("CC0-1.0")
    page.get_by_label("Train models on the rows").check()
    page.get_by_role("button", name="Import all rows").click()
    expect(page).to_have_url(re.compile("/datasets/harbour-code/"))
    expect(page.locator("main")).to_contain_text("A ship of class 0 waits 1 hours.")


def write_recipe_in_the_form(page: Page) -> None:
    """Score the base, train it on the imported file, score it again. The text beside the form is never touched."""
    page.goto("/p/demo/recipes/-/new/")
    page.get_by_label("Name", exact=True).fill("read-harbour-code")
    page.get_by_label("Title").fill("Read the harbour code")
    page.locator("#f-base").select_option("demo-base")
    add_stage(page, "evaluate", 0)
    add_stage(page, "cpt", 1)
    page.locator("#f-stages-1-data-0-dataset").select_option("harbour-code")
    page.locator("#f-stages-1-steps").fill(str(STEPS))
    page.locator("#f-stages-1-sequence_length").fill("64")
    add_stage(page, "evaluate", 2)
    for stage in (0, 2):
        page.locator(f"#f-stages-{stage}-tasks").get_by_label("read-only-choices").check()
        page.locator(f"#f-stages-{stage}-board").fill("new-code")
    written = re.compile(rf"dataset: harbour-code[\s\S]*steps: {STEPS}\b[\s\S]*board: new-code")
    expect(page.locator("#yaml")).to_have_value(written)


def add_stage(page: Page, kind: str, position: int) -> None:
    page.locator(f"#add-{kind}").click()
    expect(page.locator(f"#f-stages-{position}")).to_be_visible()


def watch_the_loss_move(page: Page) -> None:
    """The number on the page changes, the page itself stays."""
    page.evaluate("window.neverReloaded = true")
    loss = page.locator("[data-live=loss]").first
    expect(loss).to_have_text(re.compile(r"\d"), timeout=RUN_MS)
    first = float(loss.inner_text())
    expect(loss).not_to_have_text(f"{first:.4f}")
    expect(page.locator("main h1")).to_contain_text("Finished", timeout=RUN_MS)
    assert float(loss.inner_text()) < first
    assert page.evaluate("window.neverReloaded") is True


def read_the_verdict(page: Page) -> None:
    page.get_by_role("region", name="Evaluations").get_by_role("link", name="new-code").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The new code of law")
    rows = page.get_by_role("table", name="Board").locator("tbody tr")
    expect(rows.filter(has=page.locator("a.name", has_text="demo-base"))).to_have_count(1)
    trained = rows.filter(has=page.locator("a.name", has_text="read-harbour-code"))
    expect(trained).to_have_count(1)
    expect(page.locator(".verdict strong").first).to_have_text(re.compile(r"\w+ .*\."))
    trained.locator("a.delta").click()
    expect(page.locator("main")).to_contain_text(re.compile("better|worse|equivalent|not decided|no difference", re.I))


def launch_again(page: Page) -> None:
    page.goto("/p/demo/recipes/read-harbour-code/")
    page.get_by_role("button", name="Launch").first.click()
    expect(page).to_have_url(re.compile(r"/p/demo/runs/\d+/$"))


def cancel(page: Page) -> None:
    expect(page.locator("main h1")).to_contain_text("Running", timeout=RUN_MS)
    page.get_by_role("link", name="Cancel").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("one of these is enough")
    dialog.get_by_role("button", name="Cancel the run").click()
    expect(page.locator("main h1")).to_contain_text("Cancelled", timeout=RUN_MS)
    expect(page.locator("main")).to_contain_text("one of these is enough")


def stop_and_resume(page: Page) -> None:
    expect(page.locator("[data-live=loss]").first).to_have_text(re.compile(r"\d"), timeout=RUN_MS)
    page.get_by_role("button", name="Stop and save").click()
    expect(page.locator("main h1")).to_contain_text("Stopped", timeout=RUN_MS)
    step = int(page.locator("[data-live=step]").first.inner_text().replace(",", ""))
    assert 0 < step < STEPS
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#run-head")).to_contain_text(f"resumed from step {step}", timeout=RUN_MS)
    expect(page.locator("main h1")).to_contain_text("Finished", timeout=RUN_MS)
    expect(page.locator("[data-live=step]").first).to_have_text(str(STEPS))
