"""Words of a text in any script. Thai, which has no spaces, is cut by PyThaiNLP's newmm with a pinned dictionary."""

import os
import re
from collections.abc import Callable
from functools import cache

_RUN = re.compile(r"[\u0e01-\u0e4e]+|[\u4e00-\u9fff\u3040-\u30ff]|[^\W\u0e00-\u0e7f\u4e00-\u9fff\u3040-\u30ff_]+")
LONGEST_RUN = 600
"""Letters of Thai given to the splitter at a time: its time grows faster than the length."""


@cache
def _open_thai() -> Callable[[str], list[str]]:
    # Its import would otherwise make a folder in the user's home.
    os.environ.setdefault("PYTHAINLP_READ_ONLY", "1")
    os.environ.setdefault("PYTHAINLP_OFFLINE", "1")
    from pythainlp.tokenize import word_dict_trie
    from pythainlp.tokenize.newmm import segment

    dictionary = word_dict_trie()

    def split(run: str) -> list[str]:
        return [
            word
            for start in range(0, len(run), LONGEST_RUN)
            for word in segment(run[start : start + LONGEST_RUN], dictionary)
        ]

    return split


def split_words(text: str) -> list[str]:
    """Runs of letters and digits, single signs of Chinese and kana, and words of Thai."""
    words: list[str] = []
    for run in _RUN.findall(text):
        if "\u0e01" <= run[0] <= "\u0e4e":
            words += _open_thai()(run)
        else:
            words.append(run)
    return words
