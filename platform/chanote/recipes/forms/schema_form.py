"""The form of a recipe as templates draw it: inputs with label, hint, default and error, in the order of the schema."""

import re
from dataclasses import dataclass, field
from typing import Any

from chanote.recipes.checking import read_path
from chanote.recipes.forms.options import Choice, Options
from chanote.recipes.forms.reading import show
from chanote.recipes.forms.schema import (
    Field,
    Shape,
    entry_fields,
    entry_kinds,
    group_fields,
    names_model,
    recipe_fields,
    stage_description,
    stage_fields,
)
from chanote.recipes.yaml_text import write_path
from chanote.web.problems import Problem
from trainer.contract import stage_kinds

BASIC = frozenset(
    {
        "base", "seed", "description", "name", "data", "held_out", "steps", "epochs", "batch_size", "sequence_length",
        "learning_rate", "loss_on", "tasks", "board", "initialise", "group_size", "max_new_tokens", "knowledge_weight",
        "knowledge_rate",
    }
)  # fmt: skip
"""Fields shown first. Required fields always are; all others stand under Advanced."""
NUMERIC = ("integer", "number")


@dataclass
class Part:
    """One thing of the form. `kind` names its template: input, textarea, select, ticks, group, rows, kinds."""

    kind: str
    name: str
    label: str
    hint: str = ""
    value: str = ""
    default: str = ""
    changed: bool = False
    """Holds another value than the default."""
    required: bool = False
    numeric: bool = False
    listed: str = ""
    """Id of a list of suggestions."""
    choices: list[Choice] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    """Chosen values of ticks."""
    parts: list["Part"] = field(default_factory=list)
    rows: list["Part"] = field(default_factory=list)
    shown: bool = True
    """False for a group that is absent and may be added."""
    nullable: bool = False
    errors: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return "f-" + re.sub(r"[^a-z0-9_]+", "-", self.name).strip("-")

    @property
    def described_by(self) -> str:
        return f"{self.id}-hint {self.id}-error" if self.hint else f"{self.id}-error"

    @property
    def is_open(self) -> bool:
        """Whether what folds away has something to say."""
        return any(one.errors for part in self.rows for one in part.walk())

    @property
    def folds_something(self) -> bool:
        """Whether what folds away was changed."""
        return any(part.changed or part.rows for part in self.rows)

    def walk(self) -> list["Part"]:
        return [self, *(inner for part in [*self.parts, *self.rows] for inner in part.walk())]


@dataclass
class StageForm:
    name: str
    """`stages[0]`"""
    kind: str
    title: str
    hint: str
    position: int
    basic: list[Part] = field(default_factory=list)
    advanced: list[Part] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    known: bool = True
    is_last: bool = False

    @property
    def id(self) -> str:
        return f"f-stages-{self.position}"

    @property
    def non_default(self) -> int:
        """Advanced settings that differ from their defaults."""
        return sum(one.changed for part in self.advanced for one in part.walk())

    @property
    def settings(self) -> int:
        return sum(one.kind not in ("group", "rows", "kinds", "entry") for part in self.advanced for one in part.walk())

    @property
    def is_open(self) -> bool:
        return any(one.errors for part in self.advanced for one in part.walk())


@dataclass
class RecipeForm:
    parts: list[Part]
    stages: list[StageForm]
    errors: list[str]
    """Problems with the list of stages as a whole."""
    kinds: list[tuple[str, str]]
    """Kinds of stages that can be added, with what each does."""

    def anchors(self) -> dict[str, str]:
        """Id of the element of every field, by path."""
        found = {"stages": "f-stages"}
        for stage in self.stages:
            found[stage.name] = stage.id
            found |= {one.name: one.id for part in [*stage.basic, *stage.advanced] for one in part.walk()}
        found |= {part.name: part.id for part in self.parts}
        return found

    def fields(self) -> list[Part]:
        """Every part that can hold an error."""
        inner = [part for stage in self.stages for part in [*stage.basic, *stage.advanced]]
        return [one for part in [*self.parts, *inner] for one in part.walk()]


