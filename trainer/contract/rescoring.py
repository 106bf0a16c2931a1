"""Which changes of a task leave its answers what they are, so that they can be scored anew without the model."""

from trainer.contract.tasks import TaskSpec

SCORING = {
    "task",
    "title",
    "metric",
    "metric_options",
    "filter_list",
    "doc_to_target",
    "version",
    "x_stats",
    "x_language",
}
"""Fields that say how an answer is judged and called. Every other says what was asked, and how."""


def find_changed_questions(was: TaskSpec, now: TaskSpec) -> list[str]:
    """A sentence for each reason why answers to `was` are none to `now`; none when they can be scored anew."""
    if "agent" in (was.output_type, now.output_type):
        return ["output_type: an agent is judged by its episodes; evaluate the model again."]
    if "loglikelihood_rolling" in (was.output_type, now.output_type):
        return ["output_type: the likelihood of a text has one metric; there is nothing to score anew."]
    old, new = (one.model_dump(mode="json", exclude=SCORING | {"dataset"}) for one in (was, now))
    return [
        f"{name}: is {new[name]!r} and was {old[name]!r}; what is asked has changed, so evaluate the model again."
        for name in new
        if new[name] != old[name]
    ]
