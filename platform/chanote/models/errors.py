"""Why a model was not registered."""

from chanote.web.problems import Problem


class ModelRefused(ValueError):
    """Nothing was registered. `problems` names the field and the way out."""

    def __init__(self, field: str, message: str) -> None:
        self.problems = [Problem(field, message)]
        super().__init__(message)


class NoCheckpoint(ValueError):
    """A directory that is no Hugging Face checkpoint; the message says what is missing."""
