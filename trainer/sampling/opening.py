"""The engine that a stage samples with."""

import importlib.util
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from trainer.contract.spec import RunSpec
from trainer.contract.stages.rollouts import RolloutStage
from trainer.contract.vllm import VllmSettings
from trainer.failures import InvalidSpec
from trainer.sampling.engine import Engine

if TYPE_CHECKING:
    from trainer.algorithms.base import StageContext


def open_engine(stage: RolloutStage, context: "StageContext") -> Engine:
    """Ready to sample from the policy as it is. Raises InvalidSpec or RunFailed when it cannot be had."""
    return OPENERS[stage.sampler](stage, context)


def check_samplers(spec: RunSpec) -> None:
    """Raises InvalidSpec for samplers of any stage that are not there, lest hours of training end at the last one's."""
    numbers = [
        number
        for number, stage in enumerate(spec.recipe.stages)
        if isinstance(stage, RolloutStage) and stage.sampler == "vllm"
    ]
    if not numbers:
        return
    field = f"recipe.stages[{numbers[0]}].sampler"
    if read_settings(spec).server:
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InvalidSpec(
            f"{field}: vLLM inside of the trainer samples for one process, and several train; name a server in "
            "vllm.server or TRAINER_VLLM_SERVER, set processes to 1, or choose sampler: torch."
        )
    if importlib.util.find_spec("vllm") is None:
        raise InvalidSpec(
            f"{field}: sampler: vllm is chosen and vLLM is not installed; install it beside the trainer (pip install "
            "'chanote[vllm]'), name a server in vllm.server or TRAINER_VLLM_SERVER, or choose sampler: torch."
        )


def read_settings(spec: RunSpec) -> VllmSettings:
    """The run's, completed by the environment; raises InvalidSpec for a variable that makes no sense."""
    try:
        return spec.vllm.with_environment(os.environ)
    except ValueError as error:
        raise InvalidSpec(f"vllm: a variable TRAINER_VLLM_… cannot be used: {error}") from error


def _open_torch(stage: RolloutStage, context: "StageContext") -> Engine:
    from trainer.sampling.torch_engine import TorchEngine

    return TorchEngine(context.policy.model, context.policy.tokenizer)


def _open_vllm(stage: RolloutStage, context: "StageContext") -> Engine:
    from trainer.sampling.vllm_client import VllmServer
    from trainer.sampling.vllm_colocated import ColocatedVllm
    from trainer.sampling.vllm_engine import VllmBackend, VllmEngine, logprobs_mode

    settings, policy, sampling = read_settings(context.spec), context.policy, stage.sampling
    mode = logprobs_mode(temperature=sampling.temperature, top_p=sampling.top_p)
    assert mode is not None  # the contract refuses what has none
    backend: VllmBackend
    if settings.server:
        backend = VllmServer(settings, folder=context.out / "sampler")
        _check_server(settings, backend, stage=stage, mode=mode, field=f"recipe.stages[{context.number}]")
    else:
        backend = ColocatedVllm(
            policy.model, policy.tokenizer, context=stage.sequence_length, mode=mode, settings=settings
        )
    return VllmEngine(
        policy.model,
        policy.tokenizer,
        backend,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        tolerance=settings.tolerance,
        ranks=context.ranks,
    )


def _check_server(
    settings: VllmSettings, backend: "VllmBackend", *, stage: RolloutStage, mode: str, field: str
) -> None:
    facts = backend.facts
    if facts.context < stage.sequence_length:
        raise InvalidSpec(
            f"{field}.sequence_length: the vLLM server at {settings.server} was started for {facts.context} tokens and "
            f"sequences have up to {stage.sequence_length}; start it with --max-model-len {stage.sequence_length}."
        )
    if facts.logprobs != mode and not (stage.sampling.temperature == 1 and stage.sampling.top_p == 1):
        raise InvalidSpec(
            f"{field}.sampling: the vLLM server at {settings.server} gives {facts.logprobs}, and temperature "
            f"{stage.sampling.temperature:g} with top_p {stage.sampling.top_p:g} wants {mode}; start it with "
            f"--logprobs-mode {mode}."
        )


OPENERS: dict[str, Callable[[RolloutStage, "StageContext"], Engine]] = {"torch": _open_torch, "vllm": _open_vllm}
