"""The keyboard alone goes everywhere; without scripts every page can still be read and forms still work."""

import re
import sqlite3
import threading
from contextlib import closing

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import LivedIn, Visit
from tests.browser.test_accessibility import PHONE, find_overflow, find_violations
from tests.chat_endpoint import KEY, call, piece, say, serve_answers

pytestmark = [pytest.mark.browser, pytest.mark.trains, pytest.mark.timeout(300)]

PLAYGROUND = "/p/demo/tools/-/playground/"
READING = {
    "/p/demo/": "This installation",
    "/p/demo/runs/": "given up",
    "/p/demo/runs/1/checkpoints/": "step",
    "/p/demo/runs/1/logs/": "finished at step 40",
    "/p/demo/runs/1/config/": "schema_version: 1",
    "/p/demo/runs/1/samples/": "trained",
    "/p/demo/runs/1/rollouts/": "Only stages that sample from the policy",
    "/p/demo/runs/3/rollouts/?step=1": "How large is the fine by Act",
    "/p/demo/runs/3/rollouts/?step=1&open=0.0&view=group": "4 completions",
    "/p/demo/runs/compare/?run=1&run=2": "short",
    "/p/demo/queue/": "goes on",
    "/p/demo/recipes/short/": "read-only-reworded",
    "/p/demo/recipes/short/edit/": "Continued pretraining",
    "/p/demo/recipes/short/diff/": "steps: 40",
    "/p/demo/datasets/new-code/": "Act",
    "/p/demo/models/demo-base/": "Qwen3ForCausalLM",
    "/p/demo/boards/new-code/": "demo-base",
    "/p/demo/audit/": "run.launched",
    "/p/demo/tools/": "new-code-tools",
    "/p/demo/tools/new-code-tools/": "as at launch",
    "/p/demo/runs/1/calls/": "Sandbox failed",
    "/p/demo/members/": "member",
}
"""Pages, each with words that its content holds."""


@pytest.fixture
def plain(chromium: Browser, lived_in: LivedIn):
    """A browser that runs no script of a page."""
    with lived_in.browse(chromium, "member", java_script_enabled=False) as visit:
        yield visit.page


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.tagName"))


def test_the_first_tab_stop_skips_to_the_content(member: Visit):
    page = member.page
    page.goto("/p/demo/runs/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    assert focused(page) == "main"


def test_a_slash_goes_to_the_filter_and_is_a_letter_inside_it(member: Visit):
    page = member.page
    page.goto("/p/demo/runs/")
    page.keyboard.press("/")
    field = page.get_by_role("searchbox")
    expect(field).to_be_focused()
    page.keyboard.type("given/up")
    expect(field).to_have_value("given/up")


def test_j_and_k_walk_the_rows_and_x_selects_two_to_compare(member: Visit):
    page = member.page
    page.goto("/p/demo/runs/")
    for _ in range(3):
        page.keyboard.press("j")
    expect(page.get_by_role("link", name="goes on")).to_be_focused()
    page.keyboard.press("x")
    page.keyboard.press("k")
    expect(page.get_by_role("link", name="waits")).to_be_focused()
    assert page.locator("tbody input[type=checkbox]:checked").count() == 1


def test_control_slash_lists_the_keys_and_escape_closes_the_list(member: Visit):
    page = member.page
    page.goto("/p/demo/")
    page.keyboard.press("Control+/")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()


def test_single_keys_can_be_switched_off(member: Visit):
    page = member.page
    page.goto("/p/demo/runs/")
    page.keyboard.press("Control+/")
    page.get_by_label("Single keys work").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).not_to_be_focused()


def test_a_chat_by_keys_alone_shows_what_model_and_tools_write_as_text(member: Visit, lived_in: LivedIn):
    """Enter sends, Escape stops; markup from a model is text; the page can be read on a phone and by axe."""
    page, never = member.page, threading.Event()
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    answers = (
        call(("search_law", {"query": "fine"}), text=f"<think>{evil}</think>I look."),
        call(("wipe", {"a": evil})),
        say(f"Done. {evil}"),
        [piece({"content": "A long answer"}), never],
        (400, b'{"error": {"message": "the context is 512"}}'),
    )
    with serve_answers(*answers) as model:
        show_served(lived_in, model.address)
        page.goto("/p/demo/chat/?toolset=new-code-tools")
        field = page.get_by_label("Message", exact=True)
        expect(field).to_be_focused()
        page.keyboard.type("What is the fine?")
        page.keyboard.press("Enter")
        log = page.get_by_role("log")
        expect(log).to_contain_text(f"Done. {evil}")
        expect(log).to_contain_text("there is no tool 'wipe'")
        assert log.locator("script, img").count() == 0
        expect(log.locator(".chat-call").first).to_contain_text("OK")
        expect(field).to_be_focused()
        assert log.evaluate("one => one.scrollHeight - one.scrollTop - one.clientHeight") < 2
        assert not find_violations(page, "chat")
        page.keyboard.type("And then?")
        page.keyboard.press("Enter")
        expect(log).to_contain_text("A long answer")
        page.keyboard.press("Escape")
        expect(log).to_contain_text("Stopped.")
        page.keyboard.type("Too long?")
        page.keyboard.press("Enter")
        expect(log.get_by_role("alert")).to_contain_text("the context is 512")
        expect(field).to_have_value("Too long?")
        page.set_viewport_size(PHONE)
        assert not find_overflow(page, "chat")
    asked = [[one["role"] for one in body["messages"]] for body in model.asked]
    assert asked[3:] == [[*asked[2], "assistant", "user"], [*asked[2], "assistant", "user", "assistant", "user"]]
    assert not member.faults


