"""Tags of labels, for the pages of other apps too."""

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


@register.simple_tag(takes_context=True)
def label_state(context: Context, run: Any, rollout: Any, step: int | None = None) -> LabelState:
    """Labels of a rollout, which has `group`, `index` and, unless it is given, `step`."""
    step = int(getattr(rollout, "step", step) or 0)
    user = context["request"].user
    return describe_labels(run, step=step, group=rollout.group, index=rollout.index, user=user)


@register.simple_tag(takes_context=True)
def may_label(context: Context, run: Any) -> bool:
    return may(context["request"].user, "rollouts.label", run.project)


@register.simple_tag
def elsewhere_url(run: Any, rollout: Any, step: int | None = None) -> str:
    """Address of the page that shows the prompt of a rollout in other steps and runs."""
    step = int(getattr(rollout, "step", step) or 0)
    address = reverse("review_same_prompt", args=[run.project.slug])
    return f"{address}?at={run.number}.{step}.{rollout.group}.{rollout.index}"


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
