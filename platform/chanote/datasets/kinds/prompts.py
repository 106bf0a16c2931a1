"""`prompts`: a question, its reference answer, the sections of law that the answer rests on."""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from chanote.datasets.kinds.base import FilledText, RowModel, SpelledText


class Citation(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    law: FilledText
    section: SpelledText


class PromptRow(RowModel):
    required = ("question",)
    aliases = {
        "question": ("prompt", "query", "instruction", "problem"),
        "answer": ("reference_answer", "reference", "target", "solution", "output", "response", "completion"),
        "citations": ("relevant_laws", "gold_citations"),
    }

    question: FilledText
    answer: SpelledText | None = None
    citations: list[Citation] | None = None

    def texts(self) -> Iterator[str]:
        yield self.question
        if self.answer:
            yield self.answer

    def law_names(self) -> Iterator[str]:
        for citation in self.citations or ():
            yield citation.law
