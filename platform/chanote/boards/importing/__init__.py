"""Result files of other harnesses: one module a format, from bytes to items; nothing here knows the database.

What a row does not say is not guessed: it is skipped, and the list of what was skipped goes to the person.
"""

from chanote.boards.importing.formats import FORMATS, read_results
from chanote.boards.importing.rows import ImportedItem, ImportedResult, NotReadable, Parsed

__all__ = ["FORMATS", "ImportedItem", "ImportedResult", "NotReadable", "Parsed", "read_results"]
