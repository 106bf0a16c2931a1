"""The engine that a stage samples with."""

import importlib.util
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeGuard

from trainer.contract.spec import RunSpec
from trainer.contract.stages.base import StageBase
from trainer.contract.stages.rollouts import RolloutStage
from trainer.contract.vllm import VllmSettings
from trainer.failures import InvalidSpec
from trainer.sampling.engine import Engine

if TYPE_CHECKING:
    from trainer.algorithms.base import StageContext
    from trainer.sampling.vllm_engine import LogprobsMode, VllmFacts


def open_engine(stage: RolloutStage, context: "StageContext") -> Engine:
    """Ready to sample from the policy as it is. Raises InvalidSpec or RunFailed when it cannot be had."""
    return OPENERS[stage.sampler](stage, context)


def asks_vllm(stage: StageBase) -> TypeGuard[RolloutStage]:
    return isinstance(stage, RolloutStage) and stage.sampler == "vllm"


def check_samplers(spec: RunSpec) -> None:
    """Raises InvalidSpec for samplers of any stage that are not there, lest hours of training end at the last one's."""
    stages = {f"recipe.stages[{number}]": stage for number, stage in enumerate(spec.recipe.stages) if asks_vllm(stage)}
    if not stages:
        return
    field = f"{next(iter(stages))}.sampler"
    settings = read_settings(spec)
    if settings.server:
        from trainer.sampling.vllm_client import describe_server

        facts = describe_server(settings)
        for place, stage in stages.items():
            _check_server(settings, facts, stage=stage, field=place)
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InvalidSpec(
            f"{field}: vLLM inside of the trainer samples for one process, and several train; name a server in "
            "vllm.server or TRAINER_VLLM_SERVER, set processes to 1, or choose sampler: torch."
        )
    elif importlib.util.find_spec("vllm") is None:
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
    from trainer.sampling.vllm_engine import VllmBackend, VllmEngine

    settings, policy, sampling = read_settings(context.spec), context.policy, stage.sampling
    backend: VllmBackend
    if settings.server:
        backend = VllmServer(settings, folder=context.out / "sampler")
        _check_server(settings, backend.facts, stage=stage, field=f"recipe.stages[{context.number}]")
        _check_shape(settings, backend.facts, policy.model)
    else:
        backend = ColocatedVllm(
            policy.model, policy.tokenizer, context=stage.sequence_length, mode=_wanted_mode(stage), settings=settings
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


def _wanted_mode(stage: RolloutStage) -> "LogprobsMode":
    from trainer.sampling.vllm_engine import logprobs_mode

    mode = logprobs_mode(temperature=stage.sampling.temperature, top_p=stage.sampling.top_p)
    assert mode is not None  # the contract refuses what has none
    return mode


def _check_server(settings: VllmSettings, facts: "VllmFacts", *, stage: RolloutStage, field: str) -> None:
    """Raises InvalidSpec where the server was started for other requests than the stage's."""
    mode, sampling = _wanted_mode(stage), stage.sampling
    if facts.context < stage.sequence_length:
        raise InvalidSpec(
            f"{field}.sequence_length: the vLLM server at {settings.server} was started for {facts.context} tokens and "
            f"sequences have up to {stage.sequence_length}; start it with --max-model-len {stage.sequence_length}."
        )
    if facts.logprobs != mode and not (sampling.temperature == 1 and sampling.top_p == 1):
        raise InvalidSpec(
            f"{field}.sampling: the vLLM server at {settings.server} gives {facts.logprobs}, and temperature "
            f"{sampling.temperature:g} with top_p {sampling.top_p:g} wants {mode}; start it with "
            f"--logprobs-mode {mode}."
        )


def _check_shape(settings: VllmSettings, facts: "VllmFacts", model: Any) -> None:
    from trainer.sampling.policy_weights import name_architecture

    own = (name_architecture(model), int(model.config.get_text_config().vocab_size))
    if own != (facts.architecture, facts.vocabulary):
        raise InvalidSpec(
            f"vllm.server: {settings.server} was started for a {facts.architecture} with {facts.vocabulary} tokens and "
            f"the policy is a {own[0]} with {own[1]}; start it with the run's own base."
        )


OPENERS: dict[str, Callable[[RolloutStage, "StageContext"], Engine]] = {"torch": _open_torch, "vllm": _open_vllm}
