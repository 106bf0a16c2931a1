"""One call on one container: its limits, checked before, and its one terminal status, given after."""

from dataclasses import dataclass

from toolsandbox.code.container import Call, Container, ContainerDied, SandboxFailed, name_outcome
from toolsandbox.code.engine import EngineError
from toolsandbox.code.settings import CallLimits, CodeSettings
from toolsandbox.contract import CodeAnswer

LANGUAGES = ("python", "bash", "pytest")


class CallRefused(Exception):
    """The request cannot be run as it is; the message says what to change."""


@dataclass(frozen=True)
class Stamp:
    """What every answer carries of the sandbox that gave it."""

    image_digest: str = ""
    policy_digest: str = ""

    def answer(self, status: str, **facts: object) -> CodeAnswer:
        return CodeAnswer.model_validate({"status": status, **vars(self), **facts})


def choose_limits(
    settings: CodeSettings, *, wall_s: float | None = None, cpu_s: float | None = None, output_bytes: int | None = None
) -> CallLimits:
    """Limits of one call: the settings' own where nothing is asked for. Raises `CallRefused`: what is asked for is
    never silently clamped. Who asks for more time on the clock gets as much of the processor's."""
    usual = settings.limits
    asked: dict[str, float] = {}
    most = settings.most_wall_s
    if wall_s is not None:
        if isinstance(wall_s, bool) or not 0 < wall_s <= most:
            raise CallRefused(f"timeout: {wall_s!r} is not between 0 and {most:g} seconds; 0 does not mean `no limit`")
        asked |= {"wall_s": wall_s, "cpu_s": max(usual.cpu_s, wall_s)}
    if cpu_s is not None:
        if not 0 < cpu_s <= 600:
            raise CallRefused(f"cpu time: {cpu_s!r} is not between 0 and 600 seconds")
        asked["cpu_s"] = cpu_s
    if output_bytes is not None:
        if not 0 < output_bytes <= 64 << 20:
            raise CallRefused(f"output: {output_bytes!r} is not between 1 and {64 << 20} bytes")
        asked["output_bytes"] = output_bytes
    return usual.model_copy(update=asked)


def find_refusal(settings: CodeSettings, call: Call) -> str | None:
    """Why this call is not run at all, or None."""
    if call.kind not in (*LANGUAGES, "value"):
        return f"language: {call.kind!r} is not one of {', '.join(LANGUAGES)}"
    size = len(call.code.encode("utf-8", "surrogatepass")) + len(call.expression.encode("utf-8", "surrogatepass"))
    if size > settings.most_program_bytes:
        return f"code: {size} bytes, at most {settings.most_program_bytes}"
    if len(call.stdin) > settings.most_stdin_bytes:
        return f"stdin: {len(call.stdin)} bytes, at most {settings.most_stdin_bytes}"
    return None


async def run_call(container: Container, call: Call, stamp: Stamp) -> CodeAnswer:
    """Every failure is an answer; a container that is useless afterwards is not `alive`."""
    try:
        outcome = await container.run(call)
        return name_outcome(outcome, call.limits, **vars(stamp))
    except ContainerDied as died:
        return await explain_end(container, died, stamp)
    except (SandboxFailed, EngineError, ValueError, KeyError) as failed:
        container.alive = False
        return stamp.answer("infra_error", message=str(failed))


async def explain_end(container: Container, died: ContainerDied, stamp: Stamp) -> CodeAnswer:
    """A container that ended in the middle of a call: out of memory as a whole, ended by us, or lost."""
    if container.discarded:
        return stamp.answer("killed", message="the session was ended while the call ran")
    try:
        state = await container.read_end()
    except EngineError as failed:
        return stamp.answer("infra_error", message=f"the container was lost: {failed}")
    if state is not None and state.get("OOMKilled"):
        return stamp.answer("oom", signal=9)
    return stamp.answer("infra_error", message=f"the container was lost: {died}")
