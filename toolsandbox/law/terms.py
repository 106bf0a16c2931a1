"""From a text to the 64-bit terms that are indexed: its words, and its character n-grams."""

import hashlib
from functools import lru_cache

import numpy as np

from toolsandbox.law.language import Language
from toolsandbox.law.postings import Terms

GRAM = 4
"""Characters of an n-gram: long enough to be about a syllable of Thai, short enough to bridge misspellings."""
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9))


@lru_cache(maxsize=262_144)
def hash_word(word: str) -> int:
    """64 bits: among a million distinct words, two share a hash with a chance of 3e-8."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def word_terms(normalised: str, language: Language) -> Terms:
    words = language.split(normalised)
    return np.fromiter((hash_word(word) for word in words), dtype=np.uint64, count=len(words))


def gram_terms(normalised: str) -> Terms:
    """Every run of `GRAM` characters, across blanks too: Thai writes a blank where other languages end a clause."""
    codes = np.frombuffer(normalised.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    if len(codes) < GRAM:
        return np.zeros(0, dtype=np.uint64)
    hashed = np.zeros(len(codes) - GRAM + 1, dtype=np.uint64)
    for place in range(GRAM):
        hashed = (hashed ^ codes[place : place + len(hashed)]) * _MIX[0]
        hashed ^= hashed >> np.uint64(32)
    return hashed * _MIX[1]
