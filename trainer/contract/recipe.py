"""A recipe as people write it: sparse, by name. The platform resolves names and freezes them into a `RunSpec`."""

from pydantic import Field, model_validator

from trainer.contract.base import Contract
from trainer.contract.stages import StageConfig
from trainer.contract.stages.base import TrainingStage
from trainer.contract.stages.cpt import CptStage


class Recipe(Contract):
    """An ordered list of stages; the policy that leaves one enters the next."""

    base: str = ""
    """Model of the project that the first stage starts from; empty when the first stage initialises one."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of every random draw of the run."""
    description: str = Field(default="", max_length=2000)
    """The question this recipe answers, in a sentence."""
    toolset: str = Field(default="", max_length=120, pattern=r"^([a-z0-9][a-z0-9_-]*(@[1-9][0-9]{0,8})?)?$")
    """Tools that go with the run, written `name@revision`; without `@revision` the newest is frozen at launch."""
    stages: list[StageConfig] = Field(min_length=1)
    """What is done, in order."""

    @model_validator(mode="after")
    def _check_start(self) -> "Recipe":
        first, *rest = self.stages
        fresh = isinstance(first, CptStage) and first.initialise is not None
        if fresh and self.base:
            raise ValueError("base and stages[0].initialise both say where weights come from; remove one of them")
        if not fresh and not self.base:
            raise ValueError("base is empty: name a model, or let the first stage be cpt with initialise")
        for number, stage in enumerate(self.stages):
            if isinstance(stage, TrainingStage) and stage.uses_tools and not self.toolset:
                raise ValueError(f"stages[{number}] calls tools; name a toolset of the project in toolset")
        for number, stage in enumerate(rest, start=1):
            if isinstance(stage, CptStage) and stage.initialise is not None:
                raise ValueError(f"stages[{number}].initialise would discard the stages before it; remove it")
        return self
