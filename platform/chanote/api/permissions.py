"""Scopes of API tokens."""

SCOPES = {
    "datasets:read": "see datasets",
    "datasets:write": "import and change datasets",
    "models:read": "see models",
    "models:write": "register models",
    "recipes:read": "see recipes",
    "recipes:write": "write recipes",
    "runs:read": "see runs, their metrics and logs",
    "runs:write": "launch, stop and resume runs",
    "boards:read": "see boards and scores",
    "boards:write": "change tasks and boards",
}
"""Scope → what a token that has it may do, as far as its owner may."""
