"""What a stage will need of memory, worked out before anything is loaded.

Pure arithmetic on the sizes of the models and the settings of the stage, so that the platform refuses what cannot fit
before it launches and the trainer before it trains. Bytes of the most that every part can take: sequences full, the
largest micro-batch, the longest completions. Phases follow each other in an optimiser step:

    rollout    the policy samples
    teacher    frozen models read what was sampled
    student    forward and backward passes of the policy
    update     the optimiser's step
    save       a checkpoint is written, now and then

Weights, gradients and moments are single precision (4, 4 and 8 bytes a parameter). What a layer keeps for its backward
pass was counted on the tensors that autograd saves (`tests/unit/test_memory_plan.py` counts again).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trainer.contract.dimensions import Dimensions
from trainer.contract.needs import FrozenModel
from trainer.contract.stages.base import TrainingStage
from trainer.contract.vllm import VllmSettings

PHASES = ("rollout", "teacher", "student", "update", "save")
WEIGHT = MOMENT = GRADIENT = 4
"""Bytes of a number in each."""
CACHE_BYTES_CPU = 2 << 30
"""What keys and values of the sampler may take on a CPU."""
ROWS_AT_ONCE = 128
"""Rows that the sampler has in work at most."""
PROMPT_TOKENS = 8192
"""Prompt tokens that it computes in one pass, unless a single prompt has more."""
LOGITS_AT_ONCE = {False: 1 << 22, True: 1 << 27}
"""Logits that a loss forms at a time, by whether it does so on a GPU."""
FEWEST_ROWS = 128
GPU_CACHE_SHARE = 0.4
BETWEEN_BLOCKS = 300_000_000
"""Bytes that glibc keeps of blocks below 32 MiB freed between others; measured, and less where blocks are larger."""
LATER_LIBRARIES = 50_000_000
"""Bytes of what a process imports only when it loads a model and trains it."""
PROGRAM = 400_000_000 + LATER_LIBRARIES
"""Bytes of a process with its libraries loaded and nothing else (torch 2.13 with transformers 5.20 on a CPU)."""
VLLM_CACHE_BYTES_CPU = 1 << 30
VLLM_LIBRARIES = 300_000_000
"""Bytes that vLLM itself takes on a CPU beside weights, keys and values; measured with 0.32."""


@dataclass(frozen=True)
class Setting:
    """Where and how a stage computes."""

    gpu: bool
    half: bool
    """Matrix products in bf16."""
    swap: bool
    ranks: int = 1
    sharded: bool = False
    capacity: int | None = None
    """Bytes of the device, where known: keys and values take no more than is left."""
    device: int = 0
    """Bytes of the whole device, where known: vLLM takes a share of them, whatever else is there."""
    program: int = 0
    """Bytes that the process takes before it loads anything."""
    vllm: VllmSettings = field(default_factory=VllmSettings)
    """For stages that sample by vLLM."""


@dataclass(frozen=True)
class MemoryPlan:
    phases: dict[str, dict[str, int]]
    """Phase → part → bytes of one process on the device that computes."""
    parked: dict[str, int]
    """Part → bytes of one process that are kept elsewhere: in the CPU's memory for a GPU, on the disk for a CPU."""

    def needed(self, phase: str) -> int:
        return sum(self.phases[phase].values())

    @property
    def widest(self) -> str:
        """The phase that needs most."""
        return max(self.phases, key=self.needed)

    @property
    def peak(self) -> int:
        return self.needed(self.widest)


