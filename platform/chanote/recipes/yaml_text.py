"""Reading YAML that people wrote: plain data beside the line of every field, without YAML's traps.

Read in two passes: events first, so that size, depth and aliases are bounded before anything is built.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from chanote.web.problems import Problem

MAXIMUM_BYTES = 200_000
MAXIMUM_DEPTH = 20
MAXIMUM_ALIASES = 50
MAXIMUM_VALUES = 20_000
"""Scalars after aliases are followed: a handful of nested aliases could otherwise stand for billions."""

Path = tuple[str | int, ...]
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "map", "seq")}
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_MERGE = "tag:yaml.org,2002:merge"
# YAML 1.1 reads 1e-4 as text because it has no point; everyone who writes it means the number.
EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+\Z")


@dataclass(frozen=True)
class Parsed:
    """A text as data, with the line (from 1) on which each field begins. `problems` empty: it could be read."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    root: yaml.Node | None = None

    def line_of(self, path: Path) -> int | None:
        """Line of the field, or of the nearest one around it."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path)


class _RefusedError(Exception):
    def __init__(self, message: str, line: int | None = None, path: Path = ()) -> None:
        self.problem = Problem(write_path(path), f"{message} (line {line})" if line else message)


def write_path(path: Path) -> str:
    """`stages[0].data[1].dataset`"""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def parse_yaml(text: str) -> Parsed:
    """Read one YAML document. Never raises for what a person can type."""
    try:
        _check_bounds(text)
        root = yaml.compose(text, Loader=Loader)
        if root is None:
            raise _RefusedError("The recipe is empty; begin with `stages:` and at least one stage.")
        builder = _Builder()
        data = builder.build(root, ())
    except _RefusedError as refused:
        return Parsed(problems=[refused.problem])
    except yaml.MarkedYAMLError as error:
        return Parsed(problems=[_word_syntax_error(error)])
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        return Parsed(problems=[Problem("", f"The text cannot be read as YAML: {reason}.")])
    return Parsed(data, builder.lines, root=root)


def _check_bounds(text: str) -> None:
    size = len(text.encode("utf-8", "replace"))
    if size > MAXIMUM_BYTES:
        raise _RefusedError(f"The recipe is {size:,} bytes long; at most {MAXIMUM_BYTES:,} are read.")
    depth = aliases = documents = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        line = event.start_mark.line + 1 if event.start_mark else None
        if depth > MAXIMUM_DEPTH:
            raise _RefusedError(f"Fields are nested more than {MAXIMUM_DEPTH} deep.", line)
        if aliases > MAXIMUM_ALIASES:
            raise _RefusedError(f"The recipe uses more than {MAXIMUM_ALIASES} aliases (*name); write values out.", line)
        if documents > 1:
            raise _RefusedError("The text holds more than one YAML document; remove the line `---`.", line)


def _word_syntax_error(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    reason = (error.problem or "it breaks the rules of YAML").rstrip(".")
    if "cannot start any token" in reason and "\\t" in reason:
        reason = "a tab stands where spaces must; indent with spaces"
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    return Problem("", f"The text cannot be read as YAML: {reason}{where}.")


class _Builder:
    """Turns nodes into plain data and notes lines."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self._values = 0
        self._scalars = yaml.SafeLoader("")

    def build(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self._values += 1
        if self._values > MAXIMUM_VALUES:
            raise _RefusedError(f"The recipe stands for more than {MAXIMUM_VALUES:,} values; it is too large.", line)
        if len(path) > MAXIMUM_DEPTH:
            raise _RefusedError("An alias (*name) contains itself; write its value out.", line, path[:3])
        if node.tag not in _PLAIN_TAGS and node.tag != _TIMESTAMP:
            raise _RefusedError(f"The tag {_word_tag(node.tag)} is not read here; write a plain value.", line, path)
        if isinstance(node, yaml.MappingNode):
            return self._build_mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, number)) for number, item in enumerate(node.value)]
        return self._build_scalar(node, path, line)

    def _build_mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _MERGE:
                raise _RefusedError("`<<` is not read here; write the fields out.", line, path)
            if not isinstance(key_node, yaml.ScalarNode):
                raise _RefusedError("A field's name must be a word.", line, path)
            key = key_node.value
            if key in result:
                raise _RefusedError(f"{key} stands twice; keep one of them", line, (*path, key))
            self.lines[*path, key] = line
            result[key] = self.build(value_node, (*path, key))
        return result

    def _build_scalar(self, node: yaml.Node, path: Path, line: int) -> Any:
        if node.tag == _TIMESTAMP:
            return node.value
        if node.tag.endswith(":str"):
            if not getattr(node, "style", None) and EXPONENT.match(node.value):
                return float(node.value)
            return node.value
        value = self._scalars.construct_object(node)
        if isinstance(value, float) and not math.isfinite(value):
            raise _RefusedError("must be a finite number", line, path)
        return value


def _word_tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
