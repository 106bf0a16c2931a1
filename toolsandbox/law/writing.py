"""One spelling for what is written in several ways, so that names, numbers and words can be compared.

Texts are kept as they are; only keys and search terms pass through here.
"""

import re
import unicodedata

_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"))
_TONE_BEFORE_VOWEL = re.compile("([\u0e48-\u0e4b])([\u0e31\u0e34-\u0e3a\u0e47])")
_SARA_AM = re.compile("\u0e4d([\u0e48-\u0e4b]?)\u0e32|([\u0e48-\u0e4b])\u0e4d\u0e32")
_SPACE = re.compile(r"\s+")
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_THAI_DIGITS = str.maketrans("๐๑๒๓๔๕๖๗๘๙", "0123456789")


def normalise(text: str) -> str:
    """NFKC, Arabic digits, one blank for any white space, lower case, and Thai vowels and tones in one order.

    NFKC takes SARA AM apart; it is put together again, because word lists spell it as one letter. Half of a surrogate
    pair, which no encoding can write, becomes the sign for what cannot be read.
    """
    text = unicodedata.normalize("NFKC", _HALF_PAIR.sub("\ufffd", text)).translate(_INVISIBLE).translate(_THAI_DIGITS)
    text = text.replace("เเ", "แ")
    text = _TONE_BEFORE_VOWEL.sub(r"\2\1", text)
    text = _SARA_AM.sub(lambda found: (found[1] or found[2] or "") + "\u0e33", text)
    return _SPACE.sub(" ", text).strip().casefold()
