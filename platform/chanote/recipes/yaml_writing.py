"""Writing YAML for people: changed values go into the text they wrote, so that remarks and layout stay.

A change is patched in where its lines are. What comes out is read again; if it does not mean what was asked, the text
is written anew and its remarks are lost, which the caller can tell from `Written.lost_remarks`.
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import yaml

from chanote.recipes.yaml_text import EXPONENT, parse_yaml

WIDTH = 112
_REMARK = re.compile(r"(?:^|\s)#")


@dataclass(frozen=True)
class Written:
    text: str
    lost_remarks: int = 0
    """Lines with a remark (`# …`) that the new text no longer has."""


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = ">" if len(value) > WIDTH - 20 and "\n" not in value.rstrip("\n") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="'" if EXPONENT.match(value) else style)


_Dumper.add_representer(str, _represent_text)


def dump(data: dict[str, Any] | list[Any]) -> str:
    """YAML of plain data: leaves of a tree on one line, everything else in blocks."""
    parts = [{key: value} for key, value in data.items()] if isinstance(data, dict) else [[item] for item in data]
    return "".join(map(_dump_part, parts)) if parts else "{}\n"


def _dump_part(part: dict[str, Any] | list[Any]) -> str:
    (value,) = part.values() if isinstance(part, dict) else part
    style = None if isinstance(value, dict | list) else False
    return str(
        yaml.dump(part, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=style, width=WIDTH)
    )


def rewrite(text: str, data: Any) -> Written:
    """The text changed so that it means `data`."""
    parsed = parse_yaml(text)
    if not parsed.problems and same(parsed.data, data):
        return Written(text)
    patched = None
    if parsed.root is not None:
        patch = _Patch(text)
        try:
            patch.change(parsed.root, parsed.data, data, top=True)
            patched = patch.apply()
        except _UnpatchableError:
            patched = None
    if patched is None or not same(parse_yaml(patched).data, data):
        patched = dump(data)
    return Written(patched, max(0, _count_remarks(text) - _count_remarks(patched)))


def same(a: Any, b: Any) -> bool:
    """Equal in value and in type, so that 1 and true differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


def _count_remarks(text: str) -> int:
    return sum(bool(_REMARK.search(line)) for line in text.splitlines())


def _find_order(old: list[Any], new: list[Any]) -> list[int] | None:
    """Places in `old` of the values of `new`, when `new` is a reordering; None otherwise."""
    places = list(range(len(old)))
    order = []
    for value in new:
        found = next((place for place in places if same(old[place], value)), None)
        if found is None:
            return None
        places.remove(found)
        order.append(found)
    return None if places else order


class _UnpatchableError(Exception):
    """The change does not fit into the text's layout."""


