"""What a run used of energy, as its attempts told it: a sum that says where it comes from and what it lacks."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from chanote.runs.models import Attempt, RunEvent
from trainer.contract.events import EnergyPart, EnergyUsed

JOULES_PER_KWH = 3.6e6
NOUNS = {"cpu": "processors", "gpu": "GPUs"}
HINT = "its counters cannot be read, and nobody has set CHANOTE_MACHINE_WATTS for an estimate"


@dataclass(frozen=True)
class Energy:
    """`kwh` is the sum of what is known; None when nothing is."""

    kwh: float | None
    basis: str
    """measured · estimated (some of it at least) · unknown."""
    complete: bool
    """False where a part, or an attempt, is missing from the sum."""
    words: str
    """One sentence on where the figure comes from, or why there is none."""

    @property
    def carbon_kg(self) -> float | None:
        """Kilogrammes of CO2 equivalent, where somebody said what the electricity is made of."""
        if self.kwh is None or not settings.CARBON_GRAMS_PER_KWH:
            return None
        return self.kwh * settings.CARBON_GRAMS_PER_KWH / 1000

    def facts(self) -> dict[str, Any]:
        """For programs and cards."""
        return {
            "kwh": self.kwh,
            "basis": self.basis,
            "complete": self.complete,
            "told": self.words,
            "carbon_kg": self.carbon_kg,
            "carbon_grams_per_kwh": settings.CARBON_GRAMS_PER_KWH or None,
        }


def read_energy(attempts: Iterable[Attempt]) -> Energy:
    """Over all attempts, since a repeated step was paid for twice. Those that never began used nothing."""
    told: list[EnergyPart] = []
    silent = begun = 0
    for attempt in attempts:
        last = RunEvent.objects.filter(attempt=attempt, type="energy_used").order_by("-seq").first()
        if last is not None:
            told += EnergyUsed.model_validate(last.payload).parts
            begun += 1
        elif attempt.facts:
            silent += 1
            begun += 1
    return sum_energy(told, silent=silent, begun=begun)


def sum_energy(parts: list[EnergyPart], *, silent: int = 0, begun: int = 1) -> Energy:
    """`silent` of the attempts that began told nothing of energy."""
    if not begun:
        return Energy(None, "unknown", False, "No attempt has told of its energy yet.")
    joules = [part.joules for part in parts if part.joules is not None]
    unknown = sorted({part.what for part in parts if part.joules is None})
    missing = [f"that of the {' and the '.join(NOUNS[what] for what in unknown)} is unknown"] if unknown else []
    if silent:
        missing.append(f"{silent} of {begun} attempts told nothing of it" if begun > 1 else "its attempt told nothing")
    if not joules:
        why = HINT if unknown == ["cpu"] and not silent else "; ".join(missing) or HINT
        return Energy(None, "unknown", False, f"Energy was not measured: {why}.")
    sources: dict[str, None] = {}
    for part in parts:
        if part.joules is not None:
            whole = ", with all else on the machine" if part.what == "cpu" and part.basis == "measured" else ""
            sources[f"{NOUNS[part.what]} {part.basis} ({part.source}{whole})"] = None
    words = "; ".join([*sources, *missing])
    basis = "estimated" if any(part.basis == "estimated" for part in parts) else "measured"
    return Energy(sum(joules) / JOULES_PER_KWH, basis, not missing, f"{words[0].upper()}{words[1:]}.")
