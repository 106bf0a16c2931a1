"""From two result files to a frozen board: an honest tie, its items, a snapshot whose hash can be checked."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from serving import Platform

from tests import harness_files as files
from tests.browser.conftest import Visit, stock
from tests.browser.test_accessibility import inspect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
BOARDS = "/p/law/boards/"


@pytest.fixture(scope="module")
def platform(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Without a demo: one project, an empty board and one with scores."""
    home = tmp_path_factory.mktemp("board-home")
    with stock(prepared_home, home, "board_home", str(home / "samples")) as started:
        yield started


@pytest.fixture
def page(mali: Visit) -> Iterator[Page]:
    yield mali.page
    assert not mali.faults, mali.faults


def import_file(page: Page, right: int, model: str) -> None:
    page.goto(f"{BOARDS}-/import/")
    page.get_by_label("Board").select_option(label="outside")
    page.get_by_label("Model").fill(model)
    data = files.lm_eval_samples([1.0] * right + [0.0] * (100 - right))
    name = "samples_gsm8k_2026-01-02T03-04-05.678901.jsonl"
    upload = {"name": name, "mimeType": "application/jsonl", "buffer": data}
    page.get_by_label("File", exact=True).set_input_files(upload)  # type: ignore[arg-type]
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page.locator("main")).to_contain_text(model)


def test_two_result_files_become_a_frozen_tie(page: Page):
    import_file(page, 61, "here")
    import_file(page, 58, "there")
    page.get_by_role("link", name="Outside").click()
    main = page.locator("main")
    expect(main).to_contain_text("Undecided: 100 items do not separate here and there")
    expect(main).to_contain_text("One training run each")
    expect(page.get_by_label("Letters a")).to_have_count(2)

    page.get_by_role("button", name="Compare item by item").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("here against there")
    page.get_by_role("row", name="here right").get_by_role("link", name="3", exact=True).click()
    expect(main).to_contain_text("Question: q58")
    expect(main).not_to_contain_text("Question: q57")

    page.goto(f"{BOARDS}outside/")
    page.get_by_role("link", name="Snapshots").click()
    page.get_by_label("Reason").fill("For the report")
    page.get_by_role("button", name="Freeze").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Outside, snapshot 1")
    with page.expect_download() as caught:
        page.get_by_role("link", name="JSON").click()
    sha256 = hashlib.sha256(caught.value.path().read_bytes()).hexdigest()
    expect(main).to_contain_text(f"sha-256 {sha256}")
    # What comes later changes the board and not what was frozen.
    import_file(page, 95, "late")
    page.goto(f"{BOARDS}outside/snapshots/1/")
    expect(main).not_to_contain_text("late")
    expect(main).to_contain_text(f"sha-256 {sha256}")


@pytest.mark.shared_data
def test_votes_of_people_calibrate_a_judge(page: Page, shared_data: Path):
    folder = shared_data / "wangchanglm_th_pref"
    lines = (folder / "gpt35_judge_scores.jsonl").read_bytes().splitlines(keepends=True)
    judged = b"".join(line for line in lines if b'"wangchang_sft_en_vs_openthaigpt"' in line)
    page.goto(f"{BOARDS}-/import/")
    page.get_by_label("Board").select_option(label="judged")
    upload = {"name": "judge.jsonl", "mimeType": "application/jsonl", "buffer": judged}
    page.get_by_label("File", exact=True).set_input_files(upload)  # type: ignore[arg-type]
    page.get_by_role("button", name="Import").click()
    page.get_by_role("link", name="Judged", exact=True).click()
    main = page.locator("main")
    expect(main).to_contain_text(
        "Uncalibrated: gpt-3.5-turbo judged these answers, and people have labelled 0 of the 100"
    )

    page.get_by_role("link", name="Judges, people and agreement").click()
    page.get_by_label("File", exact=True).set_input_files(folder / "human_pairwise_votes.jsonl")
    page.get_by_role("button", name="Import votes").click()
    expect(main).to_contain_text("Calibrated by 164 answers that 18 people labelled")
    expect(page.get_by_role("row", name="gpt-3.5-turbo with people")).to_contain_text("0.1113")
    expect(page.get_by_role("row", name="people with each other")).to_contain_text("0.2302")
    page.get_by_label("Breadcrumb").get_by_role("link", name="Judged").click()
    expect(main).to_contain_text("Calibrated by 164 answers")
    expect(main).not_to_contain_text("Uncalibrated")
    expect(main).to_contain_text("people's labels alone")


def test_a_worse_checkpoint_does_not_become_candidate(page: Page, mali: Visit):
    page.goto(f"{BOARDS}-/aliases/")
    page.get_by_role("link", name="candidate").click()
    page.get_by_label("Model").select_option("step-100")
    page.get_by_role("button", name="Move if the gate lets it").click()
    expect(page.get_by_role("alert")).to_contain_text("step-100 has lost 18 points on sums@1 against step-0")
    # The refusal is an answer of 422, which Chromium notes.
    mali.faults = [fault for fault in mali.faults if "422" not in fault]
    page.get_by_label("Model").select_option("step-50")
    page.get_by_role("button", name="Move if the gate lets it").click()
    expect(page.get_by_role("status")).to_contain_text("candidate now points at step-50.")


def test_the_pages_are_for_everybody(page: Page):
    paths = [
        "-/import/",
        "-/imported/1/",
        "-/aliases/",
        "-/aliases/candidate/",
        "suite/curve/",
        "suite/changes/?model=step-100",
        "outside/snapshots/",
        "outside/snapshots/1/",
        "judged/judging/",
        "judged/judging/label/",
        "suite/recipes/",
    ]
    assert [fault for path in paths for fault in inspect(page, BOARDS + path)] == []
