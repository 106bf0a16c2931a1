"""Reading `run.json`."""

from pathlib import Path

from pydantic import ValidationError

from trainer.contract.rewards import reward_kinds
from trainer.contract.spec import RunSpec
from trainer.contract.stages import stage_kinds
from trainer.failures import InvalidSpec


def read_spec(out: Path) -> RunSpec:
    """The run spec of an attempt directory; raises InvalidSpec with one sentence per field that is wrong."""
    path = out / "run.json"
    try:
        return RunSpec.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidSpec(f"{path} cannot be read ({error.strerror}); it must hold a run spec.") from error
    except ValidationError as error:
        raise InvalidSpec([_sentence(dict(problem)) for problem in error.errors(include_url=False)]) from error


def _sentence(problem: dict[str, object]) -> str:
    location = problem["loc"]
    assert isinstance(location, tuple)
    kinds = {*stage_kinds(), *reward_kinds()}
    field = ""
    for before, part in zip((None, *location), location, strict=False):
        if isinstance(part, int):
            field += f"[{part}]"
        elif not (isinstance(before, int) and part in kinds):  # pydantic names the kind that it chose by `kind`
            field += f".{part}"
    field = field.lstrip(".")
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{field or 'run.json'}: {message}."
