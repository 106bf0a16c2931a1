"""What vLLM's worker learns to do for us, in whatever process it lives: take a policy's weights, in place.

vLLM mixes `PolicyWeights` into its worker by name (`worker_extension_cls`) and calls its methods by `collective_rpc`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

EXTENSION = f"{__name__}.PolicyWeights"


class PolicyWeights:
    """Added to vLLM's worker class, whose attributes it uses."""

    model_runner: Any
    vllm_config: Any
    policy_broken: bool = False
    """A load broke off: vLLM then stands between old and new weights and takes none any more."""

    def describe_policy(self) -> dict[str, Any]:
        """What the trainer must know to send weights and to read log-probabilities; JSON."""
        import vllm

        model = self.vllm_config.model_config
        return {
            "version": vllm.__version__,
            "architecture": model.architecture,
            "vocabulary": int(model.get_vocab_size()),
            "dtype": str(model.dtype).removeprefix("torch."),
            "context": int(model.max_model_len),
            "logprobs": str(model.logprobs_mode),
            "workers": int(self.vllm_config.parallel_config.world_size),
            "broken": self.policy_broken,
        }

    def load_policy(self, weights: "Iterable[tuple[str, Tensor]]") -> None:
        """Replace every weight of the model by the one of its Hugging Face name."""
        worker: Any = self
        self.policy_broken = True
        worker.reload_weights(weights_iterator=weights)
        self._repack_head()
        self.policy_broken = False

    def load_policy_file(self, path: str) -> dict[str, str]:
        """The same from a safetensors file, whose tensors are read one at a time. Empty when done, else the reason: the
        server's routes would not tell an exception's.
        """
        if not Path(path).is_file():
            return {"unseen": path}
        try:
            self.load_policy(_read_tensors(Path(path)))
        except Exception as error:  # whatever a model's loader raises
            return {"error": f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"}
        return {}

    def _repack_head(self) -> None:
        """Pack a tied head anew where vLLM computes with packed copies of weights.

        On CPUs every linear layer keeps a packed copy, made when the layer is loaded. A head tied to the embedding is
        never loaded itself, so it would go on computing with the copy of the old weights, without a word.
        """
        import torch

        if self.vllm_config.device_config.device_type != "cpu":
            return
        from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

        model = self.model_runner.get_model()
        head = getattr(model, "lm_head", None)
        if isinstance(getattr(head, "weight", None), torch.Tensor) and hasattr(head, "cpu_linear"):
            dispatch_cpu_unquantized_gemm(head, remove_weight=False)


def _read_tensors(path: Path) -> "Iterable[tuple[str, Tensor]]":
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - the file is no mapping
            yield name, file.get_tensor(name)
