"""Reading the rollouts of a run that goes on: by keys, by link, without losing the place when a new step comes."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import LivedIn, Visit

pytestmark = [pytest.mark.browser, pytest.mark.trains, pytest.mark.timeout(300)]
URL = "/p/demo/runs/3/rollouts/"
HEADING = "#opened"


@pytest.fixture(autouse=True, scope="module")
def going_on(lived_in: LivedIn) -> Iterator[None]:
    lived_in.go_on()
    yield
    lived_in.hold()


@pytest.fixture
def page(member: Visit):
    """The list of the first step, once it is stored."""
    page = member.page
    page.goto(URL)
    expect(page.locator("[data-walk]").first).to_be_visible()
    page.goto(f"{URL}?step=1")
    page.evaluate("window.same = true")
    yield page
    assert not member.faults, member.faults


def walked(page: Page) -> str:
    return str(page.evaluate("document.activeElement.dataset.walk"))


def test_j_k_and_enter_read_one_rollout_after_the_other_without_leaving_the_page(page: Page):
    expect(page.locator(HEADING)).to_have_text("Rollout 0.0")
    page.keyboard.press("j")
    assert walked(page) == "0.1"
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.locator(HEADING)).to_have_text("Rollout 0.1")
    assert walked(page) == "0.1"
    assert page.url.endswith(f"{URL}?step=1&open=0.1#rollouts")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator(HEADING)).to_have_text("Rollout 0.2")
    page.go_back()
    expect(page.locator(HEADING)).to_have_text("Rollout 0.1")
    assert page.evaluate("window.same")


def test_a_slash_goes_to_the_search_which_narrows_the_list(page: Page):
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("nobody-says-this")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("None of the 8 rollouts of step 1 is like that.")


def test_a_new_step_is_announced_and_moves_nothing_until_it_is_asked_for(page: Page):
    news = page.locator("[data-news]")
    expect(news).to_be_visible()
    expect(news).to_contain_text(re.compile(r"The rollouts of step [\d,]+ are stored."))
    expect(page.locator("main")).to_contain_text("Step 1 ·")
    expect(page.locator(HEADING)).to_have_text("Rollout 0.0")
    news.get_by_role("link", name="Show it").click()
    expect(page.locator(".step-facts")).not_to_contain_text("Step 1 ·")
    assert int(page.locator("#step").input_value()) > 1
    assert page.evaluate("window.same")


def test_marks_of_likelihood_can_be_switched_off_and_stay_off(page: Page):
    marked = page.locator(".turn .tks .tk.k1, .turn .tks .tk.k2, .turn .tks .tk.k3, .turn .tks .tk.k4").first
    line = "element => getComputedStyle(element).textDecorationLine"
    assert marked.evaluate(line) == "underline"
    assert re.fullmatch(r"−\d+\.\d{3}, [\d.]+ %", marked.get_attribute("title") or "")
    page.get_by_label("Mark tokens by how likely").uncheck()
    assert marked.evaluate(line) == "none"
    page.get_by_role("link", name="Next rollout").click()
    expect(page.locator(HEADING)).to_have_text("Rollout 0.1")
    expect(page.get_by_label("Mark tokens by how likely")).not_to_be_checked()


def test_completions_of_a_prompt_stand_side_by_side_on_a_desk_and_stacked_on_a_phone(page: Page):
    page.get_by_role("link", name="Show side by side").click()
    cards = page.locator(".side-by-side > section")
    expect(cards).to_have_count(4)

    def tops() -> set[int]:
        return {round(card.bounding_box()["y"]) for card in cards.all()}

    assert len(tops()) < 4
    page.set_viewport_size({"width": 390, "height": 844})
    assert len(tops()) == 4
    expect(cards.first).to_contain_text("Exact")


def test_the_first_failing_rollout_of_an_agentic_run_is_found_by_filter_and_keys(member: Visit, agentic: str):
    page = member.page
    page.goto(agentic)
    page.keyboard.press("a")
    expect(page.locator(".step-facts")).to_contain_text("All steps · 12 rollouts")
    page.get_by_label("Flag").select_option("failing")
    page.get_by_role("button", name="Show").press("Enter")
    expect(page.locator("[data-walk]")).to_have_count(2)
    page.keyboard.press("j")
    assert walked(page) == "3.0.0"
    page.keyboard.press("k")
    assert walked(page) == "2.1.1"
    page.keyboard.press("Enter")
    expect(page.locator(HEADING)).to_have_text("Rollout 1.1")
    reasons = page.get_by_role("region", name="What went wrong").get_by_role("listitem")
    expect(reasons).to_have_text([
        "The last turn that it was allowed called tools instead of answering.",
        "Call 2, read_law, was not made as the policy wrote it: Error: the call is not valid JSON (at character 9).",
        "Exact and judge gave nothing for the answer.",
    ])  # fmt: skip
    reasons.nth(1).get_by_role("link").press("Enter")
    card = page.get_by_role("region", name="Call 2, read_law")
    expect(card).to_be_in_viewport()
    expect(card).to_contain_text("not made")
    thought = page.get_by_text("Which act?")
    expect(thought).to_be_hidden()
    page.keyboard.press("o")
    expect(thought).to_be_visible()
    page.get_by_text("What judge said").click()
    expect(page.get_by_text("It names the day, and the section that says so.")).to_be_visible()
    page.keyboard.press("t")
    expect(page.get_by_role("table", name="Tokens")).to_contain_text("not trained")
    page.keyboard.press("n")
    expect(page.locator(HEADING)).to_have_text("Rollout 0.0")
    page.keyboard.press("c")
    expect(page.get_by_role("link", name=re.compile("characters of the output"))).to_be_visible()
    page.keyboard.press("r")
    page.wait_for_url("**/rollouts/?*open=*")
    assert page.evaluate("window.pwned") is None
    assert not member.faults, member.faults
