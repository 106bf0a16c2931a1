"""From the review inbox to a dataset version by keyboard: read why a rollout was picked, label it, see it leave."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from serving import Platform

from tests.browser.conftest import Visit, stock
from tests.browser.test_accessibility import inspect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
INBOX = "/p/law/review/"


@pytest.fixture(scope="module")
def platform(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Without a demo: one project, one finished run."""
    home = tmp_path_factory.mktemp("review-home")
    with stock(prepared_home, home, "review_home", str(home / "attempt")) as started:
        yield started


@pytest.fixture
def page(mali: Visit) -> Iterator[Page]:
    yield mali.page
    assert not mali.faults, mali.faults


def test_a_rollout_is_read_labelled_by_keyboard_and_exported(page: Page):
    page.goto(INBOX)
    expect(page.locator(".inbox-picks > li")).to_have_count(2)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**open=0.0*")

    bar = page.locator("#label-bar")
    expect(bar).to_contain_text("Why the inbox picked it")
    expect(bar).to_contain_text("Judge gives 1.00, but exact gives 0.00.")
    expect(page.locator("#opened")).to_have_text("Rollout 0.0")
    page.keyboard.press("m")
    expect(page.locator("#label-note")).to_be_focused()
    # Digits of a note label nothing.
    page.keyboard.type("Cites section 4 of 5.")
    page.keyboard.press("Escape")
    expect(page.locator("#label-note")).not_to_be_focused()
    page.keyboard.press("3")
    expect(bar.get_by_role("status")).to_have_text("Saved: reward hacked.")
    expect(bar.get_by_role("button", name="reward hacked")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#label-note")).to_have_value("Cites section 4 of 5.")

    page.goto(INBOX)
    expect(page.locator(".inbox-picks > li")).to_have_count(1)
    expect(page.locator(".inbox-picks")).to_contain_text("Called search_law 4 times with the same arguments.")
    page.get_by_role("link", name="rollout 1.0").click()
    page.wait_for_url("**open=1.0*")
    page.keyboard.press("1")
    expect(bar.get_by_role("status")).to_have_text("Saved: good.")
    page.get_by_role("link", name="Back to the inbox").click()
    expect(page.locator("main")).to_contain_text("Every pick is labelled.")

    page.goto(f"{INBOX}labels/")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_label("reward hacked").check()
    page.get_by_role("button", name="Make the version").click()
    page.wait_for_url("**/p/law/datasets/rollout-labels/")
    expect(page.locator("main")).to_contain_text("rollout-labels@1 holds 2 rows of 2 labels.")
    expect(page.locator("main")).to_contain_text("Question 0?")


def test_a_label_that_could_not_be_saved_keeps_what_was_typed(page: Page, mali: Visit):
    page.goto("/p/law/runs/1/rollouts/?step=1&open=2.0")
    page.locator("#label-note").fill("x" * 2001)
    bar = page.locator("#label-bar")
    bar.get_by_role("button", name="wrong").click()
    expect(bar.get_by_role("alert")).to_contain_text("2,000 fit. Shorten it.")
    expect(page.locator("#label-note")).to_have_value("x" * 2001)
    page.route("**/label/", lambda route: route.abort())
    bar.get_by_role("button", name="good").click()
    expect(bar.get_by_role("status")).to_contain_text("What you wrote is still here; try again.")
    expect(page.locator("#label-note")).to_have_value("x" * 2001)
    # The console names both failed requests, and nothing else went wrong.
    assert all("/label/" in fault for fault in mali.faults), mali.faults
    mali.faults.clear()


def test_labels_follow_the_rollout_that_is_opened_within_the_page(page: Page):
    page.goto("/p/law/runs/1/rollouts/?step=1&open=2.0")
    page.evaluate("window.same = true")
    page.get_by_role("link", name="Next rollout").click()
    expect(page.locator("#opened")).to_have_text("Rollout 2.1")
    page.keyboard.press("5")
    expect(page.locator("#label-bar").get_by_role("status")).to_have_text("Saved: unsure.")
    page.get_by_role("button", name="Take my label back").click()
    expect(page.locator("#label-bar").get_by_role("status")).to_have_text("Your label is taken back.")
    assert page.evaluate("window.same")


def test_single_keys_that_are_switched_off_label_nothing(page: Page):
    page.goto("/p/law/runs/1/rollouts/?step=1&open=2.0")
    page.evaluate("localStorage.setItem('keys', 'off')")
    page.keyboard.press("1")
    page.keyboard.press("m")
    expect(page.locator("#label-note")).not_to_be_focused()
    expect(page.locator("#label-bar [aria-pressed=true]")).to_have_count(0)


@pytest.mark.parametrize(
    "path",
    [
        f"{INBOX}?unseen=mine",
        f"{INBOX}labels/",
        f"{INBOX}same-prompt/?at=1.1.1.0",
        "/p/law/runs/1/rollouts/?step=1&open=0.0",
    ],
)
def test_pages_of_the_review_can_be_read_by_everybody(path: str, page: Page):
    found = inspect(page, path)
    assert not found, "\n".join(found)
