"""What a task asks and how an answer is scored. Field names follow the YAML of lm-evaluation-harness."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from trainer.contract.base import Contract

METRICS = {
    "multiple_choice": ("acc", "acc_norm"),
    "generate_until": ("exact_match", "numeric_match"),
    "loglikelihood_rolling": ("perplexity",),
}
"""Metrics that can judge what an output type gives."""


class GenerationSettings(Contract):
    until: list[str] = []
    """Strings that end the answer; the end-of-turn token always does."""
    max_gen_toks: PositiveInt = 64
    temperature: float = Field(default=0.0, ge=0)
    """0 takes the likeliest token."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = 0


class TaskStatistics(Contract):
    """What the board must know to compare fairly (our own block, outside the harness's YAML)."""

    cluster: str = ""
    """Row field whose equal values are not independent, such as `law_name`; empty: each row on its own."""
    chance: float = Field(default=0.0, ge=0, lt=1)
    """Score of a guess."""
    equivalence_margin: float = Field(default=0.02, gt=0, lt=1)


class TaskSpec(Contract):
    """A frozen task: the same spec on the same dataset version gives comparable scores."""

    task: str = Field(min_length=1, pattern=r"^[a-z0-9_-]+$")
    title: str = ""
    dataset: str = Field(min_length=1)
    """Dataset and version whose rows are the items."""
    output_type: Literal["multiple_choice", "generate_until", "loglikelihood_rolling"]
    doc_to_text: str = "{{question}}"
    """Jinja2 template of the prompt; the row's fields are its variables."""
    doc_to_target: str = "{{answer}}"
    """Jinja2 template of the reference answer; of the index (from 0) of the right choice for multiple choice; of the
    text itself for loglikelihood_rolling, where doc_to_text counts only when it is not the default."""
    doc_to_choice: str = "choices"
    """Row field that lists the options of a multiple-choice item."""
    chat: bool = False
    """Put the prompt into the model's chat template as a user turn."""
    num_fewshot: int = Field(default=0, ge=0)
    """Solved items put before the prompt, always the first rows of the dataset, which are then not scored."""
    target_delimiter: str = " "
    """Stands between prompt and answer, unless the prompt ends in white space or is a chat turn."""
    metric: Literal["acc", "acc_norm", "exact_match", "numeric_match", "perplexity"]
    """acc_norm divides each option's log-likelihood by its length in characters. perplexity scores in bits per byte,
    which different tokenizers leave comparable; lower is better."""
    generation_kwargs: GenerationSettings = GenerationSettings()
    limit: PositiveInt | None = None
    """Only the first items."""
    x_stats: TaskStatistics = TaskStatistics()
    x_language: str = ""

    @property
    def higher_is_better(self) -> bool:
        return self.metric != "perplexity"

    @model_validator(mode="after")
    def _check_metric(self) -> "TaskSpec":
        fitting = METRICS[self.output_type]
        if self.metric not in fitting:
            raise ValueError(f"metric {self.metric} does not fit {self.output_type}; use {' or '.join(fitting)}")
        return self