def build_form(data: Any, problems: list[Problem], options: Options) -> RecipeForm:
    """The form that shows the data, with each problem beside its field."""
    data = data if isinstance(data, dict) else {}
    builder = _Builder(options)
    parts = [builder.build(one, one.name, data, "") for one in recipe_fields() if one.shape is not Shape.STAGES]
    stages = data.get("stages")
    forms = [
        builder.build_stage(number, stage) for number, stage in enumerate(stages if isinstance(stages, list) else [])
    ]
    if forms:
        forms[-1].is_last = True
    kinds = [(kind, stage_description(kind)) for kind in stage_kinds()]
    form = RecipeForm(parts, forms, [], kinds)
    _place_problems(form, problems)
    return form


def anchor_of(path: str, anchors: dict[str, str]) -> str:
    """Id of the element for a field, or of the nearest one around it; empty when there is none."""
    steps = read_path(path)
    while steps:
        if (name := write_path(steps)) in anchors:
            return anchors[name]
        steps = steps[:-1]
    return ""


def _place_problems(form: RecipeForm, problems: list[Problem]) -> None:
    holders: dict[str, list[str]] = {"stages": form.errors}
    holders |= {stage.name: stage.errors for stage in form.stages}
    holders |= {part.name: part.errors for part in form.fields()}
    for problem in problems:
        steps = read_path(problem.field)
        while steps and write_path(steps) not in holders:
            steps = steps[:-1]
        if steps:
            rest = problem.field.removeprefix(write_path(steps)).lstrip(".")
            message = drop_line(problem.message)
            rest = re.sub(r"\A\[(\d+)\]", lambda found: f"entry {int(found[1]) + 1}", rest)
            holders[write_path(steps)].append(f"{rest}: {message}" if rest else message)


def drop_line(message: str) -> str:
    """Beside a field its line in the text says nothing."""
    return re.sub(r" \(line \d+\)\Z", "", message)


