"""Tags of labels, for the pages of other apps too."""

from collections.abc import Mapping
from typing import Any

from django import template
from django.template import Context
from django.urls import reverse

from chanote.accounts.roles import may
from chanote.review.models import LabelKind
from chanote.review.rules import RULES
from chanote.review.selectors import LabelState, describe_labels, link_rollout

register = template.Library()
WORDS = dict(LabelKind.choices)


def read_spot(rollout: Any, step: Any) -> tuple[int, int, int]:
    """Step, group and index of whatever a page calls a rollout: a mapping or an object; the step may be given apart."""

    def get(name: str, other: Any = 0) -> int:
        found = rollout.get(name) if isinstance(rollout, Mapping) else getattr(rollout, name, None)
        return int(found if found is not None else other or 0)

    return get("step", step), get("group"), get("index")


@register.simple_tag(takes_context=True)
def label_state(context: Context, run: Any, rollout: Any, step: Any = None) -> LabelState:
    """Labels of a rollout, which has `group`, `index` and, unless it is given, `step`."""
    step, group, index = read_spot(rollout, step)
    return describe_labels(run, step=step, group=group, index=index, user=context["request"].user)


@register.simple_tag(takes_context=True)
def may_label(context: Context, run: Any) -> bool:
    return may(context["request"].user, "rollouts.label", run.project)


@register.simple_tag
def elsewhere_url(run: Any, rollout: Any, step: Any = None) -> str:
    """Address of the page that shows the prompt of a rollout in other steps and runs."""
    step, group, index = read_spot(rollout, step)
    return f"{reverse('review_same_prompt', args=[run.project.slug])}?at={run.number}.{step}.{group}.{index}"


@register.filter
def rollout_url(one: Any) -> str:
    """Address of the rollout that a label or a pick names."""
    return link_rollout(one.run, step=one.step, group=one.group, index=one.index)


@register.filter
def label_word(label: str) -> str:
    return str(WORDS.get(label, label))


@register.filter
def rule_word(rule: str) -> str:
    return RULES.get(rule, rule)
