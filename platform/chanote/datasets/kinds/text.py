"""`text`: a document, often one section of a law."""

from collections.abc import Iterator

from chanote.datasets.kinds.base import FilledText, RowModel, SpelledText


class TextRow(RowModel):
    required = ("text",)
    aliases = {
        "text": ("content", "document", "body", "section_content"),
        "law_name": ("law", "act", "statute"),
        "section_num": ("section", "section_number", "article"),
    }

    text: FilledText
    law_name: str | None = None
    section_num: SpelledText | None = None

    def texts(self) -> Iterator[str]:
        yield self.text

    def law_names(self) -> Iterator[str]:
        if self.law_name:
            yield self.law_name
