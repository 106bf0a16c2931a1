"""What a task asks and how an answer is scored. Field names follow the YAML of lm-evaluation-harness."""

import re
from typing import Any, Literal

from pydantic import Field, JsonValue, PositiveInt, field_validator, model_validator

from trainer.contract.base import Contract
from trainer.contract.judging import JudgeSettings
from trainer.contract.metrics import METRICS, MetricOptions, read_options, write_options
from trainer.contract.rewards import RewardList, check_longest


class GenerationSettings(Contract):
    until: list[str] = []
    """Strings that end the answer; the end-of-turn token always does."""
    max_gen_toks: PositiveInt = 64
    temperature: float = Field(default=0.0, ge=0)
    """0 takes the likeliest token."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = 0


class AgentSettings(Contract):
    """How an agent is asked and judged. Its tools, and the limits of an episode with them, are those of the toolset:
    one setting in training and in evaluation."""

    rewards: RewardList = Field(min_length=1)
    """What is measured of every episode, by the rewards of training; one of them is the task's metric. Weights and the
    sum play no part."""
    system_prompt: str = Field(default="", max_length=20_000)
    """System turn put before every prompt that has none; empty: none."""
    turn_tokens: PositiveInt | None = None
    """Most tokens of one turn; empty: as many as the episode has room for."""
    tell_tools: bool = True
    """Describe the tools in every prompt; a policy that has learnt them can do without. An endpoint is told always."""
    in_step: bool = False
    """Sample the next turns of all episodes together, when every tool has answered. Slower; but no rounding depends on
    how fast tools are."""


class TaskStatistics(Contract):
    """What the board must know to compare fairly (our own block, outside the harness's YAML)."""

    cluster: str = ""
    """Row field whose equal values are not independent, such as `law_name`; empty: each row on its own."""
    chance: float = Field(default=0.0, ge=0, lt=1)
    """Score of a guess."""
    equivalence_margin: float = Field(default=0.02, gt=0, lt=1)


class FilterStep(Contract):
    """One step from what the model wrote to what is judged."""

    function: Literal["regex", "take_first", "remove_whitespace", "lowercase"]
    """regex: what a pattern finds; take_first: changes nothing, since every answer is judged on its own."""
    regex_pattern: str = Field(default=r"#### (\-?[0-9\.\,]+)", min_length=1, max_length=2000)
    """Regular expression of Python. Of several groups the first that is not empty counts."""
    group_select: int = 0
    """Which of several finds; -1 is the last."""
    fallback: str = "[invalid]"
    """Stands for an answer in which nothing is found."""

    @field_validator("regex_pattern")
    @classmethod
    def _check_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return pattern


class Filter(Contract):
    name: str = Field(default="filter", min_length=1, max_length=60)
    filter: list[FilterStep] = Field(min_length=1)


class TaskSpec(Contract):
    """A frozen task: the same spec on the same dataset version gives comparable scores."""

    task: str = Field(min_length=1, pattern=r"^[a-z0-9_-]+$")
    title: str = ""
    dataset: str = Field(min_length=1)
    """Dataset and version whose rows are the items."""
    output_type: Literal["multiple_choice", "generate_until", "loglikelihood_rolling", "agent", "judged"]
    """`agent` answers in several turns, with tools; what is `judged` is read by a model, always as a chat."""
    doc_to_text: str = "{{question}}"
    """Jinja2 template of the prompt; the row's fields are its variables. An agent is asked what a row's `messages` say,
    up to their last answer, where it has such and this is the default."""
    doc_to_target: str = "{{answer}}"
    """Jinja2 template of the reference answer; of the index (from 0) of the right choice for multiple choice; of the
    text itself for loglikelihood_rolling, where doc_to_text counts only when it is not the default."""
    doc_to_choice: str | list[str] = "choices"
    """Row field that lists the options of a multiple-choice item; or a Jinja2 template that writes such a list; or the
    options themselves, the same for every row."""
    chat: bool = False
    """Put the prompt into the model's chat template as a user turn; with an agent that is always done."""
    num_fewshot: int = Field(default=0, ge=0)
    """Solved items put before the prompt, always the first rows of the dataset, which are then not scored."""
    target_delimiter: str = " "
    """Stands between prompt and answer, unless the prompt ends in white space or is a chat turn."""
    metric: str = Field(min_length=1)
    """acc, acc_norm, exact_match, numeric_match or perplexity; judge_grade or judge_wins where a model judges; of an
    agent the name of one of its rewards. acc_norm divides each option's log-likelihood by its length in characters.
    perplexity scores in bits per byte, which different tokenizers leave comparable; lower is better."""
    metric_options: dict[str, JsonValue] = {}
    """Options of the metric; what is not named gets its default, and stands here once the task is read."""
    repeats: PositiveInt = 1
    """Answers drawn for each item of output_type generate_until, each a sample of its own. Those of one item are one
    cluster: more of them make no item more."""
    filter_list: list[Filter] = Field(default=[], max_length=1)
    """What is cut from an answer before it is judged."""
    generation_kwargs: GenerationSettings = GenerationSettings()
    """With an agent, `max_gen_toks` is the room of an episode: what it writes and what tools say."""
    agent: AgentSettings | None = None
    """Belongs to output_type agent."""
    judging: JudgeSettings | None = None
    """Belongs to output_type judged."""
    limit: PositiveInt | None = None
    """Only the first items."""
    version: str = Field(default="", max_length=20)
    """Version that the task's author gave it."""
    x_stats: TaskStatistics = TaskStatistics()
    x_language: str = ""

    @property
    def higher_is_better(self) -> bool:
        return self.output_type != "loglikelihood_rolling"

    @property
    def uses_tools(self) -> bool:
        return self.output_type == "agent"

    @property
    def options(self) -> MetricOptions | None:
        """Of the metric."""
        return read_options(self.metric, dict(self.metric_options))

    @property
    def idle_fields(self) -> set[str]:
        """Fields that change no score as they are, so that scores of tasks from before these fields stay comparable."""
        later = ("agent", "judging", "metric_options", "repeats", "filter_list", "version")
        return {name for name in later if getattr(self, name) == type(self).model_fields[name].get_default()}

    @model_validator(mode="before")
    @classmethod
    def _write_options(cls, given: Any) -> Any:
        """With their defaults, so that what a task means is frozen with it."""
        if not isinstance(given, dict) or not isinstance(given.get("metric"), str):
            return given
        if given.get("output_type") == "agent":
            return given  # its metric is the name of a reward, which has options of its own
        named = given.get("metric_options", {})
        if not isinstance(named, dict):
            return given
        options = write_options(given["metric"], named)
        return {**given, "metric_options": options} if options or named else given

    @model_validator(mode="after")
    def _check_answers(self) -> "TaskSpec":
        if self.output_type == "generate_until":
            if self.repeats > 1 and not self.generation_kwargs.temperature:
                raise ValueError("repeats: the likeliest answer is the same each time; set a temperature above 0")
            return self
        for name, used in (("repeats", self.repeats > 1), ("filter_list", bool(self.filter_list))):
            if used:
                raise ValueError(f"{name} belongs to output_type generate_until; remove it")
        return self

    @model_validator(mode="after")
    def _check_metric(self) -> "TaskSpec":
        fitting: tuple[str, ...] = METRICS.get(self.output_type, ())
        if self.agent is not None:
            fitting = tuple(reward.component for reward in self.agent.rewards)
        if fitting and self.metric not in fitting:
            raise ValueError(f"metric {self.metric} does not fit {self.output_type}; use {' or '.join(fitting)}")
        return self

    @model_validator(mode="after")
    def _check_judges(self) -> "TaskSpec":
        if self.output_type != "judged":
            if self.judging is not None:
                raise ValueError(f"judging belongs to output_type judged, not {self.output_type}; remove one of them")
            return self
        if self.judging is None:
            raise ValueError("output_type judged needs judging.judges: name the models that judge")
        if self.num_fewshot:
            raise ValueError("num_fewshot: a judged conversation is shown no solved items; remove it")
        if reason := self.judging.check_metric(self.metric):
            raise ValueError(reason)
        return self

    @model_validator(mode="after")
    def _check_agent(self) -> "TaskSpec":
        if not self.uses_tools:
            if self.agent is not None:
                raise ValueError(f"agent belongs to output_type agent, not {self.output_type}; remove one of them")
            return self
        if self.agent is None:
            raise ValueError("output_type agent needs agent.rewards: name what is measured of an episode")
        if self.num_fewshot:
            raise ValueError("num_fewshot: an agent is shown no solved items; remove it")
        if "max_gen_toks" not in self.generation_kwargs.model_fields_set:
            raise ValueError("generation_kwargs.max_gen_toks: say how many tokens an episode may have")
        if problems := check_longest(self.agent.rewards, self.generation_kwargs.max_gen_toks):
            raise ValueError("; ".join(f"agent.{problem}" for problem in problems))
        return self
