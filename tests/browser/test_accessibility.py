"""Every page in light and dark on a desk and on a phone: axe finds nothing, nothing overflows, no script fails."""

import json
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from serving import Platform

from tests.browser.conftest import LivedIn, Visit, log_in

pytestmark = [pytest.mark.browser, pytest.mark.trains, pytest.mark.timeout(300)]

DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "resultTypes": ["violations"],
}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}, "resultTypes": ["violations"]}
"""All that a scheme changes."""
BEFORE_LOGIN = ["/login/", "/nowhere/"]
PAGES = [
    "/",
    "/profile/",
    "/password/",
    "/projects/new/",
    "/nowhere/",
    "/p/demo/",
    "/p/demo/runs/",
    "/p/demo/runs/?q=nothing-is-called-this",
    "/p/demo/runs/1/",
    "/p/demo/runs/1/charts/",
    "/p/demo/runs/1/logs/",
    "/p/demo/runs/1/config/",
    "/p/demo/runs/1/checkpoints/",
    "/p/demo/runs/1/samples/",
    "/p/demo/runs/2/",
    "/p/demo/runs/3/",
    "/p/demo/runs/1/rollouts/",
    "/p/demo/runs/3/charts/",
    "/p/demo/runs/3/rollouts/",
    "/p/demo/runs/3/rollouts/?step=1&open=1.2&view=group",
    "/p/demo/runs/3/rollouts/?step=1&q=nobody-says-this",
    "/p/demo/runs/3/cancel/",
    "/p/demo/runs/4/",
    "/p/demo/runs/999/",
    "/p/demo/runs/compare/?run=1&run=2",
    "/p/demo/queue/",
    "/p/demo/custody/",
    "/p/demo/custody/bundles/",
    "/p/demo/custody/keys/",
    "/p/demo/recipes/",
    "/p/demo/recipes/-/new/",
    "/p/demo/recipes/learn-new-code/",
    "/p/demo/recipes/learn-new-code/edit/",
    "/p/demo/recipes/short/diff/",
    "/p/demo/datasets/",
    "/p/demo/datasets/-/import/",
    "/p/demo/datasets/new-code/",
    "/p/demo/datasets/new-code/?tab=card",
    "/p/demo/datasets/new-code/?tab=versions",
    "/p/demo/datasets/new-code/?tab=usage",
    "/p/demo/datasets/new-code-questions/",
    "/p/demo/datasets/read-only-choices/",
    "/p/demo/datasets/new-code-exam/",
    "/p/demo/datasets/new-code/edit/",
    "/p/demo/builds/",
    "/p/demo/builds/-/new/",
    "/p/demo/builds/-/new/autoif/",
    "/p/demo/endpoints/",
    "/p/demo/endpoints/-/new/",
    "/p/demo/rights/",
    "/p/demo/rights/sources/new-code/",
    "/p/demo/rights/sources/new-code/edit/",
    "/p/demo/rights/sources/-/new/",
    "/p/demo/rights/rows/new-code/1/1/",
    "/p/demo/rights/exceptions/",
    "/p/demo/rights/exceptions/-/new/?version=new-code-exam@1&use=train",
    "/p/demo/models/",
    "/p/demo/models/demo-base/",
    "/p/demo/models/demo-base/edit/",
    "/p/demo/models/-/register/",
    "/p/demo/boards/",
    "/p/demo/boards/-/new/",
    "/p/demo/boards/new-code/",
    "/p/demo/boards/new-code/edit/",
    "/p/demo/boards/new-code/pair/?task=read-only-choices@1&a={model}&b=demo-base",
    "/p/demo/boards/new-code/samples/?task=read-only-choices@1&a={model}&b=demo-base",
    "/p/demo/boards/-/tasks/read-only-choices/1/",
    "/p/demo/tools/",
    "/p/demo/tools/-/new/",
    "/p/demo/tools/-/playground/",
    "/p/demo/tools/-/playground/?tool=run_tests",
    "/p/demo/tools/new-code-tools/",
    "/p/demo/tools/new-code-tools/edit/",
    "/p/demo/runs/1/calls/",
    "/p/demo/runs/1/calls/?status=timeout&tool=nothing-is-called-this",
    "/p/demo/runs/1/calls/1/",
    "/p/demo/runs/2/calls/",
    "/p/demo/members/",
    "/p/demo/audit/",
]
"""`{model}` is the model that the first run made."""
FORBIDDEN = ["/p/demo/members/", "/p/demo/recipes/-/new/", "/p/demo/boards/-/new/"]
"""What a viewer gets there must be readable too, whether the page or its refusal."""


