"""What people fill in about datasets. Forms only parse; services check and write."""

import json
from collections.abc import Sequence
from typing import Any

from django import forms

from chanote.datasets.columns import Columns, fields_of
from chanote.datasets.kinds import ROW_MODELS
from chanote.datasets.models import Kind, Use
from chanote.datasets.reading import READERS, guess_format
from chanote.datasets.row_views import TAG

FORMATS = {"jsonl": "JSON lines", "csv": "CSV", "parquet": "Parquet"}
USES = {
    Use.TRAIN: "Train models on the rows",
    Use.DISTIL: "Distil a teacher's answers on them",
    Use.EVALUATE: "Evaluate models on them",
    Use.PUBLISH: "Publish the rows",
}
KINDS = {
    Kind.CHAT: "chat: conversations with answers of the assistant",
    Kind.TEXT: "text: documents, such as sections of law",
    Kind.PROMPTS: "prompts: questions, with reference answers and cited sections",
    Kind.CHOICES: "choices: questions with options, one of them right",
    Kind.PREFERENCES: "preferences: conversations with two answers, one of them preferred",
}
LICENCES = (
    "CC0-1.0",
    "CC-BY-4.0",
    "CC-BY-SA-4.0",
    "CC-BY-NC-4.0",
    "Apache-2.0",
    "MIT",
    "ODC-By-1.0",
    "LicenseRef-unknown",
)
ALONE = {"class": "input"}


class UploadForm(forms.Form):
    file = forms.FileField(
        label="File",
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"class": "input", "accept": ".jsonl,.ndjson,.json,.csv,.tsv,.parquet,.pq"}),
        help_text="JSON lines, CSV with a header line, or Parquet. UTF-8. It is read row by row, whatever its size.",
    )
    format = forms.ChoiceField(
        required=False,
        choices=[("", "by the file's ending"), *FORMATS.items()],
        widget=forms.Select(attrs={"class": "select"}),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        file = cleaned.get("file")
        if file is not None and not cleaned.get("format"):
            cleaned["format"] = guess_format(file.name or "")
            if cleaned["format"] not in READERS:
                self.add_error("format", f"The ending of {file.name} says nothing known; choose the format.")
        return cleaned


class DescribeForm(forms.Form):
    title = forms.CharField(max_length=160, widget=forms.TextInput(attrs=ALONE))
    description = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"class": "input", "rows": 4}),
        help_text="What the rows are, who made them and what they are for.",
    )
    languages = forms.CharField(
        required=False,
        widget=forms.TextInput(attrs={"class": "input", "placeholder": "th, en"}),
        help_text="Language tags, separated by commas.",
    )

    def clean_languages(self) -> list[str]:
        tags = [tag.strip() for tag in self.cleaned_data["languages"].split(",") if tag.strip()]
        if wrong := [tag for tag in tags if not TAG.match(tag)]:
            raise forms.ValidationError(f"{wrong[0]!r} is no language tag; write tags such as th or pt-BR.")
        return tags


class ImportForm(DescribeForm):
    """The second step: what the file is, which column is which field, and what the rows may be used for."""

    slug = forms.CharField(
        label="Name",
        max_length=80,
        widget=forms.TextInput(attrs={"class": "input mono"}),
        help_text="As recipes name it: lower-case letters, digits, - and _. An existing name gets a new version.",
    )
    kind = forms.ChoiceField(choices=list(KINDS.items()), widget=forms.Select(attrs={"class": "select"}))
    licence = forms.CharField(
        required=False,
        max_length=80,
        widget=forms.TextInput(attrs={"class": "input mono", "list": "licences", "placeholder": "LicenseRef-unknown"}),
        help_text="SPDX identifier.",
    )
    uses = forms.MultipleChoiceField(required=False, choices=list(USES.items()), widget=forms.CheckboxSelectMultiple)
    non_commercial = forms.BooleanField(required=False, label="Not for commercial use")
    source = forms.CharField(
        required=False,
        widget=forms.TextInput(attrs=ALONE),
        help_text="Address and commit, or who handed the rows over.",
    )
    source_name = forms.CharField(
        required=False,
        label="Name of the source",
        max_length=80,
        widget=forms.TextInput(attrs={"class": "input mono", "list": "sources"}),
        help_text="One that the project has, whose terms hold; a new name makes one of what is said here.",
    )
    legal_basis = forms.CharField(required=False, max_length=200, widget=forms.TextInput(attrs=ALONE))
    owner = forms.CharField(required=False, max_length=200, widget=forms.TextInput(attrs=ALONE))
    contact = forms.CharField(required=False, max_length=200, widget=forms.TextInput(attrs=ALONE))
    jurisdiction = forms.CharField(required=False, max_length=80, widget=forms.TextInput(attrs=ALONE))
    collected = forms.DateField(
        required=False, widget=forms.DateInput(attrs={"class": "input", "type": "date"}, format="%Y-%m-%d")
    )
    expires = forms.DateField(
        required=False,
        label="Consent until",
        widget=forms.DateInput(attrs={"class": "input", "type": "date"}, format="%Y-%m-%d"),
    )
    reason = forms.CharField(
        required=False, max_length=500, widget=forms.TextInput(attrs=ALONE), help_text="Why this version is made."
    )
    field_order = ["slug", "title", "kind"]
    # The browser must not hold back a changed kind because a column of the old one is not chosen.
    use_required_attribute = False

    def __init__(self, *args: Any, names: Sequence[str], kind: str, detected: Columns, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mapped = fields_of(kind)
        for field in self.mapped:
            chosen = detected.get(field, "")
            value = json.dumps(chosen, ensure_ascii=False) if isinstance(chosen, list) else chosen
            options = [("", "no column"), *((name, name) for name in names)]
            if isinstance(chosen, list):
                options.insert(1, (value, f"one option in each of {', '.join(chosen)}"))
            self.fields[f"column_{field}"] = forms.ChoiceField(
                label=field,
                required=field in ROW_MODELS[kind].required and kind != "chat",
                initial=value,
                choices=options,
                widget=forms.Select(attrs={"class": "select mono"}),
                error_messages={"required": "Say which column it is."},
            )

    def columns(self) -> Columns:
        """The mapping as it was chosen."""
        chosen: Columns = {}
        for field in self.mapped:
            value = self.cleaned_data.get(f"column_{field}", "")
            if value:
                chosen[field] = json.loads(value) if value.startswith("[") and field == "choices" else value
        return chosen

    def column_fields(self) -> list[Any]:
        return [self[f"column_{field}"] for field in self.mapped]
