"""What people fill in about labels. Forms only parse; services check and write."""

from collections.abc import Sequence
from typing import Any

from django import forms

from chanote.datasets.models import Kind
from chanote.review.models import LabelKind

KINDS = {
    Kind.CHAT: "chat: conversations, with what people said of each",
    Kind.PREFERENCES: "preferences: a good answer and a worse one to the same prompt",
}


class ExportForm(forms.Form):
    slug = forms.CharField(
        label="Name",
        max_length=80,
        initial="rollout-labels",
        widget=forms.TextInput(attrs={"class": "input mono"}),
        help_text="Of the dataset. One that was made of labels before gets a new version.",
    )
    kind = forms.ChoiceField(
        choices=list(KINDS.items()), initial=Kind.CHAT, widget=forms.Select(attrs={"class": "select"})
    )
    labels = forms.MultipleChoiceField(
        required=False,
        label="Labels in chat rows",
        choices=LabelKind.choices,
        initial=[LabelKind.GOOD],
        widget=forms.CheckboxSelectMultiple,
    )
    runs = forms.TypedMultipleChoiceField(
        required=False,
        coerce=int,
        label="Runs",
        widget=forms.SelectMultiple(attrs={"class": "select", "size": 4}),
        help_text="None chosen: every run with labels.",
    )
    reason = forms.CharField(
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={"class": "input"}),
        help_text="Why this version is made.",
    )

    def __init__(self, *args: Any, runs: Sequence[tuple[int, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["runs"].choices = [(number, f"#{number} {name}") for number, name in runs]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("kind") == Kind.CHAT and "labels" in cleaned and not cleaned["labels"]:
            self.add_error("labels", "Choose at least one label.")
        return cleaned
