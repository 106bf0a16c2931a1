"""What is wrong with a recipe, said by field and line so that its writer can mend it."""

import difflib
import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from chanote.accounts.models import Project
from chanote.recipes.yaml_text import Parsed, Path, parse_yaml, write_path
from chanote.runs.freezing import find_obstacles
from chanote.web.problems import Problem
from trainer.contract import Recipe, stage_kinds
from trainer.contract.rewards import reward_kinds


@dataclass(frozen=True)
class Checked:
    """A text that was checked. `recipe` is None when it breaks the contract; obstacles leave it in place."""

    recipe: Recipe | None
    problems: list[Problem]
    parsed: Parsed = field(default_factory=Parsed)
    lines: dict[str, int] = field(default_factory=dict)
    """Line of each problem by its field."""

    @property
    def ready(self) -> bool:
        return self.recipe is not None and not self.problems


def check_yaml(text: str, project: Project | None = None) -> Checked:
    """Read, validate and, with a project, look for what would keep the recipe from running there."""
    parsed = parse_yaml(text)
    if parsed.problems:
        return Checked(None, parsed.problems, parsed)
    recipe, problems = check_data(parsed.data)
    if recipe is not None and project is not None:
        problems = find_obstacles(project, recipe)
    found = {problem.field: parsed.line_of(read_path(problem.field)) for problem in problems}
    lines = {name: line for name, line in found.items() if line is not None}
    worded = [replace(one, message=_add_line(one.message, lines.get(one.field))) for one in problems]
    return Checked(recipe, worded, parsed, lines)


def _add_line(message: str, line: int | None) -> str:
    return f"{message} (line {line})" if line else message


def check_data(data: Any) -> tuple[Recipe | None, list[Problem]]:
    """Validate plain data against the contract."""
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        return None, [_word(item, data) for item in error.errors(include_url=False)]
    # A word such as "inf" becomes a number; JSON could not store it.
    infinite = [
        Problem(write_path(path), "must be a finite number") for path in _find_infinite(recipe.model_dump(), ())
    ]
    return (None, infinite) if infinite else (recipe, [])


def read_path(text: str) -> Path:
    """The parts of a path as `write_path` writes it."""
    return tuple(int(index) if index else name for name, index in re.findall(r"([^.\[\]]+)(?!\d*\])|\[(\d+)\]", text))


def _find_infinite(value: Any, path: Path) -> list[Path]:
    if isinstance(value, dict):
        return [found for name, inner in value.items() for found in _find_infinite(inner, (*path, name))]
    if isinstance(value, list):
        return [found for number, inner in enumerate(value) for found in _find_infinite(inner, (*path, number))]
    return [path] if isinstance(value, float) and not math.isfinite(value) else []


def _word(item: Any, data: Any) -> Problem:
    """One pydantic error as a sentence about a field that people can find."""
    path = _locate(item["loc"], data)
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return Problem(write_path(path), _word_unknown(path, data))
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        noun, kinds = ("stage", stage_kinds()) if len(path) == 2 else ("reward", reward_kinds())
        known = ", ".join(kinds)
        given = f"{context['tag']} is no kind of {noun}" if "tag" in context else "is missing"
        return Problem(write_path((*path, "kind")), f"{given}; use one of {known}")
    if kind == "string_pattern_mismatch":
        return Problem(write_path(path), "may hold only lower-case letters, digits, '-' and '_'")
    if kind.startswith("model_"):
        return Problem(write_path(path), "must be a list of named fields, written `name: value`")
    if kind in _MESSAGES:
        numbers = {name: f"{value:g}" if isinstance(value, float) else value for name, value in context.items()}
        return Problem(write_path(path), _MESSAGES[kind].format(**numbers))
    return _point(path, item["msg"].removeprefix("Value error, "), data)


def _point(path: Path, message: str, data: Any) -> Problem:
    """A message about a list may name its entry's field itself: `rewards[1].gate: ...`.

    A message about a stage may begin with the field that it is about: `group_size 7 does not divide ...`.
    """
    first = message.partition(" ")[0]
    if read_path(first)[:1] and read_path(first)[0] in _known_fields(path, data):
        return Problem(write_path((*path, *read_path(first))), message)
    found = re.match(r"([a-z_]+\[\d+\](?:\.[a-z_]+)*): ", message)
    if found is None:
        return Problem(write_path(path), message)
    inner = read_path(found[1])
    path = path[:-1] if path[-1:] == inner[:1] else path
    return Problem(write_path((*path, *inner)), message[found.end() :])


_MESSAGES = {
    "missing": "is missing; add it",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text; put it in quotes",
    "string_too_short": "must not be empty",
    "string_too_long": "is longer than {max_length} characters; shorten it",
    "list_type": "must be a list",
    "too_short": "needs at least {min_length} entry",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
}


def _locate(location: tuple[str | int, ...], data: Any) -> Path:
    """The path without the kind that pydantic puts behind the position of a stage or of another thing with kinds."""
    path: list[str | int] = []
    told = False
    for part in location:
        told = bool(path) and isinstance(path[-1], int) and not told and _look(data, tuple(path), "kind") == part
        if not told:
            path.append(part)
    return tuple(path)


def _look(data: Any, path: Path, name: str) -> Any:
    """Field `name` of what stands at the path; None where nothing does."""
    try:
        for part in path:
            data = data[part]
        return data.get(name)
    except (KeyError, IndexError, TypeError, AttributeError):
        return None


def _word_unknown(path: Path, data: Any) -> str:
    close = difflib.get_close_matches(str(path[-1]), _known_fields(path[:-1], data), n=1, cutoff=0.6)
    return f"is not a known field; did you mean {close[0]}?" if close else "is not a known field; remove it"


def _known_fields(path: Path, data: Any) -> list[str]:
    """Names that the contract knows at a path; none where several kinds of thing could stand there."""
    models = [Recipe]
    for number, part in enumerate(path, start=1):
        if isinstance(part, str):
            fields = [model.model_fields[part].annotation for model in models if part in model.model_fields]
            models = [model for annotation in fields for model in _models_of(annotation)]
        elif (kind := _look(data, path[:number], "kind")) is not None:
            models = [model for model in models if "kind" in model.model_fields]
            models = [model for model in models if model.model_fields["kind"].default == kind]
    return list(models[0].model_fields) if len(models) == 1 else []


def _models_of(annotation: Any) -> list[Any]:
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_of(part)]
