"""Asking for a bundle from a page or over REST: an errand writes it."""

from typing import Any

from chanote.accounts.models import Project
from chanote.accounts.roles import require
from chanote.custody.exporting import ask_rights
from chanote.custody.packages import refuse
from chanote.custody.selectors import find_subject
from chanote.errands.models import Errand
from chanote.errands.services import start_errand


def start_export(*, project: Project, kind: str, name: str, actor: Any) -> Errand:
    """Raises PackageRefused for a name that is not there, ExportRefused where the rights forbid it."""
    require(actor, "custody.export", project)
    subject = find_subject(project, kind, name)
    if subject is None:
        raise refuse(f"The project has no {kind} named {name[:100]}.", "name")
    ask_rights(subject)
    return start_errand(
        "custody.export",
        project=project,
        actor=actor,
        config={"kind": kind, "subject": subject.pk},
        title=f"Export {subject}",
        subject=subject,
    )
