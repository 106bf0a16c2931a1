"""What the rewards of one prompt's rollouts say together."""

import statistics
from dataclasses import dataclass, field

from django.db.models import Count, F, Max, Min, QuerySet

from chanote.runs.models import RolloutRow, Run
from chanote.runs.rollout_list import RolloutList, RolloutWish


@dataclass
class GroupFacts:
    group: int
    rewards: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float | None:
        return sum(self.rewards) / len(self.rewards) if self.rewards else None

    @property
    def deviation(self) -> float | None:
        """Over one less than their number, as the advantage takes it."""
        if self.mean is None:
            return None
        return statistics.stdev(self.rewards) if len(self.rewards) > 1 else 0.0

    @property
    def teaches_nothing(self) -> bool:
        """Rewards that all agree give an advantage of zero to each."""
        return len(self.rewards) > 1 and max(self.rewards) == min(self.rewards)


def read_group_facts(run: Run, step: int, group: int) -> GroupFacts:
    rows = RolloutList(run, RolloutWish(first=step, last=step, group=group)).rows
    return GroupFacts(group, [row.reward for row in rows if row.reward is not None])


def count_equal_groups(rows: QuerySet[RolloutRow]) -> int:
    """Prompts of a step whose rewards all agree."""
    groups = rows.filter(reward__isnull=False).values("group")
    facts = groups.annotate(least=Min("reward"), most=Max("reward"), count=Count("id"))
    return facts.filter(count__gt=1, least=F("most")).count()
