"""What rows of every kind have in common: checked known fields, any further fields kept as they are."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


def _require_text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    return value


def _spell_number(value: Any) -> Any:
    """Section numbers and answers often come as numbers."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


FilledText = Annotated[str, AfterValidator(_require_text)]
SpelledText = Annotated[str, BeforeValidator(_spell_number)]


class RowModel(BaseModel):
    """One row. Unknown fields are kept, so that an identifier or a subject is not lost."""

    model_config = ConfigDict(extra="allow", strict=True)

    required: ClassVar[tuple[str, ...]]
    """Fields that a column must be found for."""
    aliases: ClassVar[dict[str, tuple[str, ...]]]
    """Field → other names under which files have it, in lower case."""
    loose: ClassVar[tuple[str, ...]] = ()
    """Further columns that `put_together` takes fields from."""

    @classmethod
    def put_together(cls, content: dict[str, Any]) -> dict[str, Any]:
        """The fields of a row from the columns of a file, under their fields' names. Raises RowError."""
        return content

    def texts(self) -> Iterator[str]:
        """What a reader or a model reads of the row."""
        raise NotImplementedError

    def law_names(self) -> Iterator[str]:
        """Laws that the row is of or cites."""
        yield from ()

    def content(self) -> dict[str, Any]:
        """The row as it is stored: fields that were not given are left out."""
        return self.model_dump(exclude_unset=True)
