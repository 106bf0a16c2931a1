"""What people fill in about packages and keys. Forms only parse; services check and write."""

from django import forms

from chanote.custody.models import Subject

TEXT = {"class": "input"}


class ExportForm(forms.Form):
    kind = forms.ChoiceField(label="What", choices=Subject.choices, widget=forms.Select(attrs={"class": "select"}))
    name = forms.CharField(
        label="Name",
        max_length=200,
        widget=forms.TextInput(attrs={"class": "input mono"}),
        help_text="Of the model, or of the dataset version as slug@number.",
    )


class UploadForm(forms.Form):
    file = forms.FileField(
        label="Transfer package",
        widget=forms.FileInput(attrs={"class": "input", "accept": ".tar"}),
        help_text="A .tar that another installation wrote with: chanote dataset export",
    )


class DecisionForm(forms.Form):
    reason = forms.CharField(
        label="Reason", max_length=2000, widget=forms.Textarea(attrs={"class": "input", "rows": 3})
    )


class KeyForm(forms.Form):
    key = forms.CharField(
        label="Public key",
        max_length=64,
        widget=forms.TextInput(attrs={"class": "input mono"}),
        help_text="64 hexadecimal digits.",
    )
    owner = forms.CharField(
        label="Whose key it is",
        max_length=200,
        widget=forms.TextInput(attrs=TEXT),
        help_text="Compare the fingerprint with them over another way than the one the package came by.",
    )
