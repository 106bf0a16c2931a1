"""Sampling completions from a policy. An engine answers requests; `TorchEngine` is the one without a server."""

from trainer.sampling.engine import Completion, Engine, SamplingRequest, StopReason
from trainer.sampling.torch_engine import TorchEngine

__all__ = ["Completion", "Engine", "SamplingRequest", "StopReason", "TorchEngine"]
