"""Licences as SPDX expressions, checked against the published list that the library `license-expression` carries."""

from functools import cache

from license_expression import ExpressionError, Licensing, get_spdx_licensing

LONGEST = 80
UNKNOWN = "LicenseRef-unknown"
OWN = ("LicenseRef-", "DocumentRef-")
"""Beginnings of names for licences that are not on the list."""


@cache
def _licensing() -> Licensing:
    return get_spdx_licensing()


def check_licence(text: str) -> str:
    """What is wrong with a licence, in a sentence; empty when it is an SPDX expression or empty."""
    if not text:
        return ""
    if len(text) > LONGEST:
        return f"The licence has {len(text):,} characters; {LONGEST} fit. Write LicenseRef- and a name for it."
    try:
        parsed = _licensing().parse(text, validate=False, strict=False)
        unknown = [key for key in _licensing().unknown_license_keys(parsed) if not key.startswith(OWN)]
    except ExpressionError:
        unknown = [text]
    if any(" " in key for key in unknown):
        return (
            f"{text!r} is no SPDX expression; write an identifier such as CC-BY-4.0, several joined by AND, OR or WITH."
        )
    if unknown:
        return (
            f"{unknown[0]!r} is not on the SPDX list; look it up at spdx.org/licenses, or write LicenseRef- and a name "
            "of your own."
        )
    return ""


def is_non_commercial(text: str) -> bool:
    """Whether the licence itself forbids commerce: any Creative Commons licence with NC among those that hold."""
    return any("NC" in name.split("-") for name in text.replace("(", " ").replace(")", " ").split())
