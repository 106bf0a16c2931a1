"""vLLM on a server of its own, asked over HTTP: one call for each completion, weights through a file both sides see.

The server is one that `python -m trainer.sampling.vllm_server` started. Everything that it answers is checked before it
can become a rollout: that it is about the prompt that was asked, that there are as many log-probabilities as tokens.
"""

import contextlib
import math
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from trainer.contract.endpoints import Endpoint, EndpointError, call
from trainer.contract.vllm import VllmSettings
from trainer.failures import InvalidSpec, RunFailed
from trainer.sampling.arriving import Arriving
from trainer.sampling.engine import StopReason
from trainer.sampling.rows import Row, RowReader
from trainer.sampling.vllm_engine import VllmFacts, sampling_fields

MODEL = "policy"
"""Name by which the server knows the model."""
CONCURRENCY = 256
"""Completions asked for at the same time; the server puts them into batches by itself."""
ATTEMPTS, FIRST_WAIT = 4, 1.0
"""Calls for one completion while the server is busy or away, and seconds before the second, doubled with each."""
LOOK_SECONDS = 0.02
"""Between two looks for rows that have come and for a wish to stop, while none has been answered."""
CONTROL_SECONDS, LOAD_SECONDS = 30.0, 1800.0
ANEW = "; see its output, start it anew, and resume from the last checkpoint."
WRONG = "; resume from the last checkpoint once it answers as it should."


class VllmServer:
    """A server that belongs to this run while it trains."""

    def __init__(self, settings: VllmSettings, *, folder: Path) -> None:
        """`folder`: for the file of weights, where the settings name none. Raises InvalidSpec where there is no such
        server.
        """
        self._settings = settings
        self._control = Endpoint(base_url=settings.server, model=MODEL, api_key_env=settings.api_key_env)
        self._api = Endpoint(base_url=f"{settings.server}/v1", model=MODEL, api_key_env=settings.api_key_env)
        self._file = Path(settings.weights_directory or folder).absolute() / "weights.safetensors"
        self.facts = describe_server(settings)

    def load(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        dtype = getattr(torch, self.facts.dtype)
        tensors = {name: weight.to("cpu", dtype).contiguous() for name, weight in weights}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            save_file(tensors, self._file)
            answers = _command(self._control, "load_policy_file", [str(self._file)], seconds=LOAD_SECONDS)
        except EndpointError as error:
            raise RunFailed(f"the vLLM server did not take the policy's weights: {error}{ANEW}") from error
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or error
            raise RunFailed(
                f"the weights for the vLLM server cannot be written to {self._file} ({reason}); make room or set "
                "vllm.weights_directory, and resume."
            ) from error
        finally:
            with contextlib.suppress(OSError):
                self._file.unlink()
        for answer in answers:
            if answer.get("unseen"):
                raise RunFailed(
                    f"the vLLM server does not see the policy's weights in {self._file}; set vllm.weights_directory to "
                    "a directory that trainer and server see by the same name, and resume."
                )
            if answer.get("error"):
                raise RunFailed(f"the vLLM server did not take the policy's weights ({answer['error']}){ANEW}")

    def reset_prefix_cache(self) -> bool:
        try:
            answer = call(self._control, "/reset_prefix_cache", {}, seconds=CONTROL_SECONDS)
        except EndpointError as error:
            raise RunFailed(f"the vLLM server did not empty its prefix cache: {error}") from error
        return isinstance(answer, dict) and answer.get("success") is True

    def generate(self, rows: Arriving, reader: RowReader, should_stop: Callable[[], bool]) -> None:
        asking = _Asking(self._ask, threads=CONCURRENCY)
        missing: set[Row] = set()
        try:
            while missing or (not should_stop() and rows.wait()):
                fresh = rows.take()
                missing.update(fresh)
                if should_stop():
                    for row in missing:
                        row.reason = StopReason.INTERRUPTED
                        rows.ended(row)
                    return
                asking.add(fresh)
                try:
                    row, answer = asking.done.get(timeout=LOOK_SECONDS)
                except queue.Empty:
                    continue
                if isinstance(answer, Exception):
                    raise RunFailed(f"{answer}{WRONG}") from answer
                _read(row, answer, reader, vocabulary=self.facts.vocabulary)
                missing.remove(row)
                rows.ended(row)
        finally:
            asking.over.set()

    def sleep(self) -> bool:
        """The server has a device of its own and keeps what it has."""
        return True

    def wake_up(self, part: Literal["weights", "kv_cache"]) -> None:
        """It never slept."""

    def close(self) -> None:
        """The server goes on; whoever started it ends it."""

    def _ask(self, row: Row, over: threading.Event) -> Any:
        """The server's answer to one row; raises EndpointError once it had `ATTEMPTS` calls."""
        body = {
            **sampling_fields(row),
            "model": MODEL,
            "prompt": list(row.request.prompt_ids),
            "stop": list(row.stop),
            "return_token_ids": True,
            "stream": False,
        }
        for attempt in range(ATTEMPTS):
            try:
                return call(self._api, "/completions", body, seconds=self._settings.seconds)
            except EndpointError as error:
                if not error.again or attempt + 1 == ATTEMPTS:
                    raise
                if over.wait(max(FIRST_WAIT * 2**attempt, min(error.wait_s, 60.0))):
                    raise
        raise AssertionError("the last attempt returns or raises")


def describe_server(settings: VllmSettings) -> VllmFacts:
    """What the server is; raises InvalidSpec when it is no vLLM that takes weights."""
    where = f"vllm.server: {settings.server}"
    way_out = "Start one by `python -m trainer.sampling.vllm_server`, or correct the address."
    control = Endpoint(base_url=settings.server, model=MODEL, api_key_env=settings.api_key_env)
    try:
        facts = VllmFacts(**_command(control, "describe_policy", [], seconds=CONTROL_SECONDS)[0])
    except EndpointError as error:
        if error.status in (404, 405, 500, 501):
            raise InvalidSpec(
                f"{where} is no vLLM server that takes weights (status {error.status}). {way_out}"
            ) from error
        raise InvalidSpec(f"vllm.server: {str(error).rstrip('.')}. {way_out}") from error
    except TypeError as error:
        raise InvalidSpec(f"{where} does not say what it serves. {way_out}") from error
    if facts.broken:
        raise InvalidSpec(f"{where} took weights in part only and can take none any more; start it anew.")
    return facts


def _command(control: Endpoint, method: str, arguments: list[str], *, seconds: float) -> list[dict[str, Any]]:
    """Call a method of `trainer.sampling.vllm_worker` on the server; what each of its workers answers."""
    body = {"method": method, "args": arguments, "timeout": seconds}
    answer = call(control, "/collective_rpc", body, seconds=seconds)
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list) or not results or not all(isinstance(one, dict) for one in results):
        raise EndpointError(f"{control.base_url} answers {method} with nothing that a worker of ours says.")
    return results


