"""Playing many episodes at once: one thread samples, another waits for tools.

A trajectory that waits for a tool leaves the batch, and the engine goes on with all others; when the tool has answered,
it is a request like any other. How long a tool takes therefore delays its own trajectory only. Seeds belong to the turn
of an episode, so that what is sampled does not depend on who was sampled beside it, up to the rounding of the sums.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from trainer.rollouts.calls import Call
from trainer.rollouts.episode import Episode, State
from trainer.rollouts.rollout import Ending, ToolResult
from trainer.sampling.engine import Completion, Engine, Requests, SamplingRequest, TakesRequests

LOOK_SECONDS = 0.2
"""Between two looks for a wish to stop, while every episode waits for a tool."""


class Tools(Protocol):
    """What makes calls; opened, used and closed within one event loop."""

    async def call(self, call: Call, *, session: str, key: str) -> ToolResult: ...

    async def end(self, session: str) -> None:
        """The episode is over; never raises."""

    async def close(self) -> None: ...


def play(
    episodes: Sequence[Episode],
    engine: Engine,
    open_tools: Callable[[], Tools],
    *,
    request: Callable[[Episode], SamplingRequest],
    name: Callable[[Episode], str],
    longest: int,
    in_step: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Play all episodes to their end. `request`: the next turn of one; `name`: what the tool service knows it by;
    `in_step`: sample next turns only when every tool has answered.

    Raises whatever sampling raises; then, and when asked to stop, unfinished episodes end as interrupted.
    """
    with _ToolThread(episodes, open_tools, request, name, in_step=in_step, should_stop=should_stop) as thread:
        serve = engine.serve if isinstance(engine, TakesRequests) else _in_rounds(engine)
        serve(
            thread,
            most=len(episodes),
            longest=longest,
            should_stop=lambda: thread.failed or should_stop(),
        )
    for episode in episodes:
        if episode.state is not State.ENDED:
            episode.end(Ending.INTERRUPTED)


class _ToolThread:
    """The episodes' coroutines in an event loop of their own; to the engine, a source of requests."""

    def __init__(
        self,
        episodes: Sequence[Episode],
        open_tools: Callable[[], Tools],
        request: Callable[[Episode], SamplingRequest],
        name: Callable[[Episode], str],
        *,
        in_step: bool,
        should_stop: Callable[[], bool],
    ) -> None:
        self._should_stop = should_stop
        self._episodes, self._open_tools, self._request, self._name = episodes, open_tools, request, name
        self._in_step = in_step
        self._unfinished = len(episodes)
        self._news = threading.Condition()
        self._ready: deque[tuple[int, SamplingRequest]] = deque()
        self._over = False
        self._fault: BaseException | None = None
        self._turns: dict[int, asyncio.Future[Completion]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="tools", daemon=True)
        self._main: asyncio.Task[None] | None = None

    def __enter__(self) -> "_ToolThread":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._tell(self._cancel)
        self._thread.join()
        if self._fault is not None and raised[0] is None:
            raise self._fault

    # For the engine, in its thread.

    def take(self) -> Sequence[tuple[int, SamplingRequest]]:
        if not self._may_go_on():
            return ()
        with self._news:
            found = sorted(self._ready, key=lambda one: one[0])
            self._ready.clear()
        return found

    def wait(self) -> bool:
        with self._news:
            while not self._news.wait_for(lambda: self._may_go_on() or self._over, timeout=LOOK_SECONDS):
                if self._should_stop():
                    return False
            return bool(self._ready)

    def answer(self, number: int, completion: Completion) -> None:
        self._tell(self._finish_turn, number, completion)

    @property
    def failed(self) -> bool:
        return self._fault is not None

    def _tell(self, what: Callable[..., object], *about: object) -> None:
        """Have it done in the loop, unless that has come to its end."""
        with self._news:
            if not self._over:
                self._loop.call_soon_threadsafe(what, *about)

    def _may_go_on(self) -> bool:
        return bool(self._ready) and (not self._in_step or len(self._ready) == self._unfinished)

    # In the loop's thread.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._main = self._loop.create_task(self._play_all())
        try:
            self._loop.run_until_complete(self._main)
        except asyncio.CancelledError:
            pass
        except BaseExceptionGroup as group:
            self._fault = group.exceptions[0]
        except BaseException as error:
            self._fault = error
        finally:
            with self._news:
                self._over = True
                self._news.notify_all()
            self._loop.close()

    def _cancel(self) -> None:
        if self._main is not None:
            self._main.cancel()

    def _finish_turn(self, number: int, completion: Completion) -> None:
        turn = self._turns.pop(number)
        if not turn.done():
            turn.set_result(completion)

    async def _play_all(self) -> None:
        tools = self._open_tools()
        try:
            async with asyncio.TaskGroup() as group:
                for number, episode in enumerate(self._episodes):
                    group.create_task(self._play_one(number, episode, tools))
        finally:
            await tools.close()

    async def _play_one(self, number: int, episode: Episode, tools: Tools) -> None:
        await self._play(number, episode, tools)
        with self._news:
            self._unfinished -= 1
            self._news.notify_all()
        if any(one.result.tries for one in episode.made):
            await tools.end(self._name(episode))

    async def _play(self, number: int, episode: Episode, tools: Tools) -> None:
        deadline = self._loop.time() + episode.limits.episode_seconds
        session = self._name(episode)
        while episode.state is not State.ENDED:
            if self._loop.time() >= deadline:
                return episode.end(Ending.DEADLINE)
            episode.wrote(await self._sample(number, self._request(episode)))
            if episode.state is State.CALLING:
                made = [
                    tools.call(call, session=session, key=f"{session}/{episode.turns}/{place}")
                    for place, call in enumerate(episode.calls())
                ]
                try:
                    async with asyncio.timeout_at(deadline):
                        results = await _all(made)
                except TimeoutError:
                    return episode.run_out_of_time()
                episode.answered(results)
        return None

    async def _sample(self, number: int, request: SamplingRequest) -> Completion:
        turn: asyncio.Future[Completion] = self._loop.create_future()
        self._turns[number] = turn
        with self._news:
            self._ready.append((number, request))
            self._news.notify_all()
        return await turn


async def _all(made: Sequence[Coroutine[Any, Any, ToolResult]]) -> list[ToolResult]:
    """Side by side, in their order; a fault of one is a fault of this program and ends all."""
    return list(await asyncio.gather(*made))


def _in_rounds(engine: Engine) -> Callable[..., None]:
    """For an engine that takes no request while it samples: all that are ready, together, until none comes."""

    def serve(requests: Requests, *, most: int, longest: int, should_stop: Callable[[], bool] = lambda: False) -> None:
        while not should_stop() and requests.wait():
            taken = requests.take()
            for (number, _), completion in zip(
                taken, engine.sample([one for _, one in taken], should_stop=should_stop), strict=True
            ):
                requests.answer(number, completion)

    return serve
