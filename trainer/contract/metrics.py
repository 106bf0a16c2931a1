"""Which metrics judge what an output type gives, and the options that some of them have."""

import re
from typing import Any, Literal

from pydantic import Field, PositiveInt, ValidationError, field_validator

from trainer.contract.base import Contract
from trainer.contract.rewards.writing import Script

METRICS = {
    "multiple_choice": ("acc", "acc_norm"),
    "generate_until": (
        "exact_match",
        "numeric_match",
        "ifeval",
        "code_switching",
        "answer_overlap",
        "citations",
        "retrieval",
        "intent_slots",
    ),
    "loglikelihood_rolling": ("perplexity",),
    "judged": ("judge_grade", "judge_wins"),
}
"""Metrics that can judge what an output type gives. Of an agent, each of its rewards is one."""


class MetricOptions(Contract):
    """Options are part of a task's identity: another value is another measure."""


class ExactOptions(MetricOptions):
    ignore_case: bool = False
    ignore_punctuation: bool = False
    """ASCII punctuation is left out of both sides."""
    regexes_to_ignore: list[str] = []
    """What these regular expressions of Python find is left out of both sides, one after the other, first of all."""

    @field_validator("regexes_to_ignore")
    @classmethod
    def _check_patterns(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern} is no regular expression: {error}") from error
        return patterns


class InstructionOptions(MetricOptions):
    level: Literal["prompt", "instruction"] = "prompt"
    """prompt: 1 when every instruction of the prompt is followed; instruction: one score for each instruction, the
    prompt being their cluster."""
    reading: Literal["strict", "loose"] = "strict"
    """loose: followed when any of eight readings of the answer follows (without asterisks, first line, last line)."""
    language: Literal["en", "th"] = "en"
    """th: checkers that mean nothing in Thai are skipped, and the others count as Thai is written."""


class CodeSwitchingOptions(MetricOptions):
    main: Script = "Thai"
    also: list[Script] = ["Latin"]
    """Scripts that may be used beside it."""
    main_share: float = Field(default=0.5, ge=0, le=1)
    """Smallest share of the main script in the letters that count, where the prompt is written in it; τ."""


class OverlapOptions(MetricOptions):
    measure: Literal["f1", "em"] = "f1"
    split: Literal["characters", "words", "newmm"] = "characters"
    """What is compared: characters without spaces; words between spaces; words as PyThaiNLP's newmm cuts them, which
    depends on its version."""
    pythainlp: str = Field(default="", pattern=r"^[0-9.]*$")
    """Version of PyThaiNLP; belongs to newmm, which gives other words in other versions."""
    references: str = ""
    """Row field that lists further right answers; empty: the target alone."""


class CitationOptions(MetricOptions):
    measure: Literal["f1", "precision", "recall"] = "f1"
    written: Literal["text", "json"] = "json"
    """How the answer cites. text: as lawyers write; json: the last JSON object of the answer has `citations`, each with
    `law` and `section`."""
    citations: str = Field(default="citations", min_length=1)
    """Row field that lists the right citations, each with `law` and `section`."""
    compat: Literal["", "nitibench"] = ""
    """nitibench: precision and recall exchanged, as the published program computes them; F1 is the same."""


class RetrievalOptions(MetricOptions):
    measure: Literal["recall", "hit_rate", "multi_hit_rate", "mrr"] = "recall"
    k: PositiveInt = 10
    """How many of the first results count."""
    citations: str = Field(default="citations", min_length=1)


class IntentOptions(MetricOptions):
    measure: Literal["intent", "slot_f1", "both"] = "both"
    """intent: the right one; slot_f1: of the sentence's labelled spans; both: intent right and no slot wrong."""
    slots: str = Field(default="slots", min_length=1)
    """Row field that lists the right slots, each with `slot` and `text`."""


METRIC_OPTIONS: dict[str, type[MetricOptions]] = {
    "exact_match": ExactOptions,
    "ifeval": InstructionOptions,
    "code_switching": CodeSwitchingOptions,
    "answer_overlap": OverlapOptions,
    "citations": CitationOptions,
    "retrieval": RetrievalOptions,
    "intent_slots": IntentOptions,
}
"""Metric → its options; the others have none."""


def read_options(metric: str, given: dict[str, object]) -> MetricOptions | None:
    """Raises ValueError with the field and the fault."""
    known = METRIC_OPTIONS.get(metric)
    if known is None:
        if given:
            raise ValueError(f"metric_options: {metric} has none; remove {', '.join(given)}")
        return None
    try:
        return known.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"metric_options.{where}: {first['msg']}") from error


def write_options(metric: str, given: dict[str, object]) -> dict[str, Any]:
    """As they are frozen: with defaults, except where none is set and the metric is older than its options, so that
    tasks frozen before stay the same. Raises ValueError."""
    options = read_options(metric, given)
    if options is None or (metric == "exact_match" and options == ExactOptions()):
        return {}
    return options.model_dump(mode="json")
