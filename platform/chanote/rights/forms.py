"""What people fill in about rights. Forms only parse; services check and write."""

from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone

from chanote.datasets.models import DatasetVersion, Use
from chanote.datasets.selectors import find_version
from chanote.models.models import Model

INPUT = {"class": "input"}
MONO = {"class": "input mono"}
USES = {
    Use.TRAIN: "Train models on the rows",
    Use.DISTIL: "Distil a teacher's answers on them",
    Use.EVALUATE: "Evaluate models on them",
    Use.PUBLISH: "Publish the rows",
}
USE_WORDS = {
    Use.TRAIN: "train: train on it, or train it further",
    Use.DISTIL: "distil: let a teacher answer it, or let it teach",
    Use.EVALUATE: "evaluate",
    Use.PUBLISH: "publish: let it leave the house",
}


def _day() -> forms.DateInput:
    return forms.DateInput(attrs={**INPUT, "type": "date"}, format="%Y-%m-%d")


class SourceForm(forms.Form):
    title = forms.CharField(max_length=160, widget=forms.TextInput(attrs=INPUT))
    licence = forms.CharField(
        required=False,
        max_length=80,
        widget=forms.TextInput(attrs={**MONO, "placeholder": "LicenseRef-unknown"}),
        help_text="SPDX expression, such as CC-BY-4.0; LicenseRef- and a name where none fits.",
    )
    legal_basis = forms.CharField(
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs=INPUT),
        help_text="Why the rows may be held at all: an act and its section, a contract, consent.",
    )
    uses = forms.MultipleChoiceField(
        required=False,
        label="Its owner agreed to",
        choices=list(USES.items()),
        widget=forms.CheckboxSelectMultiple,
    )
    non_commercial = forms.BooleanField(required=False, label="Not for commercial use")
    jurisdiction = forms.CharField(
        required=False, max_length=80, widget=forms.TextInput(attrs=INPUT), help_text="Whose law holds, such as TH."
    )
    owner = forms.CharField(required=False, max_length=200, widget=forms.TextInput(attrs=INPUT))
    contact = forms.CharField(
        required=False, max_length=200, widget=forms.TextInput(attrs=INPUT), help_text="Whom to ask, and how."
    )
    collected = forms.DateField(required=False, widget=_day())
    expires = forms.DateField(required=False, widget=_day(), help_text="Last day on which the consent holds.")
    languages = forms.CharField(
        required=False,
        widget=forms.TextInput(attrs={**INPUT, "placeholder": "th, en"}),
        help_text="Language tags, separated by commas.",
    )
    origin = forms.CharField(
        required=False,
        label="Where from",
        widget=forms.TextInput(attrs=INPUT),
        help_text="Address and commit, or who handed the rows over.",
    )

    def clean_languages(self) -> list[str]:
        return [tag.strip() for tag in self.cleaned_data["languages"].split(",") if tag.strip()]


class NewSourceForm(SourceForm):
    slug = forms.CharField(
        label="Name",
        max_length=80,
        widget=forms.TextInput(attrs=MONO),
        help_text="Lower-case letters, digits, - and _.",
    )
    field_order = ["slug"]


class ChangeSourceForm(SourceForm):
    reason = forms.CharField(
        widget=forms.Textarea(attrs={**INPUT, "rows": 2}), help_text="Why, for the audit log and whoever asks later."
    )


class ReasonForm(forms.Form):
    reason = forms.CharField(widget=forms.Textarea(attrs={**INPUT, "rows": 3}))


class DecisionForm(forms.Form):
    note = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={**INPUT, "rows": 3}),
        help_text="Why; needed to refuse.",
    )


class ExceptionForm(forms.Form):
    version = forms.CharField(
        required=False,
        label="Dataset version",
        widget=forms.TextInput(attrs={**MONO, "placeholder": "name@1"}),
        help_text="Exactly this version, or else a model.",
    )
    model = forms.CharField(required=False, widget=forms.TextInput(attrs=MONO))
    use = forms.ChoiceField(choices=list(USE_WORDS.items()), widget=forms.Select(attrs={"class": "select"}))
    reason = forms.CharField(
        label="Why", widget=forms.Textarea(attrs={**INPUT, "rows": 4}), help_text="Somebody else will decide by it."
    )
    until = forms.DateField(widget=_day(), help_text="Last day on which it is needed; a year at most.")

    def __init__(self, *args: Any, project: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._project = project
        self.fields["until"].initial = timezone.localdate() + timedelta(days=30)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        version, model = cleaned.get("version", "").strip(), cleaned.get("model", "").strip()
        if bool(version) == bool(model):
            self.add_error("version", "Name a dataset version or a model, and not both.")
            return cleaned
        if version:
            try:
                if "@" not in version:
                    raise DatasetVersion.DoesNotExist(f"{version} names no version; write {version}@ and its number.")
                cleaned["subject"] = find_version(self._project, version)
            except DatasetVersion.DoesNotExist as error:
                self.add_error("version", str(error))
        else:
            cleaned["subject"] = Model.objects.filter(project=self._project, slug=model).first()
            if cleaned["subject"] is None:
                self.add_error("model", f"{model} is no model of this project.")
        return cleaned
