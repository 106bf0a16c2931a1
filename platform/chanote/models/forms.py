"""What people fill in about models. Forms only parse; services check and write."""

from typing import Any

from django import forms

from chanote.datasets.models import Use
from chanote.models.models import Model, Origin

INPUT = {"class": "input"}
MONO = {"class": "input mono"}
USES = {
    Use.TRAIN: "Train it further",
    Use.DISTIL: "Distil from it: let it teach other models",
    Use.EVALUATE: "Evaluate it",
    Use.PUBLISH: "Publish it, or what is made of it",
}


class DescribeForm(forms.Form):
    title = forms.CharField(max_length=160, required=False, widget=forms.TextInput(attrs=INPUT))
    licence = forms.CharField(
        max_length=80,
        required=False,
        widget=forms.TextInput(attrs=MONO),
        help_text="SPDX identifier; empty takes what the model card says.",
    )
    uses = forms.MultipleChoiceField(
        required=False, label="Its terms allow to", choices=list(USES.items()), widget=forms.CheckboxSelectMultiple
    )
    non_commercial = forms.BooleanField(required=False, label="Not for commercial use")
    terms = forms.CharField(
        max_length=300,
        required=False,
        label="Where the terms stand",
        widget=forms.TextInput(attrs=INPUT),
        help_text="The agreement and its section, for whoever asks later.",
    )
    description = forms.CharField(required=False, widget=forms.Textarea(attrs={"class": "input", "rows": 4}))


class RegisterForm(DescribeForm):
    slug = forms.CharField(
        label="Name",
        max_length=120,
        widget=forms.TextInput(attrs=MONO),
        help_text="As recipes name it: lower-case letters, digits, - and _.",
    )
    origin = forms.ChoiceField(
        choices=[
            (Origin.DIRECTORY, "A directory of this machine"),
            (Origin.HUB, "A hub model in this machine's cache"),
        ],
        initial=Origin.DIRECTORY,
        widget=forms.RadioSelect,
    )
    path = forms.CharField(
        label="Directory",
        required=False,
        widget=forms.TextInput(attrs=MONO),
        help_text="Holds config.json, model.safetensors and the tokenizer. The files stay where they are.",
    )
    hub_name = forms.CharField(
        required=False,
        label="Hub name",
        widget=forms.TextInput(attrs={**MONO, "placeholder": "Qwen/Qwen3-0.6B"}),
        help_text="Nothing is downloaded: the model must be in the cache already.",
    )
    revision = forms.CharField(
        required=False, initial="main", widget=forms.TextInput(attrs=MONO), help_text="Branch, tag or commit."
    )
    parent = forms.ModelChoiceField(
        queryset=Model.objects.none(),
        required=False,
        empty_label="none, or not in this project",
        widget=forms.Select(attrs={"class": "select"}),
        help_text="The model its training started from; the licence is inherited from it.",
    )
    field_order = [
        "slug", "origin", "path", "hub_name", "revision", "title", "licence", "parent", "uses", "non_commercial",
        "terms", "description",
    ]  # fmt: skip

    def __init__(self, *args: Any, project: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["parent"].queryset = Model.objects.filter(project=project).order_by("slug")  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        needed = "hub_name" if cleaned.get("origin") == Origin.HUB else "path"
        if not cleaned.get(needed):
            self.add_error(needed, "Say where the model is.")
        return cleaned