class _Asking:
    """Threads that ask for rows, as many as there are rows but at most `threads`. One ends when no row waits for it;
    what is still being asked is left behind when it is over.
    """

    def __init__(self, ask: Callable[[Row, threading.Event], Any], *, threads: int) -> None:
        self.done: queue.SimpleQueue[tuple[Row, Any]] = queue.SimpleQueue()
        self.over = threading.Event()
        self._ask = ask
        self._threads = threads
        self._lock = threading.Lock()
        self._waiting: deque[Row] = deque()
        self._working = 0

    def add(self, rows: Sequence[Row]) -> None:
        with self._lock:
            self._waiting.extend(rows)
            more = min(len(rows), self._threads - self._working)
            self._working += more
        for _ in range(more):
            threading.Thread(target=self._work, daemon=True).start()

    def _next(self) -> Row | None:
        with self._lock:
            if self._waiting and not self.over.is_set():
                return self._waiting.popleft()
            self._working -= 1
            return None

    def _work(self) -> None:
        while (row := self._next()) is not None:
            try:
                self.done.put((row, self._ask(row, self.over)))
            except Exception as error:  # told by the thread that waits
                self.done.put((row, error))


def _read(row: Row, answer: Any, reader: RowReader, *, vocabulary: int) -> None:
    """Put the sampled tokens into the row, as far as they belong to it; raises RunFailed for an answer to no question
    of ours.
    """
    try:
        (choice,) = answer["choices"]
        tokens, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
        prompt, ended = choice["prompt_token_ids"], choice["finish_reason"]
    except (KeyError, TypeError, ValueError) as error:
        raise RunFailed(
            f"the vLLM server answered without token ids or log-probabilities ({type(error).__name__}: {error}){WRONG}"
        ) from error
    if prompt != list(row.request.prompt_ids):
        raise RunFailed(f"the vLLM server answered another prompt than the one it was asked{WRONG}")
    if not isinstance(tokens, list) or not isinstance(logprobs, list) or len(tokens) != len(logprobs):
        raise RunFailed(f"the vLLM server gave not one log-probability for each token{WRONG}")
    for token, logprob in zip(tokens, logprobs, strict=True):
        if not isinstance(token, int) or not 0 <= token < vocabulary:
            raise RunFailed(f"the vLLM server sampled {token!r}, which is no token of its {vocabulary}{WRONG}")
        if not isinstance(logprob, int | float) or not math.isfinite(logprob) or logprob > 1e-3:
            raise RunFailed(f"the vLLM server gave {logprob!r} as a log-probability{WRONG}")
        if row.reason is None:
            reader.add(row, token, float(logprob))
    if row.reason is None and row.stop and ended == "stop":
        # Beside the prompt it may read a stop string, as a leading space, that the completion's own text does not show.
        row.reason = StopReason.STOP_STRING
    if row.reason is None:
        raise RunFailed(
            f"the vLLM server ended a completion after {len(tokens)} of {row.room} tokens for a reason of its own "
            f"({ended}){WRONG}"
        )