class _Patch:
    """Edits of a text, collected by place and applied from the end."""

    def __init__(self, text: str) -> None:
        self.text = text if text.endswith("\n") else text + "\n"
        self.lines = self.text.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))
        self.edits: list[tuple[int, int, str]] = []

    def apply(self) -> str:
        result = self.text
        for start, end, replacement in sorted(self.edits, key=lambda edit: edit[:2], reverse=True):
            result = result[:start] + replacement + result[end:]
        return result

    def change(self, node: yaml.Node, old: Any, new: Any, *, top: bool = False) -> None:
        if same(old, new):
            return
        flow = getattr(node, "flow_style", None)
        if flow and isinstance(new, dict | list):
            self._replace_flow(node, new)
        elif isinstance(node, yaml.MappingNode) and isinstance(new, dict):
            self._change_mapping(node, old, new, top=top)
        elif isinstance(node, yaml.SequenceNode) and isinstance(new, list):
            self._change_sequence(node, old, new)
        elif isinstance(node, yaml.ScalarNode) and not isinstance(new, dict | list):
            self._replace_scalar(node, new)
        else:
            raise _UnpatchableError

    def _at(self, mark: Any) -> int:
        return self.starts[mark.line] + int(mark.column)

    def _last_line(self, node: yaml.Node) -> int:
        """Index of the last line that belongs to the node's own content."""
        if isinstance(node, yaml.ScalarNode):
            if node.style in ("|", ">"):
                line = node.end_mark.line - (1 if node.end_mark.column == 0 else 0)
                while line > node.start_mark.line and not self.lines[line].strip():
                    line -= 1
                return int(line)
            return int(node.end_mark.line)
        if getattr(node, "flow_style", None) or not node.value:
            return int(node.end_mark.line)
        last = node.value[-1]
        return self._last_line(last[1] if isinstance(node, yaml.MappingNode) else last)

    def _replace_scalar(self, node: yaml.ScalarNode, new: Any) -> None:
        if node.style in ("|", ">"):
            indent = self._indent_of(node.start_mark.line)
            written = _dump_value(new, indent)
            self.edits.append((self._at(node.start_mark), self.starts[self._last_line(node) + 1], written + "\n"))
        else:
            written = _dump_value(new, self._indent_of(node.start_mark.line))
            # An empty value has no place of its own: `key:` ends where its value would begin.
            gap = " " if self._at(node.start_mark) == self._at(node.end_mark) else ""
            self.edits.append((self._at(node.start_mark), self._at(node.end_mark), gap + written))

    def _replace_flow(self, node: yaml.Node, new: Any) -> None:
        written = yaml.dump(
            new, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10_000
        ).strip()
        self.edits.append((self._at(node.start_mark), self._at(node.end_mark), written))

    def _change_mapping(self, node: yaml.MappingNode, old: Any, new: dict[str, Any], *, top: bool) -> None:
        entries = {key.value: (key, value) for key, value in node.value}
        column = node.value[0][0].start_mark.column
        for name in [key for key in old if key not in new]:
            self._remove_entry(*entries[name])
        for name, value in new.items():
            if name in old and not self._fill_empty_list(*entries[name], old[name], value):
                self.change(entries[name][1], old[name], value)
        added = {name: value for name, value in new.items() if name not in old}
        if added:
            written = _indent(dump(added), column)
            line = entries["stages"][0].start_mark.line if top and "stages" in entries else self._last_line(node) + 1
            self.edits.append((self.starts[line], self.starts[line], written))

    def _fill_empty_list(self, key: yaml.Node, node: yaml.Node, old: Any, new: Any) -> bool:
        """Write the first entries behind `stages: []` as a new list would be; False where that is not possible."""
        line = self.lines[key.start_mark.line]
        alone = not line[: key.start_mark.column].strip() and not line[node.end_mark.column :].strip()
        if old != [] or not isinstance(new, list) or not new or not alone or key.start_mark.line != node.end_mark.line:
            return False
        written = _indent(dump({key.value: new}), key.start_mark.column)
        self.edits.append((self.starts[key.start_mark.line], self.starts[key.start_mark.line + 1], written))
        return True

    def _remove_entry(self, key: yaml.Node, value: yaml.Node) -> None:
        if self.lines[key.start_mark.line][: key.start_mark.column].strip():
            raise _UnpatchableError
        self.edits.append((self.starts[key.start_mark.line], self.starts[self._last_line(value) + 1], ""))

    def _change_sequence(self, node: yaml.SequenceNode, old: list[Any], new: list[Any]) -> None:
        order = _find_order(old, new)
        if order is not None:
            self._reorder(node, order)
            return
        if len(old) == len(new):
            for item, before, after in zip(node.value, old, new, strict=True):
                self.change(item, before, after)
            return
        if len(new) < len(old):
            self._remove_items(node, old, new)
            return
        if not all(map(same, old, new)):
            raise _UnpatchableError
        line = self._last_line(node) + 1
        written = _indent(dump(new[len(old) :]), self._indent_of(node.value[0].start_mark.line))
        self.edits.append((self.starts[line], self.starts[line], written))

    def _reorder(self, node: yaml.SequenceNode, order: list[int]) -> None:
        """Move the lines of each item, with the remarks inside them."""
        bounds = [self.starts[item.start_mark.line] for item in node.value]
        bounds.append(self.starts[self._last_line(node) + 1])
        parts = [self.text[start:end] for start, end in pairwise(bounds)]
        self.edits.append((bounds[0], bounds[-1], "".join(parts[place] for place in order)))

    def _remove_items(self, node: yaml.SequenceNode, old: list[Any], new: list[Any]) -> None:
        """Take out items when the others stay as and where they are."""
        rest = iter(new)
        wanted = next(rest, None)
        for item, value in zip(node.value, old, strict=True):
            if wanted is not None and same(value, wanted):
                wanted = next(rest, None)
            elif not new:
                raise _UnpatchableError
            else:
                first, last = item.start_mark.line, self._last_line(item)
                self.edits.append((self.starts[first], self.starts[last + 1], ""))
        if wanted is not None:
            raise _UnpatchableError

    def _indent_of(self, line: int) -> int:
        return len(self.lines[line]) - len(self.lines[line].lstrip(" "))


def _dump_value(value: Any, indent: int) -> str:
    """A scalar as it stands behind `key: `."""
    lines = dump({"k": value}).rstrip("\n").split("\n")
    return "\n".join([lines[0].removeprefix("k:").strip(), *[" " * indent + line for line in lines[1:]]])


def _indent(text: str, columns: int) -> str:
    return "".join(" " * columns + line if line.strip() else line for line in text.splitlines(keepends=True))
