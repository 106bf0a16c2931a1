"""What people fill in about toolsets. Forms only parse; services check and write."""

from typing import Any

from django import forms

from chanote.accounts.models import Project
from chanote.tools.endpoints import list_endpoints
from chanote.tools.health import CODE_TOOLS, LAW_TOOLS, look
from chanote.tools.models import ToolsetRevision
from chanote.tools.selectors import list_corpora
from trainer.contract.toolsets import ToolLimits

INPUT = {"class": "input"}
MONO = {"class": "input mono"}
SELECT = {"class": "select"}
LIMITS = tuple(ToolLimits.model_fields)


class RevisionForm(forms.Form):
    title = forms.CharField(max_length=160, required=False, widget=forms.TextInput(attrs=INPUT))
    tools = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple, required=False)
    corpus = forms.ChoiceField(
        required=False,
        widget=forms.Select(attrs=SELECT),
        help_text="A text dataset with law_name and section_num in every row.",
    )
    call_seconds = forms.FloatField(
        label="Time limit of a call, in s",
        widget=forms.NumberInput(attrs={**INPUT, "step": "any"}),
        help_text="How long a rollout waits for an answer.",
    )
    output_characters = forms.IntegerField(
        label="Longest output, in characters",
        widget=forms.NumberInput(attrs=INPUT),
        help_text="The rest is cut and the policy is told so.",
    )
    top_k = forms.IntegerField(label="Most sections of a search", widget=forms.NumberInput(attrs=INPUT))
    output_cut = forms.ChoiceField(
        label="Cut away",
        required=False,
        choices=[("end", "the end"), ("middle", "the middle"), ("start", "the start")],
        widget=forms.Select(attrs=SELECT),
        help_text="Of a longer output.",
    )
    turns = forms.IntegerField(
        label="Turns of an episode",
        required=False,
        widget=forms.NumberInput(attrs=INPUT),
        help_text="Calls in the last one are not made.",
    )
    calls_per_turn = forms.IntegerField(
        label="Calls of a turn",
        required=False,
        widget=forms.NumberInput(attrs=INPUT),
        help_text="Of further ones the policy is told that they were not made.",
    )
    failed_calls = forms.IntegerField(
        label="Calls that may fail",
        required=False,
        widget=forms.NumberInput(attrs=INPUT),
        help_text="By the policy's own fault; the last of them ends the episode.",
    )
    episode_seconds = forms.FloatField(
        label="Time of an episode, in s", required=False, widget=forms.NumberInput(attrs={**INPUT, "step": "any"})
    )
    retries = forms.IntegerField(
        label="Retries",
        required=False,
        widget=forms.NumberInput(attrs=INPUT),
        help_text="When the service fails; then the rollout is masked.",
    )
    image_digest = forms.CharField(
        label="Image digest",
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs=MONO),
        help_text="Contents that the image for code must have; empty freezes the service's own at launch.",
    )
    address = forms.ChoiceField(label="Tool service", required=False, widget=forms.Select(attrs=SELECT))
    message = forms.CharField(
        label="Why", max_length=300, required=False, widget=forms.TextInput(attrs=INPUT), help_text="For the history."
    )

    def __init__(self, *args: Any, project: Project, newest: ToolsetRevision | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered = [*LAW_TOOLS, *CODE_TOOLS, *look().tools, *(newest.tools if newest else [])]
        self._set_choices("tools", [(name, name) for name in dict.fromkeys(offered)])
        corpora = [(one.reference, one.label) for one in list_corpora(project)]
        self._set_choices("corpus", [("", "none"), *corpora])
        addresses = [(one.address, one.address) for one in list_endpoints()]
        if newest and newest.address and newest.address not in dict(addresses):
            addresses.append((newest.address, f"{newest.address} (not known here)"))
        self._set_choices("address", [("", "the installation's own"), *addresses])
        limits = newest.read_limits if newest else ToolLimits()
        self.initial = {
            "tools": newest.tools if newest else list(LAW_TOOLS),
            "title": newest.toolset.title if newest else "",
            "corpus": newest.corpus.reference if newest and newest.corpus else "",
            "image_digest": newest.image_digest if newest else "",
            "address": newest.address if newest else "",
            **limits.model_dump(),
            **self.initial,
        }

    def _set_choices(self, name: str, choices: list[tuple[str, str]]) -> None:
        self.fields[name].choices = choices  # type: ignore[attr-defined]


class NewToolsetForm(RevisionForm):
    slug = forms.CharField(
        label="Name",
        max_length=80,
        widget=forms.TextInput(attrs=MONO),
        help_text="As recipes name it: lower-case letters, digits, - and _.",
    )
    field_order = ["slug", "title", "tools", "corpus"]
