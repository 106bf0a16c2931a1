"""The kinds of rows, one file each."""

from chanote.datasets.kinds.base import RowModel
from chanote.datasets.kinds.chat import ChatRow
from chanote.datasets.kinds.choices import ChoiceRow
from chanote.datasets.kinds.preferences import PreferenceRow
from chanote.datasets.kinds.prompts import PromptRow
from chanote.datasets.kinds.text import TextRow

ROW_MODELS: dict[str, type[RowModel]] = {
    "chat": ChatRow,
    "text": TextRow,
    "prompts": PromptRow,
    "choices": ChoiceRow,
    "preferences": PreferenceRow,
}

__all__ = ["ROW_MODELS", "ChatRow", "ChoiceRow", "PreferenceRow", "PromptRow", "RowModel", "TextRow"]
