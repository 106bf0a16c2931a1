"""Which language an answer is in, by its script and, where scripts are shared, by its commonest words.

The published program asks a statistical detector, which guesses at random on short texts and must be installed. Here
the rule is written down: most letters are of the language's script; where several of the languages that instructions
ask for share the script, none of the others has more of its function words (or letters of its own) in the answer.
"""

from collections import Counter

import regex

from trainer.evaluation.instructions.base import Wish, checker

SCRIPTS = {
    "ar": "Arabic", "bg": "Cyrillic", "bn": "Bengali", "de": "Latin", "el": "Greek", "en": "Latin", "es": "Latin",
    "fa": "Arabic", "fi": "Latin", "fr": "Latin", "gu": "Gujarati", "he": "Hebrew", "hi": "Devanagari", "it": "Latin",
    "ja": "Kana", "kn": "Kannada", "ko": "Hangul", "lo": "Lao", "ml": "Malayalam", "mr": "Devanagari",
    "ne": "Devanagari", "pa": "Gurmukhi", "pt": "Latin", "ru": "Cyrillic", "sw": "Latin", "ta": "Tamil", "te": "Telugu",
    "th": "Thai", "uk": "Cyrillic", "ur": "Arabic", "vi": "Latin", "zh": "Han",
}  # fmt: skip
"""Language → script. Kana: Japanese writes Han too, but never without kana."""
PATTERNS = {
    "Kana": r"[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]",
    **{script: rf"\p{{Script={script}}}" for script in set(SCRIPTS.values()) - {"Kana"}},
}
MAIN_SHARE = 0.5
LETTER = regex.compile(r"\p{L}")
RUN = regex.compile(r"[\p{L}\p{M}]+")
COMMON = {
    "en": "the of and to in is that it for was with as on are this be you not have from",
    "de": "der die und das ist in den von zu mit nicht ein eine ich sie auf für dem des wird",
    "es": "el la de que y en los del las por con una para es se no un lo como más",
    "fr": "le la les de et des en un une que est pour dans qui sur pas au il ce du",
    "it": "il di che e la per un una non sono è del con le gli della si da nel più",
    "pt": "o de que e do da em um para com não uma os no se na por mais as dos",
    "fi": "ja on ei se että hän oli ovat myös kun mutta tai kuin joka sen niin voi ole minä mitä",
    "sw": "na ya wa kwa ni katika la za kuwa hii cha yake kama pia ili hiyo watu yangu sana lakini",
    "vi": "và của là có không một những được trong cho với các người để này tôi đã khi như thì",
    "ru": "и в не на что с это как по но из к он у за от для было так все",
    "bg": "и на в се да от за е с не са по че като но това той със ще към",
    "uk": "і в не на що з це як та до він у за від для було так але є ми",
    "ar": "في من على إلى أن هذا التي الذي عن مع هو كان هذه ذلك ما لا كل بين أو لم",
    "fa": "در و به از که این را با است آن برای یک می ها خود تا شود بود هم کرد",
    "ur": "کے میں کی ہے اور سے کا کو پر ہیں نے کہ یہ ایک بھی تھا وہ کر اس گیا",
    "hi": "के में है की और से का को पर हैं ने कि यह एक भी था वह कर इस नहीं",
    "mr": "आहे आणि या च्या हे ते एक होते आहेत की मी त्या नाही करून होता तो ही मध्ये साठी पण",
    "ne": "छ र मा को का हो छन् यो पनि गर्न एक भएको गरेको लागि छैन थियो म तपाईं हुन्छ भने",
}
WORDS = {language: frozenset(words.split()) for language, words in COMMON.items()}


@checker("language:response_language", language=str)
def answer_in_language(answer: str, wish: Wish) -> bool:
    return is_written_in(answer, wish.text("language"))


def is_written_in(text: str, language: str) -> bool:
    """A text without letters is of any language. Raises KeyError for a language that is not known."""
    script = SCRIPTS[language]
    letters = len(LETTER.findall(text))
    if not letters:
        return True
    # Marks do not count: what is compared are letters with letters.
    own = len(regex.findall(rf"(?V1)[\p{{L}}&&{PATTERNS[script]}]", text))
    if own <= MAIN_SHARE * letters:
        return False
    if language == "zh" and regex.search(PATTERNS["Kana"].replace(r"\p{Script=Han}", ""), text):
        return False
    return language in _likeliest(text, script)


def _likeliest(text: str, script: str) -> set[str]:
    """Languages of the script of whose commonest words the text has the most."""
    sharing = [one for one, own in SCRIPTS.items() if own == script]
    if len(sharing) == 1:
        return set(sharing)
    words = Counter(run.lower() for run in RUN.findall(text))
    counts = {one: sum(words[word] for word in WORDS[one]) for one in sharing}
    most = max(counts.values())
    return {one for one, count in counts.items() if count == most}