class _Builder:
    def __init__(self, options: Options) -> None:
        self.options = options

    def build_stage(self, number: int, stage: Any) -> StageForm:
        name = f"stages[{number}]"
        data = stage if isinstance(stage, dict) else {}
        kind = data.get("kind") if isinstance(data.get("kind"), str) else ""
        fields = stage_fields(kind or "")
        if fields is None:
            hint = "The form does not know this kind of stage; correct it in the text."
            return StageForm(name, str(kind or "?"), str(kind or "Unknown"), hint, number, known=False)
        form = StageForm(name, str(kind), title_of(str(kind)), stage_description(str(kind)), number)
        for one in fields:
            if one.shape is Shape.OTHER:
                continue
            part = self.build(one, f"{name}.{one.name}", data, str(kind))
            if one.shape is Shape.GROUP and one.name not in BASIC and not one.nullable:
                form.basic += [inner for inner in part.parts if inner.name.rsplit(".", 1)[1] in BASIC]
                part.parts = [inner for inner in part.parts if inner.name.rsplit(".", 1)[1] not in BASIC]
            (form.basic if one.required or one.name in BASIC else form.advanced).append(part)
        return form

    def build(self, one: Field, name: str, data: dict[str, Any], kind: str) -> Part:
        """The part for one field of `data`."""
        given = data.get(one.name)
        part = Part("input", name, one.label, one.description, required=one.required, nullable=one.nullable)
        part.default = show(one.default)
        if one.shape is Shape.GROUP:
            return self._fill_group(part, one, data, kind)
        if one.shape is Shape.GROUPS:
            return self._fill_rows(part, one, given, kind)
        if one.shape is Shape.KINDS:
            return self._fill_kinds(part, one, given, kind)
        if one.shape is Shape.SCALARS:
            return self._fill_list(part, one, given)
        part.value = show(given) if one.name in data else part.default
        part.changed = one.name in data and given != one.default and not one.required
        self._fill_scalar(part, one, kind)
        return part

    def _fill_scalar(self, part: Part, one: Field, kind: str) -> None:
        part.numeric = one.schema.get("type") in NUMERIC
        if "enum" in one.schema:
            self._choose(part, [Choice(str(value), str(value)) for value in one.schema["enum"]])
        elif one.schema.get("type") == "boolean":
            self._choose(part, [Choice("true", "yes"), Choice("false", "no")])
        elif part.name == "base":
            self._choose(part, [Choice("", "none: the first stage initialises one"), *self.options.models])
        elif part.name == "toolset":
            self._choose(part, [Choice("", "none"), *self.options.toolsets])
        elif names_model(kind, one.name):
            self._choose(part, [Choice("", "choose a model" if one.required else "none"), *self.options.models])
        elif one.name == "dataset":
            holder = part.name.rpartition("[")[0].rpartition(".")[2]
            choices = self.options.of_dataset(kind, holder)
            self._choose(part, [Choice("", "choose a dataset"), *choices])
        elif one.name == "board":
            part.choices, part.listed = self.options.boards, f"{part.id}-list"
        elif one.schema.get("maxLength", 0) > 300:
            part.kind = "textarea"

    def _choose(self, part: Part, choices: list[Choice]) -> None:
        """Make it a select; a value that is no choice stays in it, marked."""
        part.kind, part.choices = "select", choices
        if part.value not in {choice.value for choice in choices}:
            word = (
                "not in this project"
                if part.name in ("base", "toolset") or part.name.endswith(".dataset")
                else "not known"
            )
            part.choices = [*choices, Choice(part.value, f"{part.value} ({word})")]

    def _fill_list(self, part: Part, one: Field, given: Any) -> Part:
        part.values = [show(value) for value in given] if isinstance(given, list) else []
        part.changed = bool(part.values) and not one.required
        part.kind, part.value = "textarea", "\n".join(part.values)
        if one.name == "tasks":
            known = {choice.value for choice in self.options.tasks}
            extra = [Choice(value, _word_task(value, known)) for value in part.values if value not in known]
            part.kind, part.choices = "ticks", [*self.options.tasks, *extra]
        return part

    def _fill_group(self, part: Part, one: Field, data: dict[str, Any], kind: str) -> Part:
        given = data.get(one.name)
        part.kind, part.hint = "group", one.description
        part.shown = not one.nullable or given is not None
        part.changed = one.nullable and given is not None and one.name not in BASIC
        if part.shown:
            inner = given if isinstance(given, dict) else {}
            part.parts = [self.build(field, f"{part.name}.{field.name}", inner, kind) for field in group_fields(one)]
        return part

    def _fill_rows(self, part: Part, one: Field, given: Any, kind: str) -> Part:
        part.kind = "rows"
        for number, entry in enumerate(given if isinstance(given, list) else []):
            name = f"{part.name}[{number}]"
            row = Part("row", name, f"{one.label} {number + 1}")
            inner = entry if isinstance(entry, dict) else {}
            for detail in group_fields(one):
                found = self.build(detail, f"{name}.{detail.name}", inner, kind)
                (row.parts if detail.required or detail.name == "weight" else row.rows).append(found)
            part.rows.append(row)
        return part

    def _fill_kinds(self, part: Part, one: Field, given: Any, kind: str) -> Part:
        """One entry after the other, each with what it must have and what was changed; the rest folds away."""
        part.kind = "kinds"
        part.choices = [Choice(entry, description) for entry, description in entry_kinds(one).items()]
        for number, entry in enumerate(given if isinstance(given, list) else []):
            given_entry = entry if isinstance(entry, dict) else {}
            name, word = f"{part.name}[{number}]", str(given_entry.get("kind") or "?")
            fields = entry_fields(one, word)
            row = Part("entry", name, title_of(word), entry_kinds(one).get(word, ""), value=word)
            row.shown = fields is not None
            for inner in fields or ():
                if inner.shape is not Shape.OTHER:
                    found = self.build(inner, f"{name}.{inner.name}", given_entry, kind)
                    seen = inner.required or inner.name == "weight" or found.changed
                    (row.parts if seen else row.rows).append(found)
            part.rows.append(row)
        return part


def _word_task(value: str, known: set[str]) -> str:
    slug, _, number = value.partition("@")
    return f"{slug}, version {number}" if slug in known else f"{value} (not in this project)"


def title_of(kind: str) -> str:
    """Words for the kind of a stage or a reward on pages."""
    stage = stage_kinds().get(kind)
    return (stage.title if stage else "") or kind.replace("_", " ").capitalize()
