"""The run spec: everything one attempt needs, with every name resolved to a file and its hash."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from trainer.contract.base import Contract
from trainer.contract.recipe import Recipe
from trainer.contract.stages.base import TrainingStage
from trainer.contract.stages.evaluate import EvaluateStage
from trainer.contract.tasks import TaskSpec
from trainer.contract.toolsets import ToolsetSpec
from trainer.contract.vllm import VllmSettings

SHA256 = r"^[0-9a-f]{64}$"


class DatasetFile(Contract):
    """One dataset version as a file of canonical JSON lines."""

    kind: Literal["chat", "text", "prompts", "choices", "preferences"]
    path: str
    sha256: str = Field(pattern=SHA256)
    rows: NonNegativeInt


class ModelFile(Contract):
    """A Hugging Face checkpoint directory. Its hash covers every file, see `trainer.checkpoints.hash_directory`."""

    path: str
    sha256: str = Field(pattern=SHA256)


class RunSpec(Contract):
    """The content of `run.json`. Immutable: a changed wish is a new attempt or a new run."""

    schema_version: Literal[1] = 1
    run: str
    """Identity of the run, the same for all its attempts."""
    attempt: PositiveInt = 1
    recipe: Recipe
    base: ModelFile | None = None
    """The resolved `recipe.base`."""
    models: dict[str, ModelFile] = {}
    """Every further model that the recipe's stages name, such as a teacher, by that name."""
    datasets: dict[str, DatasetFile] = {}
    """Every dataset that the recipe's stages and tasks name, by that name."""
    tasks: dict[str, TaskSpec] = {}
    """Every task that the recipe's evaluate stages name, by that name."""
    toolset: ToolsetSpec | None = None
    """The resolved `recipe.toolset`."""
    resume_from: str = ""
    """Checkpoint directory to continue from; empty starts at the first stage."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    processes: PositiveInt = 1
    """Processes on this machine that train together, one for each GPU. Changes speed and memory, not the result beyond
    rounding."""
    vllm: VllmSettings = VllmSettings()
    """For stages that sample by vLLM."""
    keep_checkpoints: PositiveInt = 3
    """Resumable checkpoints kept; the last of each stage is always kept."""

    @model_validator(mode="after")
    def _check_names_resolved(self) -> "RunSpec":
        for number, stage in enumerate(self.recipe.stages):
            for field, model in stage.named_models().items():
                if model not in self.models:
                    raise ValueError(f"recipe.stages[{number}].{field} names model {model}, which is not in models")
            if isinstance(stage, TrainingStage):
                for named in stage.named_sources():
                    if named.source.dataset not in self.datasets:
                        raise ValueError(
                            f"recipe.stages[{number}] names dataset {named.source.dataset}, not in datasets"
                        )
            if isinstance(stage, EvaluateStage):
                for task in stage.tasks:
                    if task not in self.tasks:
                        raise ValueError(f"recipe.stages[{number}] names task {task}, which is not in tasks")
                    if self.tasks[task].uses_tools and not self.recipe.toolset:
                        raise ValueError(
                            f"recipe.stages[{number}] names task {task}, which is answered with tools; name a toolset "
                            "of the project in recipe.toolset"
                        )
        for name, task_spec in self.tasks.items():
            if task_spec.dataset not in self.datasets:
                raise ValueError(f"tasks.{name} names dataset {task_spec.dataset}, which is not in datasets")
        if self.recipe.base and self.base is None:
            raise ValueError("recipe.base is named but base is not resolved")
        if self.recipe.toolset and self.toolset is None:
            raise ValueError("recipe.toolset is named but toolset is not resolved")
        return self