def plan_memory(
    stage: TrainingStage, policy: Dimensions, others: Mapping[str, Dimensions], setting: Setting
) -> MemoryPlan:
    """`others`: sizes of the models that the stage names beside the policy; one that is missing is not counted."""
    frozen = [
        (one, policy if not one.model else others[one.model])
        for one in stage.frozen_models(setting.ranks)
        if not one.model or one.model in others
    ]
    held = _Holdings(stage, policy, setting)
    phases = {
        phase: {"program": setting.program, **held.of_policy(phase), **_of_frozen(phase, frozen, setting)}
        for phase in PHASES
        if (phase != "rollout" or held.sampling)
        and (phase != "teacher" or any(one.phase == phase for one, _ in frozen))
    }
    if (
        setting.swap
        and not setting.sharded
        and any(not one.beside_policy for one, _ in frozen if one.phase == "teacher")
    ):
        phases["teacher"].pop("weights")
    if "rollout" in phases:
        load = held.to_sample(sum(phases["rollout"].values()))
        phases["rollout"] |= load
        if held.sampling and held.sampling.while_learning:
            phases["student"] |= load
            phases["update"] |= load
    if "teacher" in phases:
        reading = [_frozen_pass(size, one.tokens, setting) for one, size in frozen if one.phase == "teacher"]
        phases["teacher"]["activations"] = max(reading)
    phases["student"] |= held.to_train(logits_of_two=any(one.head_with_student for one, _ in frozen))
    parts = {name: {part: held for part, held in phase.items() if held} for name, phase in phases.items()}
    return MemoryPlan(parts, {**(_parked(stage, held, frozen) if setting.swap else {}), **held.asleep()})


