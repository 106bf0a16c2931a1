"""The playground as somebody without a mouse uses it, with and without script."""

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import LivedIn, Visit
from tests.browser.test_accessibility import PHONE, find_overflow, find_violations

pytestmark = [pytest.mark.browser, pytest.mark.trains, pytest.mark.timeout(300)]
PAGE = "/p/demo/tools/-/playground/"


def test_a_search_by_keys_alone_keeps_the_place_and_what_was_typed(member: Visit):
    page = member.page
    page.goto(PAGE)
    query = page.get_by_label("Query")
    query.focus()
    page.keyboard.type("fine of the Lera Act")
    page.keyboard.press("Tab")
    page.keyboard.type("1")
    page.keyboard.press("Control+Enter")
    answer = page.get_by_label("What the policy reads")
    expect(answer).to_contain_text("the fine is 60 coins")
    assert page.url.endswith(PAGE), "the whole page was loaded again"
    expect(page.get_by_label("Top k")).to_be_focused()
    expect(query).to_have_value("fine of the Lera Act")
    found = [*find_violations(page, "answer"), *find_overflow(page, "answer")]
    page.set_viewport_size(PHONE)
    found += find_overflow(page, "answer on a phone")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Run")).to_be_focused()
    page.keyboard.press("Enter")
    expect(answer).to_contain_text("the fine is 60 coins")
    assert not found, "\n".join(found)
    assert not member.faults, member.faults


def test_enter_in_a_program_is_a_new_line_and_a_missing_engine_is_told(member: Visit):
    page = member.page
    page.goto(f"{PAGE}?tool=run_python")
    code = page.get_by_label("Code")
    code.focus()
    page.keyboard.press("Control+End")
    page.keyboard.press("Enter")
    page.keyboard.type("print('<b>bold</b>')")
    expect(code).to_have_value("print(sum(range(10)))\nprint('<b>bold</b>')")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#answer")).to_contain_text("run_python answers “unavailable: no container engine")
    assert not find_violations(page, "unavailable")
    assert not member.faults, member.faults


def test_what_cannot_be_sent_is_said_and_its_field_is_a_link_away(member: Visit):
    page = member.page
    page.goto(PAGE)
    page.get_by_role("button", name="Run").click()
    alert = page.locator("#answer").get_by_role("alert")
    expect(alert).to_contain_text("Write the query.")
    alert.get_by_role("link", name="Query").click()
    expect(page.get_by_label("Query")).to_be_focused()
    assert not find_violations(page, "refused")


def test_without_script_the_whole_page_comes_back_with_the_answer(chromium: Browser, lived_in: LivedIn):
    with lived_in.browse(chromium, "member", java_script_enabled=False) as visit:
        page = visit.page
        page.goto(f"{PAGE}?tool=read_law")
        page.get_by_label("Law name").fill("Lera Act")
        page.get_by_label("Section num").fill("4")
        page.get_by_role("button", name="Run").click()
        expect(page.get_by_label("What the policy reads")).to_contain_text("the fine is 60 coins")
        expect(page.get_by_label("Law name")).to_have_value("Lera Act")


def test_from_the_call_log_to_one_call_and_to_trying_it_again(member: Visit):
    page = member.page
    page.goto("/p/demo/runs/1/calls/")
    page.get_by_label("Status").select_option(label="All but OK (54)")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("table", name="Tool calls").get_by_role("link", name="search_law").first.click()
    expect(page.get_by_text("Calls of this rollout")).to_be_visible()
    page.get_by_role("link", name="Try it again").click()
    expect(page.get_by_label("Query")).to_have_value("ค่าปรับตามพระราชบัญญัติ เลรา")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_label("What the policy reads")).to_contain_text("Lera Act")
    assert not member.faults, member.faults