@pytest.fixture(scope="module")
def platform(lived_in: LivedIn) -> Platform:
    return lived_in.platform


def inspect(page: Page, path: str) -> list[str]:
    """What is wrong with the page at `path`, in both schemes and both widths."""
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(DESK)
    answer = page.goto(path)
    assert answer is not None
    assert answer.status < 500, f"{path}: {answer.status}"
    page.wait_for_load_state("load")
    found = [*find_violations(page, f"{path} light"), *find_overflow(page, f"{path} desk")]
    page.emulate_media(color_scheme="dark")
    found += find_violations(page, f"{path} dark", COLOURS)
    page.set_viewport_size(PHONE)
    return [*found, *find_violations(page, f"{path} dark phone"), *find_overflow(page, f"{path} phone")]


def find_violations(page: Page, where: str, rules: dict[str, Any] = RULES) -> list[str]:
    answer = Axe().run(page, options=rules).response
    return [
        f"{where}: {rule['id']} at {node['target']}: {node['html'][:120]} {node.get('failureSummary', '')[:200]}"
        for rule in answer["violations"]
        for node in rule["nodes"]
    ]


def find_overflow(page: Page, where: str) -> list[str]:
    wide = page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
    return [f"{where}: {wide[0]} px wide in a window of {wide[1]} px"] if wide[0] > wide[1] else []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_can_be_read_by_everybody(path: str, member: Visit, lived_in: LivedIn):
    found = inspect(member.page, path.format(model=lived_in.model))
    assert not found, "\n".join(found)
    missing = "/nowhere/" in path or "/999/" in path or path == "/projects/new/"
    assert missing or not member.faults, member.faults


@pytest.mark.parametrize("path", BEFORE_LOGIN)
def test_a_page_before_the_login(path: str, visit: Visit):
    found = inspect(visit.page, path)
    assert not found, "\n".join(found)


def test_refused_logins_and_forced_new_passwords(visit: Visit, lived_in: LivedIn):
    log_in(visit.page, "newcomer", "not the password")
    visit.page.get_by_role("alert").wait_for()
    found = find_violations(visit.page, "refused login")
    log_in(visit.page, "newcomer", lived_in.one_time_password)
    visit.page.wait_for_url("**/password/*")
    found += inspect(visit.page, "/password/")
    visit.page.get_by_role("button", name="Change password").click()
    found += find_violations(visit.page, "refused password")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", FORBIDDEN)
def test_what_a_viewer_may_not_do(path: str, chromium: Browser, lived_in: LivedIn):
    with lived_in.browse(chromium, "viewer") as viewer:
        found = inspect(viewer.page, path)
    assert not found, "\n".join(found)


def test_the_import_wizard_from_the_file_to_a_refusal(member: Visit, tmp_path):
    path = tmp_path / "broken.jsonl"
    path.write_text(json.dumps({"text": "whole"}) + "\n" + json.dumps({"text": ""}) + "\n")
    page = member.page
    page.goto("/p/demo/datasets/-/import/")
    page.get_by_label("File").set_input_files(path)
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("table", name="First rows of the file").wait_for()
    found = [*find_violations(page, "columns"), *find_overflow(page, "columns")]
    page.get_by_label("Name", exact=True).fill("broken")
    page.get_by_label("Title").fill("Broken")
    page.get_by_role("button", name="Import all rows").click()
    page.locator("#bad-rows").wait_for()
    found += find_violations(page, "refused import")
    page.set_viewport_size(PHONE)
    found += find_overflow(page, "refused import")
    assert not found, "\n".join(found)


def test_a_recipe_with_mistakes(member: Visit):
    page = member.page
    page.goto("/p/demo/recipes/-/new/")
    for number, kind in enumerate(["evaluate", "cpt", "sft"]):
        page.locator(f"#add-{kind}").click()
        page.locator(f"#f-stages-{number}").wait_for()
    page.locator("#f-stages-1-steps").fill("-3")
    page.locator("#f-stages-1 .error").first.wait_for()
    found = [*find_violations(page, "mistakes"), *find_overflow(page, "mistakes")]
    page.set_viewport_size(PHONE)
    found += find_overflow(page, "mistakes")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("query", ["?all=1&flag=failing", "?step=2&open=1.1&view=tokens"])
def test_rollouts_with_tools(query: str, member: Visit, agentic: str):
    found = inspect(member.page, agentic + query)
    assert not found, "\n".join(found)
    assert not member.faults, member.faults
