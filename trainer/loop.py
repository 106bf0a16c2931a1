"""An attempt from its first event to its last."""

from contextlib import suppress
from pathlib import Path

from trainer.contract.base import ExitCode
from trainer.contract.events import AttemptStopped, RunFinished, StageFinished, StageStarted
from trainer.contract.spec import RunSpec
from trainer.contract.stages.base import TrainingStage
from trainer.contract.stages.evaluate import EvaluateStage
from trainer.events_log import EventLog
from trainer.failures import InvalidSpec, NothingLearnt, RunFailed, StopNow
from trainer.ranks import leave_ranks
from trainer.session import Session, open_session
from trainer.stage import StageWork
from trainer.stopping import StopRequest


def run(out: Path, spec: RunSpec, events: EventLog, stop: StopRequest) -> ExitCode:
    """Do the stages that remain. A stop leaves a checkpoint behind from which a new attempt continues exactly."""
    session = open_session(out, spec, events, stop)
    try:
        for number, stage in session.remaining_stages():
            if isinstance(stage, TrainingStage):
                train(session, number, stage)
            elif isinstance(stage, EvaluateStage):
                evaluate(session, number, stage)
            events.emit(StageFinished(stage=number, step=session.step))
        session.tell_energy()
    except StopNow as reason:
        session.tell_energy()
        events.emit(AttemptStopped(step=session.step, reason=str(reason)))
        return ExitCode.STOPPED
    except Exception:
        if session.ranks.count == 1:  # of several, nobody knows how many are left to ask
            with suppress(RunFailed):
                session.tell_energy()
        raise
    finally:
        session.meter.close()
        leave_ranks(session.ranks)
    events.emit(RunFinished(step=session.step))
    return ExitCode.FINISHED


def train(session: Session, number: int, stage: TrainingStage) -> None:
    """Make the stage's optimiser steps that remain, measuring and saving on the way."""
    work = StageWork(session, number, stage)
    work.tell_started()
    try:
        work.measure_if_due()
        while work.done < work.steps:
            session.stop.leave_together()
            for update in work.collect():
                work.log(work.optimize(update))
            work.end_round()
            work.measure_if_due()
            work.save_if_due()
            session.tell_energy(now=False)
    except StopNow:
        if session.step > session.saved_step:  # a round that was being collected starts over
            work.save(finished=False)
        raise
    except NothingLearnt:
        if session.step > session.saved_step:
            with suppress(RunFailed):  # what ended the run says more than what keeps its weights from being saved
                work.save(finished=False)
        raise
    finally:
        work.close()
    work.save(finished=True)


def evaluate(session: Session, number: int, stage: EvaluateStage) -> None:
    """Score the policy as it stands; scoring starts over when a resumed attempt comes back to this stage."""
    from trainer.evaluation.errors import TaskError
    from trainer.evaluation.stage import run_evaluate_stage

    policy = session.policy
    assert policy is not None  # the contract lets no recipe start without base or initialise
    policy.answer_plainly()
    session.events.emit(StageStarted(stage=number, kind=stage.kind, name=stage.name, first_step=session.step, steps=0))
    with policy.gathered():  # the first rank scores, the others wait for it below
        try:
            finished = not session.ranks.first or run_evaluate_stage(
                model=policy.model,
                tokenizer=policy.tokenizer,
                stage=stage,
                stage_number=number,
                step=session.step,
                spec=session.spec,
                out=session.out,
                events=session.events,
                checkpoint_path=session.model_path,
                model_sha256=session.model_sha256,
                should_stop=session.stop,
            )
        except TaskError as error:
            raise InvalidSpec(str(error)) from error
    if session.ranks.any(not finished):
        session.stop.leave_together()
