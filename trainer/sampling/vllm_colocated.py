"""vLLM inside of the trainer's process, on the policy's own device. Weights are handed over as the tensors they are."""

import contextlib
import gc
import os
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from trainer.contract.vllm import VllmSettings
from trainer.failures import RunFailed
from trainer.sampling.arriving import Arriving
from trainer.sampling.engine import StopReason
from trainer.sampling.policy_weights import name_architecture
from trainer.sampling.rows import Row, RowReader
from trainer.sampling.vllm_engine import LogprobsMode, VllmFacts, sampling_fields
from trainer.sampling.vllm_worker import EXTENSION

CPU_CACHE_BYTES = 1 << 30
ENVIRONMENT = {
    # One process: its worker then sees the policy's tensors, and a trainer that dies leaves nothing behind.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # It would report to its makers otherwise.
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    # On a CPU it warns at every sleep that nothing comes of it.
    "VLLM_LOGGING_LEVEL": "ERROR",
    # The trainer's threads stay where they are.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


class ColocatedVllm:
    """One vLLM for one policy. It starts with random weights: what is not sent to it cannot pass for the policy's."""

    def __init__(self, model: Any, tokenizer: Any, *, context: int, mode: LogprobsMode, settings: VllmSettings) -> None:
        os.environ.update(ENVIRONMENT)
        self._gpu = model.device.type == "cuda"
        self._sleep_level = settings.sleep_level
        self._asleep: set[str] = set()
        self._asked = 0
        options: dict[str, Any] = {"kv_cache_memory_bytes": CPU_CACHE_BYTES, "enforce_eager": True}
        if self._gpu:
            options = {"gpu_memory_utilization": settings.memory_share, "enable_sleep_mode": self._sleep_level > 0}
        with tempfile.TemporaryDirectory(prefix="vllm-") as folder, _as_it_was():
            _write_config(model, tokenizer, Path(folder))
            try:
                from vllm import LLM

                self._llm: Any = LLM(
                    model=folder,
                    skip_tokenizer_init=True,
                    load_format="dummy",
                    dtype="bfloat16" if self._gpu else "float32",
                    max_model_len=context,
                    logprobs_mode=mode,
                    generation_config="vllm",
                    enable_prefix_caching=True,
                    worker_extension_cls=EXTENSION,
                    disable_log_stats=True,
                    **options,
                )
            except Exception as error:  # it raises whatever its parts raise
                raise RunFailed(
                    f"vLLM did not start ({_first_line(error)}); see stderr.log, or choose sampler torch."
                ) from error
        self.facts = VllmFacts(**self._llm.collective_rpc("describe_policy")[0])

    def load(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        try:
            with _as_it_was():
                self._llm.collective_rpc("load_policy", args=(weights,))
        except Exception as error:  # whatever a model's loader raises
            raise RunFailed(
                f"vLLM did not take the policy's weights ({_first_line(error)}); choose sampler torch or another "
                "version of vLLM, and resume from the last checkpoint."
            ) from error

    def reset_prefix_cache(self) -> bool:
        return bool(self._llm.reset_prefix_cache())

    def generate(self, rows: Arriving, reader: RowReader, should_stop: Callable[[], bool]) -> None:
        with _as_it_was():
            self._generate(rows, reader, should_stop)

    def _generate(self, rows: Arriving, reader: RowReader, should_stop: Callable[[], bool]) -> None:
        engine = self._llm.llm_engine
        open_rows: dict[str, Row] = {}
        try:
            while open_rows or (not should_stop() and rows.wait()):
                for row in rows.take():
                    open_rows[self._add(row)] = row
                if should_stop():
                    for row in open_rows.values():
                        row.reason = StopReason.INTERRUPTED
                        rows.ended(row)
                    return
                for output in _step(engine) if open_rows else ():
                    row = open_rows[output.request_id]
                    _read(row, output.outputs[0], reader)
                    if output.finished and row.reason is None:
                        raise RunFailed(
                            f"vLLM ended a completion after {len(row.tokens)} tokens for a reason of its own "
                            f"({output.outputs[0].finish_reason}); resume from the last checkpoint."
                        )
                    if output.finished:
                        del open_rows[output.request_id]
                        rows.ended(row)
                ended = [number for number, row in open_rows.items() if row.reason is not None]
                if ended:
                    engine.abort_request(ended)
                    for number in ended:
                        rows.ended(open_rows.pop(number))
        finally:
            if open_rows:
                engine.abort_request(list(open_rows))

    def _add(self, row: Row) -> str:
        """Give the row to vLLM; returns the name by which its tokens come back."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self._asked += 1
        # Text is read here, token by token, as for every engine.
        params = SamplingParams(**sampling_fields(row), detokenize=False, output_kind=RequestOutputKind.DELTA)
        prompt = {"prompt_token_ids": list(row.request.prompt_ids)}
        self._llm.llm_engine.add_request(str(self._asked), prompt, params)
        return str(self._asked)

    def sleep(self) -> bool:
        if self._sleep_level and not self._asleep:
            self._llm.sleep(level=self._sleep_level)
            self._asleep = {"weights", "kv_cache"}
        return self._sleep_level < 2

    def wake_up(self, part: Literal["weights", "kv_cache"]) -> None:
        if part in self._asleep:
            self._llm.wake_up(tags=[part])
            self._asleep.discard(part)

    def close(self) -> None:
        from vllm.distributed import cleanup_dist_env_and_memory

        self._llm.llm_engine.engine_core.shutdown()
        del self._llm
        with _as_it_was():
            cleanup_dist_env_and_memory()
        gc.collect()


def _step(engine: Any) -> Any:
    """Compute one token for every request; what ended or grew by it."""
    try:
        return engine.step()
    except Exception as error:  # whatever vLLM's kernels raise
        raise RunFailed(
            f"vLLM broke off while it sampled ({_first_line(error)}); see stderr.log, choose sampler torch or another "
            "version of vLLM, and resume from the last checkpoint."
        ) from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}".rstrip(": ")


def _read(row: Row, delta: Any, reader: RowReader) -> None:
    for token, among in zip(delta.token_ids, delta.logprobs, strict=True):
        if row.reason is None:
            reader.add(row, token, among[token].logprob)


def _write_config(model: Any, tokenizer: Any, folder: Path) -> None:
    """What vLLM reads of a checkpoint when it is to load no weights."""
    config = type(model.config).from_dict(model.config.to_dict())
    config.architectures = [name_architecture(model)]
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """vLLM seeds every generator of the process, draws from them and takes its threads; for the run nothing of that
    has happened.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    set_threads, threads = torch.set_num_threads, torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads = set_threads
        torch.set_num_threads(threads)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if gpu:
            torch.cuda.set_rng_state_all(gpu)
