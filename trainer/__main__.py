"""The trainer's command line.

python -m trainer run ATTEMPT_DIR            do the run that ATTEMPT_DIR/run.json describes
python -m trainer evaluate ...               score one model on tasks without a run
python -m trainer rejudge ...                judge stored answers once more, without the model
python -m trainer rescore ...                judge stored answers by a changed task, without the model
python -m trainer tasks ...               ready-made tasks; tasks of lm-evaluation-harness read into ours
python -m trainer serve MODEL ...            answer requests to one model by OpenAI's API
python -m trainer lawtasks CORPUS ...        questions with exact keys from a corpus of law
python -m trainer score ANSWERS ...          value answers by rewards, as training does
python -m trainer schema [recipe|run|event]  print a JSON schema of the contract
"""

import json
import os
import sys
import traceback
from pathlib import Path

from trainer.contract import Contract, EventLine, ExitCode, Recipe, RunSpec
from trainer.contract.events import AttemptFailed
from trainer.events_log import EventLog, Silence
from trainer.failures import EventsUnwritable, InvalidSpec, RunFailed
from trainer.launch import launch, wanted_processes
from trainer.spec_file import read_spec
from trainer.stopping import StopRequest, end_process
from trainer.telling import Teller, say

USAGE = 2
SCHEMAS: dict[str, type[Contract]] = {"recipe": Recipe, "run": RunSpec, "event": EventLine}


def main(arguments: list[str]) -> int:
    match arguments:
        case ["run", directory] if (processes := wanted_processes(Path(directory))) > 1:
            return launch(Path(directory), processes)
        case ["run" | "rank", directory]:
            return run_attempt(Path(directory))
        case ["evaluate", *rest]:
            prepare_process()
            from trainer.evaluation.command import main as evaluate

            return evaluate(rest)
        case ["rejudge", *rest]:
            from trainer.evaluation.rejudge_command import main as rejudge

            return rejudge(rest)
        case ["rescore", *rest]:
            from trainer.evaluation.rescore import main as rescore

            return rescore(rest)
        case ["tasks", *rest]:
            from trainer.evaluation.tasks_command import main as show_tasks

            return show_tasks(rest)
        case ["serve", *rest]:
            prepare_process()
            from trainer.serving.command import main as serve

            return serve(rest)
        case ["lawtasks", *rest]:
            from trainer.lawtasks.command import main as write_law_tasks

            return write_law_tasks(rest)
        case ["score", *rest]:
            from trainer.scoring import main as score

            return score(rest)
        case ["schema"]:
            return print_schema("run")
        case ["schema", name] if name in SCHEMAS:
            return print_schema(name)
        case [] | ["-h" | "--help" | "help"]:
            print(__doc__)
            return 0
        case _:
            print(__doc__, file=sys.stderr)
            return USAGE


def run_attempt(out: Path) -> ExitCode:
    """Run, and say in the event log, on stderr and by the exit code how it ended."""
    stop = StopRequest()
    stop.listen()
    prepare_process()
    if not out.is_dir():
        return _complain(ExitCode.INVALID_SPEC, [f"{out} is no directory; it must hold run.json."])
    try:
        log = Silence() if int(os.environ.get("RANK", "0")) else EventLog(out / "events.jsonl", tell=Teller().tell)
        with log as events:
            try:
                spec = read_spec(out)
                from trainer.loop import run

                return run(out, spec, events, stop)
            except EventsUnwritable:
                raise
            except InvalidSpec as error:
                events.emit(AttemptFailed(error=str(error)))
                return _complain(ExitCode.INVALID_SPEC, error.errors)
            except Exception as error:  # the last one who can tell what happened
                events.emit(AttemptFailed(error=describe(error), detail=traceback.format_exc()))
                say(traceback.format_exc(), sys.stderr)
                return _complain(ExitCode.FAILED, [describe(error)])
    except RunFailed as error:
        return _complain(ExitCode.FAILED, [str(error)])


def prepare_process() -> None:
    """Settings that libraries read when they are imported. One thread gives the same sums on every machine."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def describe(error: Exception) -> str:
    """One sentence for the person who launched the run."""
    if isinstance(error, RunFailed):
        return str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "memory is full; raise gradient_accumulation, or lower sequence_length or batch_size."
    if type(error).__name__.startswith("Dist") or "Connection closed by peer" in str(error):
        return "another process of the attempt ended or could not be reached; the end of stderr.log says why."
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def print_schema(name: str) -> int:
    print(json.dumps(SCHEMAS[name].model_json_schema(), indent=2, ensure_ascii=False))
    return 0


def _complain(code: ExitCode, sentences: list[str]) -> ExitCode:
    for sentence in sentences:
        say(sentence, sys.stderr)
    return code


if __name__ == "__main__":
    end_process(main(sys.argv[1:]))
