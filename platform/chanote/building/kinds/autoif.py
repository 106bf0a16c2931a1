"""AutoIF as a kind of build."""

from typing import Any

from chanote.building.autoif.config import AutoIfConfig
from chanote.building.autoif.run import STEPS, run
from chanote.building.doing import Building
from chanote.building.kinds.base import BuildKind
from chanote.datasets.models import DatasetVersion


class AutoIf(BuildKind[AutoIfConfig]):
    name = "autoif"
    title = "AutoIF"
    summary = "Conversations whose answers keep to a constraint that a program can check, from any questions."
    icon = "check"
    config_class = AutoIfConfig
    steps = STEPS
    row_kinds = {"questions": ("prompts", "chat")}
    needs_sandbox = True

    def check(self, config: AutoIfConfig, *, project: Any) -> dict[str, str]:
        problems = {}
        if config.min_functions > config.functions_each:
            problems["min_functions"] = (
                f"Only {config.functions_each} functions are asked for; ask for more, or demand fewer."
            )
        if config.min_cases > config.functions_each * config.cases_each:
            most = config.functions_each * config.cases_each
            problems["min_cases"] = f"At most {most} cases are asked for; ask for more, or demand fewer."
        if config.questions.partition("@")[0] == config.name:
            problems["name"] = "The result cannot be a version of the questions it is made from; choose another name."
        return problems

    def build(self, building: Building, config: AutoIfConfig) -> DatasetVersion:
        return run(building, config)
