"""Law that is really in force, from its files to a model and out of it again, by four people in their browsers."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PASSWORD, Visit, choose_password, log_in
from tests.conftest import SHARED_DATA as DATA

pytestmark = [pytest.mark.browser, pytest.mark.trains, pytest.mark.timeout(600)]

RUN_MS = 240_000
PEOPLE = {"mali": "researcher", "somchai": "curator", "naree": "curator"}
RECIPE = """\
base: demo-base
stages:
  - kind: cpt
    name: read
    data:
      - {{dataset: civil-code, weight: 3}}
      - {{dataset: {second}, weight: 1}}
    steps: 8
    batch_size: 4
    sequence_length: 96
"""


@pytest.fixture
def people(platform, chromium: Browser) -> Iterator[dict[str, Visit]]:
    """Browsers of an administrator, who has made a project for reviewed data, of a researcher and of two curators."""
    with ExitStack() as opened:

        def enter(name: str, one_time: str) -> Visit:
            context = chromium.new_context(base_url=platform.url, viewport={"width": 1280, "height": 800})
            opened.callback(context.close)
            visit = Visit.watch(context.new_page())
            log_in(visit.page, name, one_time)
            choose_password(visit.page, one_time, PASSWORD)
            expect(visit.page.get_by_role("link", name="Home", exact=True)).to_be_visible()
            return visit

        # The administrator belongs to no project of the demo alone: the project comes first, then its people.
        entered = {"admin": enter("admin", platform.password)}
        found_project(entered["admin"].page)
        for name, role in PEOPLE.items():
            answer = platform.run("user", "create", name, "--role", role, "--project", "nation", "--json")
            assert answer.returncode == 0, answer.stderr
            entered[name] = enter(name, re.findall(r'"one_time_password": "([^"]+)"', answer.stdout)[0])
        yield entered


def test_from_files_of_law_to_a_model_and_out_of_it_again(people, platform):
    mali, somchai, naree, admin = (people[name].page for name in ("mali", "somchai", "naree", "admin"))
    base = Path(__file__).parents[2] / "artifacts" / "demo-base" / "model"
    assert platform.run("model", "register", "demo-base", str(base), "--project", "nation").returncode == 0

    laws = DATA / "thai_law_sections"
    import_file(mali, laws / "civil_and_commercial_code.jsonl", "civil-code", "text", uses=("train", "evaluate"))
    import_file(mali, laws / "other_32_acts.jsonl", "other-acts", "text", uses=("train", "evaluate"))
    import_file(mali, DATA / "nitibench_tax/nitibench_tax_50.jsonl", "tax-rulings", "prompts", uses=("evaluate",))

    check(mali, "civil-code")

    # Nothing trains before somebody else has looked at it, and rulings that judge models train none.
    problems = write_recipe(mali, "read-the-law", second="tax-rulings")
    expect(problems).to_contain_text("tax-rulings@1 is for evaluation only and must not be trained on")
    expect(problems).to_contain_text("rows 1 to 50")
    expect(problems).to_contain_text("civil-code@1")
    expect(problems).to_contain_text("draft")

    ask_for_review(mali, "civil-code")
    expect(mali.locator("main")).to_contain_text("may not sign")
    sign(somchai, "civil-code", then="Approved")
    ask_for_review(mali, "other-acts", restricted=True)
    sign(somchai, "other-acts", then="In review")
    expect(somchai.locator("main")).to_contain_text("1 of 2 needed signatures is there")
    sign(naree, "other-acts", then="Restricted")

    write_recipe(mali, "read-the-law", second="other-acts")
    expect(mali.get_by_role("region", name="Mixture")).to_contain_text("75")
    launch(mali)
    expect(mali.locator("main h1")).to_contain_text("Finished", timeout=RUN_MS)
    mali.reload()
    expect(mali.get_by_role("region", name="Mixture as drawn")).to_contain_text("other-acts")

    withdraw(admin, "other-acts")
    for words in ("other-acts@1", "read-the-law", "checkpoint"):
        expect(admin.locator("main")).to_contain_text(words)

    problems = write_recipe(mali, "read-it-again", second="other-acts")
    expect(problems).to_contain_text("the source other-acts was withdrawn")
    expect(problems).to_contain_text("the ministry took it back")
    for name, visit in people.items():
        assert visit.faults == [], name


def found_project(page: Page) -> None:
    page.goto("/projects/new/")
    page.get_by_label("Name", exact=True).fill("Law of the nation")
    page.locator("#id_slug").fill("nation")
    expect(page.locator("#id_reviews_data")).to_be_checked()
    page.get_by_role("button", name="Make project").click()
    expect(page).to_have_url(re.compile("/p/nation/"))


def import_file(page: Page, file: Path, name: str, kind: str, *, uses: tuple[str, ...]) -> None:
    """A file with a source of its own, which has the dataset's name."""
    page.goto("/p/nation/datasets/-/import/")
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Upload and look at its columns").click()
    if page.locator("#id_kind").input_value() != kind:
        page.locator("#id_kind").select_option(kind)
        page.get_by_role("button", name="Show the rows with these columns").click()
        expect(page.locator("#id_kind")).to_have_value(kind)
    if kind == "prompts":
        # The rulings name the sections of a citation in a way of their own.
        page.locator("#id_column_citations").select_option("")
    page.locator("#id_slug").fill(name)
    page.locator("#id_title").fill(name)
    page.locator("#id_licence").fill("CC0-1.0" if "train" in uses else "LicenseRef-unknown")
    for use in ("train", "distil", "evaluate", "publish"):
        page.locator(f'input[name="uses"][value="{use}"]').set_checked(use in uses)
    page.locator("#id_source_name").fill(name)
    page.get_by_role("button", name="Import all rows").click()
    expect(page).to_have_url(re.compile(f"/datasets/{name}/"))


