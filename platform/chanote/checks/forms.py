"""The form of a check's settings, made from its settings class; and the reason for which a row is shown."""

import types
from typing import Any

from django import forms

from chanote.checks.base import Check
from chanote.checks.personal.patterns import KINDS

LABELS = {
    "threshold": ("Similarity", "From which share of common runs of letters two rows are near copies, 0.5 to 1."),
    "mixed": ("Share of a second script", "From which a row counts as switching, at most 0.5."),
    "kinds": ("Kinds", "What is looked for, and masked once it is found."),
    "names": ("Further given names", "One to a line. They count after a title, or before a capitalised name."),
    "words": ("Further words", "One word or phrase to a line; a star at the end takes any ending."),
    "allowed": ("Words that are no finding", "One to a line."),
    "shortest": ("Shortest row", "Characters."),
    "longest": ("Longest row", "Characters."),
    "share": ("Share of rows cut into tokens", "Above 0, at most 1."),
}


class LinesField(forms.CharField):
    """Words, one to a line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"class": "input", "rows": 8}), max_length=500_000, **options)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> list[str]:
        text = super().clean(value) or ""
        return list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


def make_form(check: type[Check]) -> type[forms.Form]:
    """A field for each setting. What it lets through is checked again by the settings class."""
    fields: dict[str, Any] = {}
    for name, field in check.settings_class.model_fields.items():
        label, hint = LABELS.get(name, (name.replace("_", " ").capitalize(), ""))
        told: dict[str, Any] = {"label": label, "help_text": hint, "required": False}
        if name == "kinds":
            fields[name] = forms.MultipleChoiceField(
                choices=list(KINDS.items()), widget=forms.CheckboxSelectMultiple, **told
            )
        elif field.annotation in (int, float):
            kind = forms.IntegerField if field.annotation is int else forms.FloatField
            fields[name] = kind(widget=forms.TextInput(attrs={"class": "input w8", "inputmode": "decimal"}), **told)
        else:
            fields[name] = LinesField(**told)
    return type(f"{check.__name__}Form", (forms.Form,), types.MappingProxyType(fields) | {})


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label="Why you must see the row",
        help_text="Kept in the audit log with your name.",
        max_length=500,
        error_messages={"required": "Say why you must see the row."},
        widget=forms.Textarea(attrs={"class": "input", "rows": 3}),
    )
