"""Scoring one task with a model behind an endpoint: so many items at a time, each kept as soon as it is answered."""

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
from trainer.evaluation.endpoint.answering import open_answering
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
    toolset: ToolsetSpec | None = None
    """Of agents."""
    concurrency: int = 8
    """Episodes or items at a time."""
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
    items = render_items(task, read_rows(data), tokenizer=None, as_messages=True)
    play = _open_agent(task, items, remote) if task.uses_tools else _open_plain(task, items, remote)
    kept = KeptAnswers(path, _identify(task, data, remote, play.functions))
    found = {item.id: kept.samples[item.id] for item in items if item.id in kept.samples}
    tell(len(found), len(items))

    try:
        _ask_all(
            [item for item in items if item.id not in found],
            play.answer,
            lambda sample: _keep(sample, kept, found, tell, len(items)),
            concurrency=remote.concurrency,
            should_stop=should_stop,
        )
        samples = [one for item in items for one in play.judge(item, found[item.id])]
        kept.finish(samples)
    finally:
        kept.close()
    return samples


@dataclass(frozen=True)
class _Playing:
    """How items of a task are answered, and samples made of the answers that are kept."""

    answer: Callable[[Item, threading.Event], ScoredSample]
    judge: Callable[[Item, ScoredSample], list[ScoredSample]]
    functions: Sequence[dict[str, Any]] = ()


def _open_agent(task: TaskSpec, items: Sequence[Item], remote: Remote) -> _Playing:
    if remote.toolset is None:
        raise TaskError(f"{task.task} is answered with tools: add --toolset FILE.yaml")
    toolset = remote.toolset
    rewards = open_rewards(task)
    check_items(task, rewards, items)
    _check_there(remote)
    key, functions = read_tools(toolset)

    def answer(item: Item, over: threading.Event) -> ScoredSample:
        played = _play(task, item, remote, toolset, key, functions, over)
        return judge(task, rewards, [played], limits=toolset.limits)[0]

    return _Playing(answer, lambda item, sample: [sample], functions)


def _open_plain(task: TaskSpec, items: Sequence[Item], remote: Remote) -> _Playing:
    if remote.price is not None:
        raise TaskError(f"--price: cost is told of agents; {task.task} is of output_type {task.output_type}")
    _check_there(remote)
    answering = open_answering(task, remote.asking, items)
    return _Playing(answering.answer, answering.judge)


def _check_there(remote: Remote) -> None:
    if reason := probe(remote.asking.endpoint):
        raise TaskError(f"--endpoint: {reason}")


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
    toolset: ToolsetSpec,
    key: str,
    functions: Sequence[dict[str, Any]],
    over: threading.Event,
) -> Played:
    """One episode from its question to its end; raises EndpointError and EvaluationInterrupted."""
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
    toolset = remote.toolset if task.uses_tools else None
    content = {
        "task": task.model_dump(mode="json"),
        "rows": hashlib.sha256(data.read_bytes()).hexdigest(),
        "model": remote.asking.endpoint.model,
        "extra": remote.asking.extra,
        "tools": list(functions),
        "limits": toolset.limits.model_dump(mode="json") if toolset else None,
        "corpus": toolset.corpus.sha256 if toolset and toolset.corpus else "",
    }
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
