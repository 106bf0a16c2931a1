"""What can go wrong before a single item is scored."""


class TaskError(ValueError):
    """A task does not fit its data or its model. The message names the task, the row and the way out."""


class EvaluationInterrupted(Exception):
    """The caller asked to stop in the middle of a task; nothing of that task is kept."""
