"""What a person chooses for an AutoIF build."""

from typing import Literal

from pydantic import Field

from chanote.building.kinds.base import BuildConfig, EndpointName, Reference


class AutoIfConfig(BuildConfig):
    questions: Reference = Field(title="Questions")
    """Version whose questions the constraints are put to: prompts, or the first turn of conversations."""
    endpoint: EndpointName = Field(title="Endpoint", min_length=1)
    """Writes constraints, functions, answers and translations."""
    judge: EndpointName = Field(default="", title="Judge")
    """Judges contradictions and quality; the endpoint above when nothing is chosen."""
    seed: int = Field(default=1, ge=0, lt=2**31, title="Seed")
    """The same seed, endpoint and replies give the same rows."""
    languages: Literal["both", "th", "en"] = Field(default="both", title="Languages of the constraints")
    """In which the constraints are worded at first."""
    rows: int = Field(default=200, ge=1, le=1_000_000, title="Pairs of question and constraint")
    """The most that may become rows, before answers are checked and judged."""
    constraint_calls: int = Field(default=4, ge=0, le=1000, title="Calls for new constraints")
    """0: the seeds alone."""
    constraints_per_call: int = Field(default=20, ge=1, le=100, title="Constraints asked for in each call")
    functions_each: int = Field(default=6, ge=1, le=50, title="Verification functions asked for")
    """For each constraint."""
    cases_each: int = Field(default=4, ge=1, le=20, title="Cases asked for with each function")
    min_functions: int = Field(default=3, ge=1, le=50, title="Fewest functions")
    """A constraint with fewer functions after cross-validation is dropped."""
    min_cases: int = Field(default=10, ge=2, le=1000, title="Fewest cases")
    """A constraint with fewer cases that some function reproduces is dropped."""
    min_accuracy: float = Field(default=0.8, gt=0, le=1, title="Lowest accuracy of a function")
    """Share of those cases that a function must reproduce."""
    answers_each: int = Field(default=2, ge=1, le=50, title="Answers for each pair")
    min_passed: float = Field(default=0.5, gt=0, le=1, title="Lowest share of functions that pass an answer")
    answer_language: Literal["question", "th"] = Field(default="question", title="Language of the answers")
    """With th, Thai is asked for and checked even where the question is English."""
    min_quality: int = Field(default=8, ge=0, le=10, title="Lowest quality")
    """Of 0 to 10. An answer with exactly this score is kept."""
    cross_lingual: float = Field(default=0.5, ge=0, le=1, title="Share of rows to cross over")
    """They come a second time with the constraint in the other language, Thai to English and English to Thai."""
    max_answer_tokens: int = Field(default=2048, ge=16, le=32_768, title="Most tokens of an answer")
    """Answers that are cut off here are dropped."""
