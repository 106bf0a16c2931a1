"""`python -m trainer score`: what rewards make of answers that somebody else sampled, by the code that training uses.

Scores are appended group by group, so that a call that was broken off goes on where it was.
"""

import argparse
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from trainer.contract import ExitCode
from trainer.contract.rewards import check_reachable
from trainer.contract.scoring import REWARDS, AnswerGroup, AnswerScore, GroupScores
from trainer.failures import InvalidSpec, StopNow
from trainer.rewards import Answer, Reward, make_rewards, score_all
from trainer.stopping import StopRequest

GROUPS_AT_ONCE = 16
"""Rewards that ask a judge or a sandbox ask for many answers at a time."""
TURN_SECONDS = 0.1


def main(argv: list[str]) -> int:
    """Score the answers of a file and write a line of scores for each of its lines."""
    arguments = _parser().parse_args(argv)
    stop = StopRequest()
    stop.listen()
    try:
        rewards = read_rewards(arguments.rewards, stop)
        scored = score_file(arguments.answers, arguments.out, rewards, stop)
    except InvalidSpec as invalid:
        for sentence in invalid.errors:
            print(f"trainer score: {sentence}", file=sys.stderr)
        return ExitCode.INVALID_SPEC
    except StopNow:
        return ExitCode.STOPPED
    except OSError as error:
        print(f"trainer score: {error.filename} cannot be used: {error.strerror}.", file=sys.stderr)
        return ExitCode.FAILED
    print(f"{scored} groups are scored in {arguments.out}")
    return ExitCode.FINISHED


def read_rewards(path: Path, stop: StopRequest) -> list[Reward]:
    """The rewards of a JSON list as recipes have it; raises InvalidSpec with all errors."""
    try:
        configs = REWARDS.validate_json(path.read_bytes())
    except ValidationError as error:
        raise InvalidSpec(
            [f"rewards{''.join(f'[{one}]' if isinstance(one, int) else f'.{one}' for one in fault['loc'])}: "
             f"{fault['msg'].removeprefix('Value error, ')}." for fault in error.errors()]
        ) from error  # fmt: skip
    if problems := check_reachable(configs):
        raise InvalidSpec(problems)
    return make_rewards(configs, leave_if_asked=stop.leave_if_asked)


def score_file(answers: Path, out: Path, rewards: Sequence[Reward], stop: StopRequest) -> int:
    """Groups scored in all, also by earlier calls. One call at a time writes: another waits until it is through."""
    with answers.open("rb") as lines, out.open("a", encoding="utf-8") as scores:
        _wait_for_turn(scores.fileno(), stop)
        done = _drop_torn_line(out)
        rest = islice(lines, done, None)
        for block in iter(lambda: list(islice(rest, GROUPS_AT_ONCE)), []):
            stop.leave_if_asked()
            groups = [_read_group(line, done + place) for place, line in enumerate(block, 1)]
            for found in score_groups(groups, rewards):
                scores.write(found.model_dump_json() + "\n")
            scores.flush()
            os.fsync(scores.fileno())
            done += len(block)
    return done


def score_groups(groups: Sequence[AnswerGroup], rewards: Sequence[Reward]) -> Iterator[GroupScores]:
    """A row that lacks what a reward needs gives its answers a fault, not a zero."""
    lacking = [_find_missing(group, rewards) for group in groups]
    answers = [
        Answer(
            row=group.row,
            text=answer.text,
            tokens=answer.tokens,
            longest=group.longest,
            truncated=answer.truncated,
            prompt_text=group.prompt_text,
            group=number,
        )
        for number, (group, faults) in enumerate(zip(groups, lacking, strict=True))
        if not faults
        for answer in group.answers
    ]
    scored = iter(score_all(rewards, answers))
    for group, faults in zip(groups, lacking, strict=True):
        if faults:
            score = AnswerScore(total=None, components=dict.fromkeys(faults), faults=faults)
            yield GroupScores(scores=[score for _ in group.answers])
        else:
            yield GroupScores(
                scores=[
                    AnswerScore(total=one.total, components=one.components, faults=one.faults)
                    for one in islice(scored, len(group.answers))
                ]
            )


def _find_missing(group: AnswerGroup, rewards: Sequence[Reward]) -> dict[str, str]:
    reasons = {reward.config.component: reward.missing(group.row) for reward in rewards}
    return {name: f"The row has {reason}." for name, reason in reasons.items() if reason}


def _read_group(line: bytes, number: int) -> AnswerGroup:
    try:
        return AnswerGroup.model_validate_json(line)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise InvalidSpec(f"line {number} of the answers: {where + ': ' if where else ''}{fault['msg']}.") from error


def _wait_for_turn(descriptor: int, stop: StopRequest) -> None:
    """Lock the file of scores; the lock ends with the process. Raises StopNow."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            stop.leave_if_asked()
            time.sleep(TURN_SECONDS)


def _drop_torn_line(path: Path) -> int:
    """Whole lines of a file of scores; what a broken-off call left of another is cut away."""
    whole, lines = 0, 0
    with path.open("r+b") as file:
        for line in file:
            try:
                json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            whole, lines = whole + len(line), lines + 1
        file.truncate(whole)
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer score", description=main.__doc__)
    parser.add_argument("answers", type=Path, help="JSON lines, one group of answers to a prompt in each")
    parser.add_argument("--rewards", type=Path, required=True, help="JSON list of rewards, as a recipe has it")
    parser.add_argument("--out", type=Path, required=True, help="file that gets the scores; what it has is kept")
    return parser
