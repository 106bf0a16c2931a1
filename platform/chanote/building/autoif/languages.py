"""Which language a text is in, by the scripts of its letters."""

import unicodedata

LEAST_SHARE = 0.5
"""Of the letters, for a text to be of a script."""


def share_scripts(text: str) -> dict[str, float]:
    """Shares of Thai, Latin, CJK and other letters; empty for a text without letters. Thai vowel signs count too."""
    counts = {"thai": 0, "latin": 0, "cjk": 0, "other": 0}
    for character in text:
        if is_cjk(character):
            counts["cjk"] += 1
        elif "\u0e01" <= character <= "\u0e4e" and character not in "\u0e3f\u0e46":
            counts["thai"] += 1
        elif unicodedata.category(character).startswith("L"):
            named = unicodedata.name(character, "").startswith(("LATIN", "FULLWIDTH LATIN"))
            counts["latin" if named else "other"] += 1
    total = sum(counts.values())
    return {script: count / total for script, count in counts.items()} if total else {}


def is_cjk(character: str) -> bool:
    """Whether it is a Chinese, Japanese or Korean letter, or a mark that only they have in writing."""
    code = ord(character)
    return (
        0x2E80 <= code <= 0x2FDF  # radicals
        or 0x3005 <= code <= 0x3007
        or 0x3021 <= code <= 0x3029
        or 0x3031 <= code <= 0x30FF  # kana
        or 0x3100 <= code <= 0x31FF  # bopomofo, hangul compatibility
        or 0x3400 <= code <= 0x4DBF
        or 0x4E00 <= code <= 0x9FFF
        or 0x1100 <= code <= 0x11FF
        or 0xAC00 <= code <= 0xD7FF
        or 0xA960 <= code <= 0xA97F
        or 0xF900 <= code <= 0xFAFF
        or 0xFF66 <= code <= 0xFFDC
        or 0x20000 <= code <= 0x323AF
    )


def count_cjk(text: str) -> int:
    return sum(map(is_cjk, text))


def name_language(text: str) -> str:
    """`th` or `en`; empty where neither script has half of the letters. Latin letters are taken for English."""
    shares = share_scripts(text)
    if shares.get("thai", 0) >= LEAST_SHARE:
        return "th"
    return "en" if shares.get("latin", 0) > LEAST_SHARE else ""
