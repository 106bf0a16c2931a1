"""Where and how vLLM samples for a stage that chooses it. Facts of a machine: of the run, not the recipe."""

from collections.abc import Mapping

from pydantic import Field, PositiveFloat, field_validator

from trainer.contract.addresses import is_address
from trainer.contract.base import Contract

VARIABLE = "TRAINER_VLLM_"
"""Environment variables that begin so set fields that the run leaves at their defaults: TRAINER_VLLM_SERVER, and so
on."""


class VllmSettings(Contract):
    """vLLM inside of the trainer's process, or a server elsewhere that takes the policy's weights over and over."""

    server: str = Field(default="", examples=["http://127.0.0.1:8001"])
    """Address of a server started by `python -m trainer.sampling.vllm_server`; empty: inside of the trainer's process.
    The server is this run's alone while it trains."""
    api_key_env: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")
    """Environment variable with the server's key; empty: no key is sent."""
    weights_directory: str = ""
    """Directory that trainer and server both see under this name: weights go through a file in it. Empty: the attempt
    directory. In memory (`/dev/shm`) where both are on one machine is fastest."""
    memory_share: float = Field(default=0.4, gt=0, lt=1)
    """Share of the GPU's memory that vLLM inside of the trainer takes while it samples."""
    sleep_level: int = Field(default=2, ge=0, le=2)
    """What it gives back while the policy trains: 0 nothing; 1 keys and values, its weights going to the main memory;
    2 both, its weights being sent anew. Only on a GPU."""
    seconds: PositiveFloat = 900.0
    """Time for one completion of a server, waiting for its turn included."""
    tolerance: PositiveFloat | None = None
    """Largest mean difference between vLLM's log-probabilities and the policy's own, in nats per token, after an update
    of weights; empty: 0.001 where vLLM computes in fp32, 0.02 in fp16, 0.1 in bf16."""

    @field_validator("server")
    @classmethod
    def _check_address(cls, value: str) -> str:
        if value and not is_address(value):
            raise ValueError(f"{value} is no address like http://127.0.0.1:8001; leave out /v1, keys and passwords")
        return value.rstrip("/")

    def with_environment(self, environment: Mapping[str, str]) -> "VllmSettings":
        """The same, with the environment's value for every field that has its default: a run that was frozen names all
        fields, those too that nobody chose. Raises ValidationError, a ValueError.
        """
        chosen = self.model_dump(exclude_defaults=True)
        found = {
            field: environment[VARIABLE + field.upper()]
            for field in type(self).model_fields
            if field not in chosen and environment.get(VARIABLE + field.upper())
        }
        return type(self).model_validate({**chosen, **found})
