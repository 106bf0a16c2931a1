"""What people fill in about builds and endpoints. Forms only parse; services check and write."""

import json
from typing import Any, Literal, get_args, get_origin

from django import forms
from pydantic.fields import FieldInfo

from chanote.accounts.models import Project
from chanote.building.kinds import BuildKind
from chanote.building.models import TeacherEndpoint
from chanote.datasets.forms import USES
from chanote.datasets.models import DatasetVersion

INPUT = {"class": "input"}
MONO = {"class": "input mono"}
SELECT = {"class": "select"}
LONG = 1000
"""Characters from which on a field has room for several lines."""


class BuildForm(forms.Form):
    """Fields of a kind's config. Numbers and words are passed on as they were written: pydantic reads them."""

    title = forms.CharField(
        required=False, max_length=160, widget=forms.TextInput(attrs=INPUT), help_text="Of the build; made up if empty."
    )

    def __init__(self, *args: Any, kind: BuildKind[Any], project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind = kind
        for name, field in kind.config_class.model_fields.items():
            self.fields[name] = make_field(name, field, kind=kind, project=project)
        required = [name for name, field in kind.config_class.model_fields.items() if field.is_required()]
        self.first = [*required, "title"]
        """Fields that stand at the top; the others have defaults."""

    def top(self) -> list[forms.BoundField]:
        return [self[name] for name in self.first]

    def rest(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in self.first]

    def rest_has_errors(self) -> bool:
        return any(field.errors for field in self.rest())

    def config(self) -> dict[str, Any]:
        """What was filled in; empty fields are left to their defaults."""
        given: dict[str, Any] = {}
        for name, field in self.kind.config_class.model_fields.items():
            value = self.cleaned_data.get(name)
            if field.annotation is bool or value not in (None, ""):
                given[name] = value
        return given


def make_field(name: str, field: FieldInfo, *, kind: BuildKind[Any], project: Project) -> forms.Field:
    shared: dict[str, Any] = {
        "label": field.title or name.replace("_", " ").capitalize(),
        "help_text": field.description or "",
        "required": field.is_required(),
        "initial": None if field.is_required() else _show(field.default),
    }
    if "version" in field.metadata:
        return forms.ChoiceField(
            choices=_list_versions(project, kind.row_kinds.get(name, ()), optional=not field.is_required()),
            widget=forms.Select(attrs=SELECT),
            **shared,
        )
    if "endpoint" in field.metadata:
        return forms.ChoiceField(
            choices=_list_endpoints(project, optional=not field.is_required()),
            widget=forms.Select(attrs=SELECT),
            **shared,
        )
    if get_origin(field.annotation) is Literal:
        choices = [(one, str(one)) for one in get_args(field.annotation)]
        return forms.ChoiceField(choices=choices, widget=forms.Select(attrs=SELECT), **shared)
    if field.annotation is bool:
        return forms.BooleanField(**{**shared, "required": False})
    if field.annotation in (int, float, int | None, float | None):
        step = "any" if field.annotation in (float, float | None) else "1"
        return forms.CharField(widget=forms.NumberInput(attrs={**INPUT, "step": step}), **shared)
    if field.annotation is str and any((getattr(one, "max_length", None) or 0) >= LONG for one in field.metadata):
        rows = forms.Textarea(attrs={**MONO, "rows": 5})
        return forms.CharField(widget=rows, **shared)
    if field.annotation in (str, str | None):
        return forms.CharField(widget=forms.TextInput(attrs=MONO if name == "name" else INPUT), **shared)
    shared["help_text"] = f"{shared['help_text']} Written as JSON.".strip()
    return JsonField(widget=forms.Textarea(attrs={"class": "input mono", "rows": 6}), **shared)


class JsonField(forms.CharField):
    """Lists and objects; what is wrong inside them the config says."""

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            return json.loads(text) if text else None
        except (ValueError, RecursionError):
            raise forms.ValidationError("It is not JSON; write lists as […] and objects as {…}.") from None


def _show(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else _dump(value)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=lambda one: one.model_dump(mode="json"))


def _list_versions(project: Project, kinds: tuple[str, ...], *, optional: bool) -> list[tuple[str, str]]:
    versions = DatasetVersion.objects.filter(dataset__project=project).select_related("dataset")
    if kinds:
        versions = versions.filter(dataset__kind__in=kinds)
    choices = [
        (
            version.reference,
            f"{version.dataset.slug}, version {version.number} ({version.rows:,} {version.dataset.kind})",
        )
        for version in versions.order_by("dataset__slug", "-number")
    ]
    return [("", "none" if optional else "choose one"), *choices]


def _list_endpoints(project: Project, *, optional: bool) -> list[tuple[str, str]]:
    rows = TeacherEndpoint.objects.filter(project=project)
    choices = [(row.slug, f"{row.slug} ({row.model})") for row in rows]
    return [("", "none of its own" if optional else "choose one"), *choices]


class EndpointForm(forms.Form):
    slug = forms.CharField(
        label="Name",
        max_length=80,
        widget=forms.TextInput(attrs=MONO),
        help_text="Lower-case letters, digits, - and _.",
    )
    base_url = forms.CharField(
        label="Address",
        max_length=300,
        widget=forms.TextInput(attrs={**MONO, "placeholder": "http://127.0.0.1:8000/v1"}),
        help_text="Of an OpenAI-compatible server, up to and with /v1, such as chanote serve starts.",
    )
    model = forms.CharField(
        max_length=200, widget=forms.TextInput(attrs=MONO), help_text="Name by which the server knows the model."
    )
    key = forms.CharField(
        required=False,
        max_length=2000,
        widget=forms.PasswordInput(attrs={**MONO, "autocomplete": "off"}),
        help_text="Kept in a file of this installation, never shown again. Empty leaves it as it is.",
    )
    remove_key = forms.BooleanField(required=False, label="Remove the key")
    licence = forms.CharField(
        required=False,
        max_length=80,
        widget=forms.TextInput(attrs={**MONO, "placeholder": "Apache-2.0"}),
        help_text="Under which its owner lets you use what it writes: an SPDX identifier.",
    )
    uses = forms.MultipleChoiceField(
        required=False,
        choices=list(USES.items()),
        widget=forms.CheckboxSelectMultiple,
        label="What its terms allow with what it writes",
    )
    terms = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"class": "input", "rows": 3}),
        help_text="In words, or where they can be read.",
    )
    concurrency = forms.IntegerField(
        initial=4, min_value=1, max_value=256, widget=forms.NumberInput(attrs=INPUT), label="Questions at a time"
    )
    seconds = forms.FloatField(
        initial=180, min_value=1, max_value=3600, widget=forms.NumberInput(attrs=INPUT), label="Seconds for one answer"
    )
    prompt_price = forms.FloatField(
        initial=0, min_value=0, widget=forms.NumberInput(attrs=INPUT), label="Price of a million tokens sent"
    )
    completion_price = forms.FloatField(
        initial=0, min_value=0, widget=forms.NumberInput(attrs=INPUT), label="Price of a million tokens received"
    )
    currency = forms.CharField(
        required=False, max_length=8, widget=forms.TextInput(attrs={**MONO, "placeholder": "THB"})
    )
    most_money = forms.FloatField(
        required=False,
        widget=forms.NumberInput(attrs={**INPUT, "step": "any"}),
        label="Most that one build may spend",
        help_text="Empty: no limit. A build that reached it can be resumed once this is raised.",
    )

    def settings(self) -> dict[str, Any]:
        """Arguments of save_endpoint beside project, name and actor."""
        given = {name: value for name, value in self.cleaned_data.items() if name not in {"slug", "key", "remove_key"}}
        key = "" if self.cleaned_data["remove_key"] else self.cleaned_data["key"] or None
        return {**given, "key": key}
