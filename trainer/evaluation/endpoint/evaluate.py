"""Scoring one task with an agent behind an endpoint: so many episodes at a time, each kept as soon as it has ended."""

import hashlib
import json
import queue
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from trainer.contract import TaskSpec
from trainer.contract.endpoints import EndpointError, probe
from trainer.contract.events import ScoredSample
from trainer.contract.toolsets import ToolsetSpec
from trainer.evaluation.endpoint.asking import Asking, TurnAsker
from trainer.evaluation.endpoint.chat import ChatEpisode, begin_chat
from trainer.evaluation.endpoint.kept import KeptAnswers
from trainer.evaluation.errors import EvaluationInterrupted, TaskError
from trainer.evaluation.judging import Played, check_items, judge, open_rewards
from trainer.evaluation.tasks import Item, read_rows, render_items
from trainer.failures import RunFailed
from trainer.rollouts.playing import play
from trainer.rollouts.rollout import Ending
from trainer.rollouts.tool_client import ToolClient, read_tools
from trainer.sampling.randomness import seed_for

LOOK_SECONDS = 0.2
"""How often a request to stop is looked for."""


@dataclass(frozen=True)
class Price:
    """Of a million tokens."""

    prompt: float
    completion: float


@dataclass(frozen=True)
class Remote:
    """The agent and how it is asked."""

    asking: Asking
    toolset: ToolsetSpec
    concurrency: int = 8
    """Episodes at a time."""
    price: Price | None = None


def score_remote_task(
    task: TaskSpec,
    data: Path,
    remote: Remote,
    *,
    path: Path,
    tell: Callable[[int, int], None],
    should_stop: Callable[[], bool] = lambda: False,
) -> list[ScoredSample]:
    """Score one task and write its samples to `path`, in the order of the rows; what was answered before is kept.

    Raises TaskError for what cannot be begun, RunFailed when endpoint, tools or judge fail one item after the other,
    and EvaluationInterrupted.
    """
    if not task.uses_tools:
        raise TaskError(
            f"{task.task} is of output_type {task.output_type}, which an endpoint cannot answer; evaluate tasks of "
            "output_type agent there, and others with a model directory"
        )
    items = render_items(task, read_rows(data), tokenizer=None)
    rewards = open_rewards(task)
    check_items(task, rewards, items)
    if reason := probe(remote.asking.endpoint):
        raise TaskError(f"--endpoint: {reason}")
    key, functions = read_tools(remote.toolset)
    kept = KeptAnswers(path, _identify(task, data, remote, functions))
    found = {item.id: kept.samples[item.id] for item in items if item.id in kept.samples}
    tell(len(found), len(items))

    def answer(item: Item, over: threading.Event) -> ScoredSample:
        played = _play(task, item, remote, key, functions, over)
        return judge(task, rewards, [played], limits=remote.toolset.limits)[0]

    try:
        _ask_all(
            [item for item in items if item.id not in found],
            answer,
            lambda sample: _keep(sample, kept, found, tell, len(items)),
            concurrency=remote.concurrency,
            should_stop=should_stop,
        )
        samples = [found[item.id] for item in items]
        kept.finish(samples)
    finally:
        kept.close()
    return samples


def _keep(
    sample: ScoredSample,
    kept: KeptAnswers,
    found: dict[str, ScoredSample],
    tell: Callable[[int, int], None],
    total: int,
) -> None:
    kept.add(sample)
    found[sample.item] = sample
    tell(len(found), total)


def _play(
    task: TaskSpec,
    item: Item,
    remote: Remote,
    key: str,
    functions: Sequence[dict[str, Any]],
    over: threading.Event,
) -> Played:
    """One episode from its question to its end; raises EndpointError and EvaluationInterrupted."""
    toolset = remote.toolset
    schemas = {one["function"]["name"]: one["function"].get("parameters", {}) for one in functions}
    seed = seed_for(task.generation_kwargs.seed, item.id)
    episode = begin_chat(item, task, schemas, toolset.limits, seed=seed)
    model = remote.asking.endpoint.model
    play(
        [episode],
        cast(Any, TurnAsker(remote.asking, over)),
        lambda: ToolClient(toolset.address, toolset.limits, key=key),
        request=lambda one: cast(Any, cast(ChatEpisode, one).ask(task, model, functions)),
        name=lambda one: f"evaluation {uuid.uuid4().hex[:12]} {item.id}",
        longest=0,
        should_stop=over.is_set,
    )
    if episode.ending is Ending.INTERRUPTED:
        raise EvaluationInterrupted
    return _describe(item, episode, remote.price)


def _describe(item: Item, episode: ChatEpisode, price: Price | None) -> Played:
    assert episode.ending is not None
    read, written = episode.told, episode.written
    cost = None
    if price is not None and read is not None and written is not None:
        cost = (read * price.prompt + written * price.completion) / 1e6
    return Played(
        item=item,
        answer=episode.answer,
        ending=episode.ending,
        reason=episode.reason,
        turns=episode.texts,
        calls=episode.made,
        tokens=written or 0,
        seconds=episode.ended - episode.begun,
        prompt_tokens=read,
        completion_tokens=written,
        cost=cost,
    )


def _ask_all(
    items: Sequence[Item],
    answer: Callable[[Item, threading.Event], ScoredSample],
    keep: Callable[[ScoredSample], None],
    *,
    concurrency: int,
    should_stop: Callable[[], bool],
) -> None:
    """Answer all by so many threads, which are left behind when a stop is asked for or nothing works any more."""
    left: queue.SimpleQueue[Item] = queue.SimpleQueue()
    done: queue.SimpleQueue[ScoredSample | BaseException] = queue.SimpleQueue()
    over = threading.Event()
    for item in items:
        left.put(item)

    def work() -> None:
        while not over.is_set():
            try:
                done.put(answer(left.get_nowait(), over))
            except queue.Empty:
                return
            except BaseException as error:
                done.put(error)
                return

    lanes = min(concurrency, len(items))
    for _ in range(lanes):
        threading.Thread(target=work, daemon=True).start()
    missing, failed_in_row = len(items), 0
    try:
        while missing:
            if should_stop():
                raise EvaluationInterrupted
            try:
                found = done.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            if isinstance(found, EndpointError):
                raise RunFailed(f"{found} What was answered is kept: run the same command again.") from found
            if isinstance(found, BaseException):
                raise found
            keep(found)
            missing -= 1
            failed_in_row = failed_in_row + 1 if found.status == "left_out" else 0
            if missing and failed_in_row >= max(4, 2 * lanes):
                raise RunFailed(
                    f"the last {failed_in_row} items could not be asked or judged; of the last one: "
                    f"{found.detail.get('reason', '')} What was answered is kept: repair that and run the same command "
                    "again."
                )
    finally:
        over.set()


def _identify(task: TaskSpec, data: Path, remote: Remote, functions: Sequence[dict[str, Any]]) -> str:
    """Hash of all that an answer depends on; where tools and endpoint are may change, what they are may not."""
    content = {
        "task": task.model_dump(mode="json"),
        "rows": hashlib.sha256(data.read_bytes()).hexdigest(),
        "model": remote.asking.endpoint.model,
        "extra": remote.asking.extra,
        "tools": list(functions),
        "limits": remote.toolset.limits.model_dump(mode="json"),
        "corpus": remote.toolset.corpus.sha256 if remote.toolset.corpus else "",
    }
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
