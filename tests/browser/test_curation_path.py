"""Rows are curated by keyboard, become a version, and two other people sign it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from serving import Platform

from tests.browser.conftest import PASSWORD, Visit, log_in, stock
from tests.browser.test_accessibility import inspect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
LAW = "/p/law/datasets/law/"


@pytest.fixture(scope="module")
def platform(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Without a demo: one project, one dataset, three curators."""
    home = tmp_path_factory.mktemp("curation-home")
    with stock(prepared_home, home, "curation_home") as started:
        yield started


@pytest.fixture
def enter(platform: Platform, chromium: Browser) -> Iterator[Callable[[str], Page]]:
    """A browser of each person, logged in; nothing may have gone wrong in any."""
    visits: list[Visit] = []

    def make(name: str) -> Page:
        context = chromium.new_context(base_url=platform.url, viewport={"width": 1280, "height": 800})
        visits.append(Visit.watch(context.new_page()))
        log_in(visits[-1].page, name, PASSWORD)
        visits[-1].page.wait_for_url("**/")
        return visits[-1].page

    yield make
    faults = [fault for visit in visits for fault in visit.faults]
    for visit in visits:
        visit.page.context.close()
    assert not faults, faults


def test_rows_are_curated_by_keyboard_and_signed_by_two_others(enter: Callable[[str], Page]):
    page = enter("mali")
    page.goto(LAW)
    page.get_by_role("link", name="Curate rows").click()
    title = page.locator("main h2").first
    expect(title).to_have_text("Row 1")
    page.keyboard.press("?")
    keys = page.get_by_role("dialog")
    expect(keys).to_contain_text("next, previous, accept, reject, edit")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    expect(title).to_have_text("Row 2")
    page.keyboard.press("r")
    expect(title).to_have_text("Row 3")
    page.keyboard.press("k")
    expect(title).to_have_text("Row 2")
    expect(page.locator("main")).to_contain_text("Rejected by you")
    page.keyboard.press("j")
    expect(title).to_have_text("Row 3")
    page.keyboard.press("e")
    text = page.locator("textarea[name='text.text']")
    expect(text).to_be_focused()
    # Letters of a text decide nothing.
    text.fill("มาตรา 3 rewritten a r j")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".row-view")).to_contain_text("rewritten a r j")

    page.goto(f"{LAW}1/queue/?row=7")
    expect(page.locator("main")).to_contain_text("Personal data masked")
    expect(page.locator("main")).not_to_contain_text("somchai@example.org")
    page.get_by_text("Show what is masked").click()
    page.get_by_label("Reason").fill("The owner asked what is held")
    page.get_by_role("button", name="Show row 7").click()
    expect(page.locator("main")).to_contain_text("somchai@example.org")

    page.goto(f"{LAW}1/bulk/?act=flag&mark=needs-source&rows=4-6")
    expect(page.get_by_role("heading", name="Flag 3 rows: needs-source")).to_be_visible()
    page.get_by_role("button", name="Note this change of 3 rows").click()
    page.get_by_label("Reason").fill("First reading")
    page.get_by_role("button", name="Make version 2").click()
    page.wait_for_url("**tab=diff*")
    expect(page.locator("ins").filter(has_text="rewritten").first).to_be_visible()
    page.get_by_role("link", name="Review", exact=True).last.click()
    page.get_by_label("Restricted data").check()
    page.get_by_role("button", name="Ask for a review").click()
    expect(page.locator("main")).to_contain_text("You made this version, so somebody else must sign it.")

    for name, left in (("kanya", "1 of 2 needed signatures is there"), ("chai", "two people have approved it")):
        other = enter(name)
        other.goto(f"{LAW}?tab=review")
        points = other.get_by_role("group", name="I confirm").get_by_role("checkbox")
        expect(points).to_have_count(4)
        for point in points.all():
            point.check()
        other.locator("button[value=sign]").click()
        expect(other.locator("main")).to_contain_text(left)
    page.goto(LAW)
    expect(page.locator("h1")).to_contain_text("Restricted")


def test_the_pages_of_curation_are_usable_by_everybody(enter: Callable[[str], Page]):
    page = enter("kanya")
    found = []
    for path in (
        "/p/law/datasets/",
        f"{LAW}?tab=review",
        f"{LAW}1/queue/?row=3&mode=edit",
        f"{LAW}1/bulk/?act=reject&rows=1-2",
        f"{LAW}1/changes/",
        f"{LAW}?tab=diff",
    ):
        found += inspect(page, path)
    assert not found, "\n".join(found)