def show_served(lived_in: LivedIn, address: str) -> None:
    """As `chanote serve` tells of a server."""
    home = lived_in.platform.home
    (home / "key-of-chat").write_text(KEY)
    row = {"name": "policy", "address": address, "token_file": str(home / "key-of-chat"), "engine": "torch"}
    row |= {"context": 512, "created": "2026-01-01", "seen": "2999-01-01"}
    with closing(sqlite3.connect(home / "chanote.sqlite3", timeout=60)) as database, database:
        database.execute(
            f"INSERT INTO chat_servedmodel (project_id, {', '.join(row)}) "  # noqa: S608
            f"SELECT id, {', '.join('?' for _ in row)} FROM accounts_project WHERE slug = 'demo'",
            list(row.values()),
        )


def test_the_colour_theme_is_kept_and_drawn_by_the_server(member: Visit):
    page = member.page
    page.goto("/p/demo/")
    switch = page.locator("[data-theme-switch]")
    switch.click()
    switch.click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.goto("/p/demo/runs/")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_times_in_words_stay_true_while_the_page_is_open(member: Visit):
    page = member.page
    page.clock.install()
    page.goto("/p/demo/runs/1/")
    launched = page.get_by_role("region", name="Particulars").locator("time")
    expect(launched).to_have_text(re.compile("just now| s ago| min ago"))
    page.clock.fast_forward("02:00:00")
    expect(launched).to_have_text("2 h ago")


@pytest.mark.parametrize(("path", "words"), READING.items())
def test_a_page_without_scripts_shows_its_content(path: str, words: str, plain: Page):
    plain.goto(path)
    expect(plain.locator("main h1")).to_be_visible()
    expect(plain.locator("main")).to_contain_text(words)


def test_the_run_page_without_scripts_shows_figures_and_curves(plain: Page):
    plain.goto("/p/demo/runs/1/")
    expect(plain.locator("#run-head")).to_contain_text(re.compile(r"Loss\s*\d"))
    expect(plain.get_by_role("region", name="Metrics")).to_contain_text("train/loss")
    plain.goto("/p/demo/runs/1/charts/")
    drawings = plain.locator("figure svg[role=img]")
    assert drawings.count() >= 4
    curve = plain.locator("figure", has_text="Loss").first.locator("svg[role=img] path.ln-s")
    assert curve.first.get_attribute("d").count("L") >= 10


def test_a_filter_without_scripts_still_filters(plain: Page):
    plain.goto("/p/demo/runs/")
    plain.get_by_role("searchbox").fill("given")
    plain.get_by_role("button", name="Show").click()
    expect(plain.locator("main tbody tr")).to_have_count(1)
    expect(plain.locator("main tbody")).to_contain_text("given up")


def test_the_form_of_a_recipe_works_without_scripts(plain: Page):
    plain.goto("/p/demo/recipes/-/new/")
    plain.locator("#add-evaluate").click()
    plain.locator("#f-stages-0-tasks").get_by_label("read-only-choices").check()
    plain.get_by_role("button", name="Update the text from the form").click()
    expect(plain.locator("#yaml")).to_have_value(re.compile("kind: evaluate[\\s\\S]*read-only-choices"))


def test_a_search_by_keys_alone_keeps_the_place_and_what_was_typed(member: Visit):
    page = member.page
    page.goto(PLAYGROUND)
    query = page.get_by_label("Query")
    query.focus()
    page.keyboard.type("fine of the Lera Act")
    page.keyboard.press("Tab")
    page.keyboard.type("1")
    page.keyboard.press("Control+Enter")
    answer = page.get_by_label("What the policy reads")
    expect(answer).to_contain_text("the fine is 60 coins")
    assert page.url.endswith(PLAYGROUND), "the whole page was loaded again"
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
    page.goto(f"{PLAYGROUND}?tool=run_python")
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
    page.goto(PLAYGROUND)
    page.get_by_role("button", name="Run").click()
    alert = page.locator("#answer").get_by_role("alert")
    expect(alert).to_contain_text("Write the query.")
    alert.get_by_role("link", name="Query").click()
    expect(page.get_by_label("Query")).to_be_focused()
    assert not find_violations(page, "refused")


def test_without_script_the_whole_page_comes_back_with_the_answer(chromium: Browser, lived_in: LivedIn):
    with lived_in.browse(chromium, "member", java_script_enabled=False) as visit:
        page = visit.page
        page.goto(f"{PLAYGROUND}?tool=read_law")
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