class _Holdings:
    """Bytes of everything that belongs to the policy."""

    def __init__(self, stage: TrainingStage, policy: Dimensions, setting: Setting) -> None:
        self.stage, self.policy, self.setting = stage, policy, setting
        cut = setting.ranks if setting.sharded else 1
        adapter = policy.adapter_parameters(stage.lora) if stage.lora else 0
        trained = adapter or policy.parameters
        self.weights = (policy.parameters + adapter) * WEIGHT // cut
        self.gradients = trained * GRADIENT // cut
        self.moments = 2 * trained * MOMENT // cut
        self.tokens = stage.micro_batch_tokens(setting.ranks)
        self.sampling = stage.sampling_load(setting.ranks)
        self.item = 2 if setting.half else 4
        gathered = policy.parameters * self.item if setting.sharded else 0
        layers = 2 * policy.body_parameters // policy.layers + 2 * policy.head_parameters
        self.gathered = {"rollout": gathered, "teacher": gathered, "student": min(gathered, layers * self.item) * 2}
        """Weights that are whole for a while although each rank holds a share."""
        self.by_vllm = self.sampling is not None and self.sampling.vllm
        sampled = policy.copied_to_sample and self.sampling is not None and not self.by_vllm
        halved = 2 if setting.gpu else 4
        ends = policy.head_parameters * (2 if setting.gpu else 1)
        self.sampler = (policy.body_parameters + ends) * halved if sampled else 0

    def of_policy(self, phase: str) -> dict[str, int]:
        swap = self.setting.swap
        return {
            "weights": self.weights,
            "gathered weights": self.gathered.get(phase, 0),
            "gradients": self.gradients if phase in ("student", "update") else 0,
            "moments": self.moments if not swap or phase in ("update", "save") else 0,
            "sampler": self.sampler if not swap or phase == "rollout" else 0,
            "vLLM": self._of_vllm(phase),
        }

    def _of_vllm(self, phase: str) -> int:
        """What vLLM in this process holds: its share of a GPU while it is awake; on a CPU, where it cannot sleep, its
        own weights, keys and values always. One behind an address takes nothing here."""
        setting = self.setting
        if not self.by_vllm or setting.vllm.server:
            return 0
        if not setting.gpu:
            return self.policy.parameters * WEIGHT + VLLM_CACHE_BYTES_CPU + VLLM_LIBRARIES
        awake = phase == "rollout" or setting.vllm.sleep_level == 0
        return int(setting.device * setting.vllm.memory_share) if awake else 0

    def asleep(self) -> dict[str, int]:
        """Weights of a vLLM that sleeps at level 1 are kept in the main memory, in half precision."""
        here = self.by_vllm and self.setting.gpu and not self.setting.vllm.server
        return {"vLLM": self.policy.parameters * 2} if here and self.setting.vllm.sleep_level == 1 else {}

    def to_sample(self, before: int) -> dict[str, int]:
        """Keys and values of the rows in work, and what one pass over prompts and one choice of tokens form."""
        load, policy, setting = self.sampling, self.policy, self.setting
        if load is None or load.vllm:
            return {}
        item = 2 if setting.gpu else 4
        column = 2 * policy.layers * policy.key * item
        if setting.gpu:
            left = max(0, (setting.capacity or 1 << 62) - before)
            budget = int(left * GPU_CACHE_SHARE)
        else:
            budget = CACHE_BYTES_CPU
        rows = max(1, min(ROWS_AT_ONCE, load.rows, budget // (load.tokens * column)))
        prompts = min(load.prompts, rows)
        tokens = max(load.prompt_tokens, min(PROMPT_TOKENS, prompts * load.prompt_tokens))
        prefill = tokens * (4 * policy.hidden + 3 * policy.ffn + 4 * (policy.query + 2 * policy.key)) * item
        choice = rows * policy.vocabulary * (64 if load.nucleus else 24)
        return {"keys and values": rows * load.tokens * column, "sampling": max(prefill, choice)}

    def to_train(self, *, logits_of_two: bool) -> dict[str, int]:
        """What one micro-batch keeps for its backward pass, and what forms its loss."""
        policy, setting, tokens = self.policy, self.setting, self.tokens
        layer = tokens * _kept_by_layer(policy, half=setting.half)
        entering = tokens * policy.hidden * 4
        if self.stage.compute.gradient_checkpointing:
            kept = policy.layers * entering + layer
        else:
            kept = policy.layers * layer
        backward = tokens * 3 * (policy.hidden + policy.ffn) * self.item
        ends = tokens * (policy.hidden * (8 + 4 * self.item) + 8 * policy.query // policy.heads)
        rows = min(tokens, max(FEWEST_ROWS, LOGITS_AT_ONCE[setting.gpu] // policy.vocabulary))
        logits = rows * policy.vocabulary * 4 * (5 if logits_of_two else 4)
        head = 0 if self.stage.lora else policy.head_parameters * GRADIENT * (2 if policy.tied else 1)
        activations = kept + backward + ends
        freed = 0 if setting.gpu else min(BETWEEN_BLOCKS, activations + self.gradients)
        return {
            "activations": activations,
            "between blocks": freed,
            "loss": logits + head + (policy.head_parameters * 2 if setting.half and setting.gpu else 0),
            # Autocast's copies, which the backward pass needs again.
            "half-precision weights": policy.parameters * 2 if setting.half and not setting.sharded else 0,
        }


def _kept_by_layer(size: Dimensions, *, half: bool) -> int:
    """Bytes that a layer keeps of one token. Norms compute in single precision also where products do not."""
    heads, key_heads = size.heads, size.key_heads
    if half:
        kept = 8 * size.ffn + 26 * size.hidden + 6 * size.query + 4 * size.key + 4 * heads
        normed = 6 * (size.query + size.key)
    else:
        kept = 16 * size.ffn + 24 * size.hidden + 12 * size.query + 8 * size.key + 4 * (heads + 2)
        normed = 8 * (size.query + size.key)
    return kept + (normed + 4 * (heads + key_heads) if size.normed_heads else 0)


def _of_frozen(phase: str, frozen: list[tuple[FrozenModel, Dimensions]], setting: Setting) -> dict[str, int]:
    parts: dict[str, int] = {}
    for one, size in frozen:
        whole = size.parameters * WEIGHT
        needed = not setting.swap or phase == one.phase or (phase == "save" and one.saved)
        head = size.head_parameters * WEIGHT if one.head_with_student and phase == "student" else 0
        parts[one.name] = whole if needed else head
        if phase in ("teacher", "student"):
            parts[f"{one.name}'s states"] = one.kept_tokens * size.hidden * (2 if setting.half else 4)
    return parts


def _frozen_pass(size: Dimensions, tokens: int, setting: Setting) -> int:
    """What a pass without gradient forms in one layer, and the half-precision weights that autocast keeps meanwhile."""
    item = 2 if setting.half else 4
    layer = 4 * size.ffn + 6 * size.hidden + 3 * size.query + 3 * size.key
    return tokens * layer * item + (size.parameters * 2 if setting.half else 0)


def _parked(stage: TrainingStage, held: _Holdings, frozen: list[tuple[FrozenModel, Dimensions]]) -> dict[str, int]:
    apart = any(one.phase == "teacher" and not one.beside_policy for one, _ in frozen) and not held.setting.sharded
    parts = {"weights": held.weights if apart else 0, "moments": held.moments}
    parts |= {one.name: size.parameters * WEIGHT for one, size in frozen}
    return {name: size for name, size in parts.items() if size}
