"""What is wrong with a recipe, said by field and line so that its writer can mend it."""

import difflib
import math
import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from chanote.accounts.models import Project
from chanote.recipes.yaml_text import Parsed, Path, parse_yaml, write_path
from chanote.runs.freezing import find_obstacles
from chanote.web.problems import Problem
from trainer.contract import Recipe, stage_kinds


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
    worded = [Problem(one.field, _add_line(one.message, lines.get(one.field))) for one in problems]
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
        known = ", ".join(stage_kinds())
        given = f"{context['tag']} is no kind of stage" if "tag" in context else "is missing"
        return Problem(write_path((*path, "kind")), f"{given}; use one of {known}")
    if kind == "string_pattern_mismatch":
        return Problem(write_path(path), "may hold only lower-case letters, digits, '-' and '_'")
    if kind.startswith("model_"):
        return Problem(write_path(path), "must be a list of named fields, written `name: value`")
    if kind in _MESSAGES:
        numbers = {name: f"{value:g}" if isinstance(value, float) else value for name, value in context.items()}
        return Problem(write_path(path), _MESSAGES[kind].format(**numbers))
    return Problem(write_path(path), item["msg"].removeprefix("Value error, "))


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
    """The path without the stage kind that pydantic puts behind a stage's position."""
    kinds = stage_kinds()
    path: list[str | int] = []
    for part in location:
        if len(path) == 2 and path[0] == "stages" and part in kinds and _stage_kind(data, path[1]) == part:
            kinds = {}
            continue
        path.append(part)
    return tuple(path)


def _stage_kind(data: Any, position: str | int) -> Any:
    try:
        return data["stages"][position].get("kind")
    except (KeyError, IndexError, TypeError, AttributeError):
        return None


def _word_unknown(path: Path, data: Any) -> str:
    close = difflib.get_close_matches(str(path[-1]), _known_fields(path[:-1], data), n=1, cutoff=0.6)
    return f"is not a known field; did you mean {close[0]}?" if close else "is not a known field; remove it"


def _known_fields(path: Path, data: Any) -> list[str]:
    """Names that the contract knows at a path."""
    cls: Any = Recipe
    for number, part in enumerate(path):
        if part == "stages" and number == 0:
            continue
        if number == 1 and isinstance(part, int):
            cls = stage_kinds().get(_stage_kind(data, part) or "")
        elif isinstance(part, str) and cls is not None:
            cls = _model_of(cls.model_fields[part].annotation) if part in cls.model_fields else None
    return list(cls.model_fields) if cls is not None else []


def _model_of(annotation: Any) -> Any:
    if hasattr(annotation, "model_fields"):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _model_of(part))), None)