def check(page: Page, name: str) -> None:
    page.goto(f"/p/nation/datasets/{name}/?tab=checks")
    page.get_by_role("button", name="Run all checks").click()
    # Until it is answered: leaving the page would take the request back.
    page.wait_for_url("**tab=checks&version=*")
    page.goto(f"/p/nation/datasets/{name}/?tab=checks")
    expect(page.locator("main")).to_contain_text(re.compile("8 of 8 run"), timeout=RUN_MS)


def write_recipe(page: Page, name: str, *, second: str):
    """Type the text; the problems that the page tells of it."""
    page.goto("/p/nation/recipes/-/new/")
    page.get_by_label("Name", exact=True).fill(name)
    page.locator("#yaml").fill(RECIPE.format(second=second))
    return page.locator("#summary")


def launch(page: Page) -> None:
    page.get_by_role("button", name="Save and launch").click()
    expect(page).to_have_url(re.compile(r"/p/nation/runs/\d+/$"))


def ask_for_review(page: Page, name: str, *, restricted: bool = False) -> None:
    page.goto(f"/p/nation/datasets/{name}/?tab=review")
    page.get_by_label("Restricted data").set_checked(restricted)
    page.get_by_role("button", name="Ask for a review").click()
    expect(page.locator("main")).to_contain_text("asked for the review")


def sign(page: Page, name: str, *, then: str) -> None:
    page.goto(f"/p/nation/datasets/{name}/?tab=review")
    for box in page.locator('input[name="checklist"]').all():
        box.check()
    page.get_by_role("button", name=re.compile("^(Approve|Sign)")).click()
    expect(page.locator(".status").filter(has_text=then).first).to_be_visible()


def withdraw(page: Page, source: str) -> None:
    page.goto(f"/p/nation/rights/sources/{source}/")
    page.get_by_label("Reason").fill("the ministry took it back")
    page.get_by_role("button", name="Withdraw the source").click()
    expect(page.locator("main h1")).to_contain_text("Withdrawn")
