"""What every kind of build has in common: its config, its steps, its work."""

from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from chanote.building.doing import Building
from chanote.building.funnel import Step
from chanote.datasets.models import DatasetVersion

SLUG = r"^[a-z0-9][a-z0-9_-]{0,79}$"
Reference = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,79}(@[0-9]{1,9})?$"), "version"]
"""A dataset version, as recipes name it: `slug@3`, or `slug` for the newest when the build starts."""
EndpointName = Annotated[str, StringConstraints(pattern=r"^([a-z0-9][a-z0-9_-]{0,79})?$"), "endpoint"]
"""An endpoint of the project; empty where the field allows none."""


class BuildConfig(BaseModel):
    """Fields become the form: their titles are the labels, their docstrings the hints."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str = Field(pattern=SLUG, title="Name of the dataset")
    """The build ends in a version of this dataset, which is made when there is none of this name."""


Config = TypeVar("Config", bound=BuildConfig)


class BuildKind(Generic[Config]):
    """One file of this package holds one subclass; it is found by being there."""

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    """What comes out, in one sentence."""
    icon: ClassVar[str] = "data"
    config_class: type[Config]
    steps: ClassVar[tuple[Step, ...]]
    row_kinds: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Field that names a dataset version → kinds of rows that it may hold; any where a field is not named."""
    needs_sandbox: ClassVar[bool] = False

    def check(self, config: Config, *, project: Any) -> dict[str, str]:
        """What is wrong beyond the schema, by field, each a sentence; asked before the build starts."""
        return {}

    def build(self, building: Building, config: Config) -> DatasetVersion:
        """Do the work, from wherever an earlier process left it."""
        raise NotImplementedError
