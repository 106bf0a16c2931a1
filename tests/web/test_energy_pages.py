"""Energy where people read it: the run's page, the command, the cards; a sum over attempts that says what it lacks."""

import pytest

from chanote.runs.energy import read_energy
from tests.run_rows import add_attempt, make_run, tell

pytestmark = pytest.mark.django_db
MEASURED = {"what": "cpu", "basis": "measured", "source": "package-0", "joules": 1_800_000.0}
UNKNOWN = {"what": "gpu", "basis": "unknown", "source": "", "joules": None}
SET = {"what": "cpu", "basis": "estimated", "source": "120 W set for 8 cores", "joules": 360_000.0}


def begin(run, number: int = 1, **energy):
    attempt = run.attempts.get(number=number) if number == 1 else add_attempt(run, number=number)
    attempt.facts = {"device": "cpu"}
    attempt.save()
    if energy:
        tell(run, "energy_used", step=5, seconds=60.0, parts=[])
        tell(run, "energy_used", step=9, seconds=90.0, **energy)
    return attempt


def page_of(client, run) -> str:
    return client.get(f"/p/law/runs/{run.number}/").content.decode()


def test_attempts_add_up_by_the_last_word_of_each(project, client_of, viewer, settings):
    run = make_run(project, state="stopped")
    begin(run, parts=[MEASURED])
    begin(run, 2, parts=[{**MEASURED, "joules": 900_000.0}])
    energy = read_energy(run.attempts.all())
    assert (energy.kwh, energy.basis, energy.complete, energy.carbon_kg) == (0.75, "measured", True, None)
    assert energy.words == "Processors measured (package-0, with all else on the machine)."
    page = page_of(client_of(viewer), run)
    assert "0.75 <small>kWh, measured</small>" in page
    assert "CO₂" not in page, "nobody said what the electricity is made of"
    settings.CARBON_GRAMS_PER_KWH = 400
    assert "kWh, measured, 0.3 kg CO₂" in page_of(client_of(viewer), run)


def test_what_is_missing_is_said_and_the_rest_is_a_lower_bound(project, client_of, viewer):
    run = make_run(project, state="stopped")
    begin(run, parts=[MEASURED, UNKNOWN])
    begin(run, 2)
    energy = read_energy(run.attempts.all())
    assert (energy.kwh, energy.complete) == (0.5, False)
    assert energy.words.endswith("; that of the GPUs is unknown; 1 of 2 attempts told nothing of it.")
    assert "<small>at least</small> 0.5 <small>kWh" in page_of(client_of(viewer), run)


def test_an_estimate_is_called_one(project):
    run = make_run(project, state="stopped")
    begin(run, parts=[SET])
    energy = read_energy(run.attempts.all())
    assert (energy.kwh, energy.basis, energy.words) == (
        0.1, "estimated", "Processors estimated (120 W set for 8 cores).",
    )  # fmt: skip


def test_without_any_word_it_is_unknown_and_no_number_stands_there(project, client_of, viewer):
    run = make_run(project, state="finished")
    begin(run, parts=[{**UNKNOWN, "what": "cpu"}])
    energy = read_energy(run.attempts.all())
    assert (energy.kwh, energy.basis) == (None, "unknown")
    assert "nobody has set CHANOTE_MACHINE_WATTS" in energy.words
    page = page_of(client_of(viewer), run)
    assert "– <small>not measured</small>" in page
    assert "kWh" not in page


def test_a_run_that_never_began_used_nothing(project, client_of, viewer):
    run = make_run(project, state="queued")
    assert read_energy(run.attempts.all()).kwh is None
    assert "<dt>Energy</dt>" not in page_of(client_of(viewer), run)
