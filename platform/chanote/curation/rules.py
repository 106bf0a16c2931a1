"""What the state of a version allows, and who may sign it. Pure questions: nothing is written here."""

from typing import Any

from chanote.accounts.roles import may
from chanote.curation.models import USABLE, Standing, State
from chanote.curation.selectors import find_restricted_kin, is_bringer, state_of
from chanote.datasets.models import DatasetVersion, Use

CHECKLIST = {
    "origin": "Licence, legal basis and allowed uses are those of the sources",
    "personal": "What the checks found of personal data was looked at",
    "overlap": "Overlap with evaluation tasks was looked at",
    "sample": "I have read a sample of the rows, in every language there is",
}
"""What a reviewer confirms one by one."""

LEAVES_THE_HOUSE = (Use.PUBLISH,)
SHAPES_A_MODEL = (Use.TRAIN, Use.DISTIL)


def explain_refusal(version: DatasetVersion, use: str, *, state: State | None = None) -> str:
    """Why the version may not be used so as it stands, in one sentence with the way out; empty where it may.

    `use` is a value of `Use`; exporting rows asks for `publish`. Withdrawn versions serve nothing; restricted ones
    never leave the house; where the project reviews its data, only what was approved shapes a model or leaves. Give
    `state` where it is known (see `states_of`), and it is not asked for.
    """
    state = state_of(version) if state is None else State(state)
    if state == State.WITHDRAWN:
        return f"{version.reference} is withdrawn and serves nothing any more; use another version."
    if state == State.RESTRICTED and use in LEAVES_THE_HOUSE:
        return f"{version.reference} is restricted: its rows stay in the house. Publish another version."
    if use in LEAVES_THE_HOUSE and (kin := _find_restricted(version)) is not None:
        comes = "is called restricted data" if kin == version else f"comes of {kin.reference}, which is restricted data"
        return f"{version.reference} {comes}: its rows stay in the house. Publish another version."
    if version.project.reviews_data and state not in USABLE and use in (*SHAPES_A_MODEL, *LEAVES_THE_HOUSE):
        waits = "waits for its review" if state == State.IN_REVIEW else "is a draft that nobody has reviewed"
        return (
            f"{version.reference} {waits}, and in {version.project.name} only approved versions may {VERBS[Use(use)]}. "
            "Ask for a review on the page of the dataset; somebody else must approve it."
        )
    return ""


def _find_restricted(version: DatasetVersion) -> DatasetVersion | None:
    """The version itself or what it comes of, where that was called restricted, whatever its state."""
    if Standing.objects.filter(version=version, restricted=True).exists():
        return version
    return find_restricted_kin(version)


VERBS = {Use.TRAIN: "train", Use.DISTIL: "be distilled on", Use.EVALUATE: "evaluate", Use.PUBLISH: "be published"}


def explain_no_signature(standing: Standing, user: Any) -> str:
    """Why this person may not sign the version; empty where they may. An administrator is a person like any other."""
    if not may(user, "datasets.review", standing.project):
        return "Your role in the project does not include reviews."
    return _explain_to(standing, user)


def explain_no_signature_of(standing: Standing, person: Any) -> str:
    """The same of somebody else whose role includes reviews, as others read it."""
    for key, told in (
        (standing.made_by_id, "Made this version."),
        (standing.asked_by_id, "Asked for its review."),
        (standing.first_by_id, "Has signed already."),
        (standing.second_by_id, "Has signed already."),
    ):
        if person.pk == key:
            return told
    return "Brought in the package it was made of." if is_bringer(standing.version, person) else ""


def _explain_to(standing: Standing, user: Any) -> str:
    if user.pk == standing.made_by_id:
        return "You made this version, so somebody else must sign it."
    if is_bringer(standing.version, user):
        return "You brought in the package that this version was made of, so somebody else must sign it."
    if user.pk == standing.asked_by_id:
        return "You asked for this review, so somebody else must sign it."
    if user.pk in (standing.first_by_id, standing.second_by_id):
        return "You have signed this version already; the second signature is somebody else's."
    return ""
