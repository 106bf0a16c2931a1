"""Tags of the pages about tools: how a call ended, and how the service is."""

from django import template
from django.urls import reverse
from django.utils.safestring import SafeString

from chanote.accounts.models import Project
from chanote.runs.pages import guess_language
from chanote.tools.health import Health
from chanote.web.templatetags.chanote import status

register = template.Library()

ENDINGS = {
    "ok": ("ok", "OK"),
    "error": ("error", "Error"),
    "timeout": ("warn", "Timeout"),
    "oom": ("warn", "Out of memory"),
    "output_limit": ("warn", "Output limit"),
    "disk_limit": ("warn", "Disk limit"),
    "pids_limit": ("warn", "Process limit"),
    "killed": ("warn", "Killed"),
    "rejected": ("error", "Rejected"),
    "infra_error": ("failed", "Sandbox failed"),
}
"""Terminal status of a call → how it looks and what it is called."""
STATES = {
    "ready": ("ok", "Ready"),
    "partly": ("warn", "Law tools only"),
    "starting": ("warn", "Not ready"),
    "unreachable": ("failed", "Unreachable"),
    "absent": ("draft", "Not set up"),
}


@register.simple_tag
def ending(name: str, box: bool = False) -> SafeString:
    """The status of a call as icon and word."""
    look, word = ENDINGS.get(name, ("warn", name))
    return status(look, box, word)


@register.filter
def ending_word(name: str) -> str:
    return ENDINGS.get(name, ("", name))[1]


@register.simple_tag
def service_state(health: Health, box: bool = False) -> SafeString:
    look, word = STATES[health.state]
    if health.state == "partly" and not health.corpus_hash:
        look, word = "failed", "No tool works"
    elif health.state == "ready" and not health.corpus_hash:
        word = "Code tools only"
    return status(look, box, word)


@register.filter
def excerpt(text: str) -> str:
    """The beginning of a text in one line."""
    flat = " ".join(text[:400].split())
    return flat if len(flat) <= 110 else f"{flat[:110]}…"


@register.filter
def lang_of(text: str) -> str:
    return guess_language(text[:4000])


@register.filter
def toolset_url(reference: str, project: Project) -> str:
    """Page of the revision that `name@revision` names."""
    slug, _, number = reference.partition("@")
    return f"{reverse('toolset', args=[project.slug, slug])}{f'?revision={number}' if number else ''}"
