"""The start-up probe: attack our own sandbox, read its flags back from the engine, and refuse to serve if one works."""

from dataclasses import dataclass, field

from toolsandbox.code.attacks import ATTACKS, PREAMBLE, Attack
from toolsandbox.code.batches import FunctionCall, run_batch
from toolsandbox.code.container import Call, Container, name_outcome
from toolsandbox.code.hardening import find_softness
from toolsandbox.code.settings import CallLimits
from toolsandbox.code.workshop import Workshop

IN_BATCH = """
def attack(source):
    import contextlib, io
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(source, {})
    return said.getvalue().strip()
"""

PROBE_LIMITS = CallLimits(wall_s=20, cpu_s=20)


class ProbeFailed(Exception):
    """The sandbox is softer than it must be; nothing may be served from it."""


@dataclass
class ProbeReport:
    held: dict[str, str] = field(default_factory=dict)
    reached: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.reached and bool(self.held)

    def summary(self) -> str:
        if self.passed:
            return f"{len(self.held)} attacks held"
        return "; ".join(f"{attack}: {answer}" for attack, answer in self.reached.items())


async def probe(workshop: Workshop, *, attacks: list[Attack] | None = None) -> ProbeReport:
    """Run the attacks in one container of the pool's own making, and destroy it."""
    report = ProbeReport()
    container = await workshop.pool.take()
    try:
        inspected = await workshop.engine.inspect(container.identity)
        soft = ["is gone"] if inspected is None else find_softness(inspected, workshop.settings)
        for lack in soft:
            report.reached[f"the container {lack}"] = "is not so"
        for attack in attacks if attacks is not None else ATTACKS:
            verdict = await _attack(container, attack)
            (report.held if verdict.startswith("held") else report.reached)[attack.name] = verdict
    finally:
        workshop.discard(container)
    await _attack_batches(workshop, report, attacks if attacks is not None else ATTACKS)
    return report


async def _attack_batches(workshop: Workshop, report: ProbeReport, attacks: list[Attack]) -> None:
    """The same attacks from within a function of a batch, whose container itself may make namespaces."""
    tried = [attack for attack in attacks if attack.in_batches]
    container = await workshop.batch_pool.take()
    try:
        inspected = await workshop.engine.inspect(container.identity)
        soft = ["is gone"] if inspected is None else find_softness(inspected, workshop.settings)
        for lack in soft:
            report.reached[f"batch: the container {lack}"] = "is not so"
        calls = [
            FunctionCall(source=IN_BATCH, function="attack", arguments=[PREAMBLE + attack.source], wall_s=20, cpu_s=20)
            for attack in tried
        ]
        for attack, answer in zip(tried, await run_batch(container, calls, workers=1), strict=True):
            verdict = str(answer.value) if answer.has_value else f"no verdict: {answer.status} {answer.detail}"
            held = verdict.startswith("held") and len(verdict.splitlines()) == 1
            (report.held if held else report.reached)[f"batch: {attack.name}"] = verdict
    finally:
        workshop.discard_batch(container)


async def _attack(container: Container, attack: Attack) -> str:
    """`held ...` only where the attack says so itself; a crash or a timeout proves nothing and counts as reached."""
    outcome = await container.run(Call("python", PREAMBLE + attack.source, PROBE_LIMITS))
    answer = name_outcome(outcome, PROBE_LIMITS, image_digest="", policy_digest="")
    lines = answer.stdout.strip().splitlines()
    if answer.status != "ok" or len(lines) != 1:
        return f"no verdict: {answer.status} {answer.stderr.strip()[-200:]}"
    return lines[0]


async def require_hardness(workshop: Workshop) -> ProbeReport:
    """Raises `ProbeFailed` unless every attack held, or the settings say to serve all the same."""
    report = await probe(workshop)
    if not report.passed and not workshop.settings.allow_failed_probe:
        raise ProbeFailed(f"the sandbox does not hold, so the code tools do not serve: {report.summary()}")
    return report
