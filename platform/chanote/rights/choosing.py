"""A quick look at many versions at once, for lists to choose from: five queries however many they are.

It leaves out what only the rows themselves can tell; the launch asks all rules.
"""

from collections import defaultdict
from collections.abc import Iterable

from django.utils import timezone

from chanote.accounts.models import Project
from chanote.curation.models import USABLE
from chanote.curation.models import State as Standing
from chanote.curation.rules import SHAPES_A_MODEL
from chanote.curation.selectors import states_in
from chanote.datasets.models import DatasetVersion, Use
from chanote.rights.models import ExceptionRequest, Source, SourceSpan, State
from chanote.rights.rules import is_commercial

WORDS = {
    Use.TRAIN: "rights do not allow training",
    Use.DISTIL: "rights do not allow distilling",
    Use.EVALUATE: "rights do not allow evaluation",
    Use.PUBLISH: "rights do not allow publication",
}


class QuickLook:
    """What closes uses of a project's versions, in a few words."""

    def __init__(self, project: Project) -> None:
        self._today = timezone.localdate()
        self._commercial = is_commercial(project)
        sources = {source.pk: source for source in Source.objects.filter(project=project)}
        self._reviews_data = project.reviews_data
        self._states = states_in(project)
        self._sources: dict[int, list[Source]] = defaultdict(list)
        pairs = SourceSpan.objects.filter(version__dataset__project=project).order_by().values_list("version", "source")
        for version, source in pairs.distinct():
            self._sources[version].append(sources[source])
        self._excepted = set(
            ExceptionRequest.objects.filter(
                project=project, version__isnull=False, state=State.APPROVED, until__gte=self._today
            ).values_list("version", "use")
        )

    def tell(self, version: DatasetVersion, use: Use) -> str:
        """Why the version must not be used so; empty when nothing is seen against it."""
        state = self._states.get(version.pk, Standing.DRAFT)
        needed = {use, Use.TRAIN} if use == Use.EVALUATE else {use}
        sources = self._sources[version.pk]
        if any(source.is_withdrawn for source in sources):
            return "a source of it was withdrawn"
        if state == Standing.WITHDRAWN:
            return "serves nothing any more"
        if self._reviews_data and state not in USABLE and use in SHAPES_A_MODEL:
            return "only approved versions may be learnt from"
        if (version.pk, use) in self._excepted:
            return ""
        for uses in [version.uses, *(source.uses for source in sources)]:
            if not needed & set(uses):
                return "evaluation only" if list(uses) == [Use.EVALUATE] else WORDS[use]
        if any(source.expires and source.expires < self._today for source in sources):
            return "the consent has ended"
        if self._commercial and self._is_non_commercial(version, sources):
            return "non-commercial"
        return ""

    def tell_state(self, version: DatasetVersion) -> str:
        """Where the version stands, in a word; empty for drafts of a project that does not review its data."""
        state = self._states.get(version.pk, Standing.DRAFT)
        return "" if state == Standing.DRAFT and not self._reviews_data else str(state.label)

    @staticmethod
    def _is_non_commercial(version: DatasetVersion, sources: Iterable[Source]) -> bool:
        return version.non_commercial or any(source.non_commercial for source in sources)
