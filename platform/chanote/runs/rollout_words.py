"""How a rollout is put into words: why it ended, how likely its tokens were, and its beginning in one line."""

import math
import re

EXCERPT = 140
CUT = frozenset({"length", "context", "turn_limit", "deadline"})
"""Stop reasons that mean that the rollout did not end by itself."""
STOPS = {
    "end_token": "ended by itself",
    "stop_string": "ended at a stop string",
    "length": "cut at the length limit",
    "context": "cut where the context is full",
    "interrupted": "interrupted",
    "answered": "answered",
    "turn_limit": "cut at the turn limit",
    "tool_error_limit": "ended after too many failed calls",
    "deadline": "cut at the deadline",
    "service_failed": "the tool service failed",
}
REASONS = {
    "length": "It was cut off at the length limit before it had ended.",
    "context": "It was cut off because the context was full.",
    "turn_limit": "The last turn that it was allowed called tools instead of answering.",
    "tool_error_limit": "So many of its calls failed that the episode was ended.",
    "deadline": "Its time was over before it had answered.",
    "service_failed": "The tool service could not be asked, through no fault of the policy.",
    "interrupted": "Sampling was interrupted.",
}
"""What went wrong where a rollout ended for these reasons."""
LEVELS = ((0.9, ""), (0.5, "k1"), (0.2, "k2"), (0.05, "k3"), (0.01, "k4"), (0.0, "k5"))
"""Lowest probability of a step and the class that marks it; the likeliest tokens stay plain."""
_TAGS = re.compile(r"<\|[^|>]{0,60}\|>|</?(?:s|think|answer)>|<(?:bos|eos|pad)>")
_ROLE = re.compile(r"^\s*(?:system|user|assistant|tool)\s*(?:\n|$)")


def name_stop(reason: str) -> str:
    return STOPS.get(reason, reason.replace("_", " "))


def excerpt(text: str) -> str:
    """The beginning of the text in one line, without control tokens."""
    flat = " ".join(_TAGS.sub(" ", text[:2000]).split())
    return flat if len(flat) <= EXCERPT else f"{flat[:EXCERPT]}…"


def excerpt_question(prompt: str) -> str:
    """The last thing said in a prompt, whatever its template: what stands after its last control token but one."""
    parts = [_ROLE.sub("", part).strip() for part in _TAGS.split(prompt)]
    return excerpt(next((part for part in reversed(parts) if part), ""))


def step_of(logprob: float) -> str:
    probability = math.exp(min(logprob, 0.0))
    return next((look for lowest, look in LEVELS if probability >= lowest), LEVELS[-1][1])


def word_logprob(logprob: float) -> str:
    return f"{logprob:.3f}".replace("-", "\N{MINUS SIGN}")


def spell_share(logprob: float) -> str:
    share = 100 * math.exp(min(logprob, 0.0))
    return f"{share:.0f} %" if share >= 9.95 else f"{share:.2g} %" if share >= 0.001 else "under 0.001 %"
