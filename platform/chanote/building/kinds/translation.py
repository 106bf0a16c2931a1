"""Translation of a dataset, the original kept beside it, judged by translating back."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from pydantic import Field

from chanote.building.asking import ask_each
from chanote.building.doing import Building
from chanote.building.funnel import Dropped, Item, Kept, Outcome, Step
from chanote.building.kinds.base import BuildConfig, BuildKind, EndpointName, Reference
from chanote.building.results import find_clash, make_result
from chanote.building.translation.guarding import Guarded, guard, name_kind, restore
from chanote.building.translation.texts import Path, list_texts, replace_texts
from chanote.building.translation.wordings import LANGUAGES, ask_to_translate, find_faults, keep_edges, score_back
from chanote.datasets.making import read_sourced_rows
from chanote.datasets.models import DatasetVersion
from chanote.datasets.selectors import find_version

AT_ONCE = 64
"""Rows under way together."""
TRANSLATE = Step("translate", "Translate", "rows")
BACK = Step("back", "Translate back and compare", "rows")
Language = Literal[
    "ar", "bar", "de", "en", "es", "fr", "hi", "id", "it", "ja", "km", "ko", "lo", "ms", "my", "pt", "ru", "ta", "th",
    "tl", "vi", "zh",
]  # fmt: skip


class TranslationConfig(BuildConfig):
    source: Reference = Field(title="Dataset")
    endpoint: EndpointName = Field(min_length=1, title="Endpoint that translates")
    from_language: Language = Field(default="en", title="From")
    to_language: Language = Field(default="th", title="Into")
    tries: int = Field(default=3, ge=1, le=10, title="Tries for a text")
    """A text that lost code, an address, a placeholder, a quoted string or a number is asked for again, and its row is
    dropped when the last try lost something too."""
    keep_quotes: bool = Field(default=True, title="Keep quoted strings as they are")
    """Off: what stands in quotation marks is translated as well."""
    back: bool = Field(default=True, title="Translate back and score")
    back_endpoint: EndpointName = Field(default="", title="Endpoint that translates back")
    """Empty: the same. Another model flatters the first one less."""
    least_score: float = Field(default=35.0, ge=0, le=100, title="Least back-translation score")
    """chrF between the original and the back-translation, 0 to 100; a row below it is dropped, 0 keeps all."""
    most_rows: int | None = Field(default=None, ge=1, title="Most rows")
    """The first so many; empty: all."""


class Translation(BuildKind[TranslationConfig]):
    name = "translation"
    title = "Translation"
    summary = "A dataset in another language, each row with its original and a back-translation score."
    config_class = TranslationConfig
    steps = (TRANSLATE, BACK)

    def check(self, config: TranslationConfig, *, project: Any) -> dict[str, str]:
        problems = {}
        with suppress(DatasetVersion.DoesNotExist):  # a source that is missing is told already
            kind = find_version(project, config.source).dataset.kind
            if clash := find_clash(project, config.name, kind, made_from=config.source):
                problems["name"] = clash
        if config.from_language == config.to_language:
            problems["to_language"] = f"The dataset is in {LANGUAGES[config.to_language]} already; choose another."
        if config.back_endpoint and not config.back:
            problems["back_endpoint"] = "Nothing is translated back; leave it empty, or switch that on."
        return problems

    def build(self, building: Building, config: TranslationConfig) -> DatasetVersion:
        source = find_version(building.project, config.source)
        total = min(source.rows, config.most_rows or source.rows)
        funnel = building.funnel
        done = funnel.run(TRANSLATE, lambda: _translate(building, config, source, total), total=total)
        funnel.run(BACK, lambda: _translate_back(building, config), total=done)
        return make_result(
            building,
            slug=config.name,
            kind=source.dataset.kind,
            rows=((item["row"], item["source"]) for item in funnel.read_kept(BACK)),
            drawn_from=[source],
            operation={
                "name": "translate",
                "from": config.from_language,
                "to": config.to_language,
                "back_translation": _summarise_scores(building),
            },
            reason=f"Translated from {source.reference}, {config.from_language} to {config.to_language}",
            endpoints=[config.endpoint],
            judges=[config.back_endpoint],
            languages=[config.to_language],
        )


def _summarise_scores(building: Building) -> dict[str, Any] | None:
    """Of the rows that stayed; None where nothing was translated back."""
    rows, total, lowest = 0, 0.0, 100.0
    tens: Counter[int] = Counter()
    for item in building.funnel.read_kept(BACK):
        score = item["row"]["translation"].get("back_translation_score")
        if score is not None:
            rows, total, lowest = rows + 1, total + score, min(lowest, score)
            tens[min(90, int(score // 10) * 10)] += 1
    if not rows:
        return None
    listed = [[f"{ten} to {ten + 10}", tens[ten]] for ten in sorted(tens)]
    return {"rows": rows, "mean": round(total / rows, 1), "lowest": round(lowest, 1), "tens": listed}


@dataclass
class _Text:
    """One text on its way."""

    row: int
    """Place in its block."""
    path: Path
    original: str
    guarded: Guarded
    done: str | None = None
    """The translation with its marks."""
    faults: list[str] = field(default_factory=list)


def _translate(building: Building, config: TranslationConfig, source: DatasetVersion, total: int) -> Iterator[Outcome]:
    kind = source.dataset.kind
    rows = enumerate(read_sourced_rows(source, 0, total), 1)
    while block := list(islice(rows, AT_ONCE)):
        texts = [
            _Text(place, path, text, guard(text, quotes=config.keep_quotes))
            for place, (_, (row, _)) in enumerate(block)
            for path, text in list_texts(row, kind)
        ]
        _ask_until_sound(building, config, texts)
        for place, (number, (row, pk)) in enumerate(block):
            yield _finish(number, row, pk, [text for text in texts if text.row == place], building, config)


def _ask_until_sound(building: Building, config: TranslationConfig, texts: list[_Text]) -> None:
    """Ask for every text, and again for those that lost something; what has no letters needs no translation."""
    endpoint = building.open_endpoint(config.endpoint)
    for text in texts:
        if text.guarded.is_bare:
            text.done = text.guarded.text
    for attempt in range(config.tries):
        # A row of which one text is lost already is not worth its other texts' further tries, but these are few.
        open_texts = [text for text in texts if text.done is None]
        pairs = (
            (
                text,
                ask_to_translate(
                    text.guarded,
                    source=config.from_language,
                    target=config.to_language,
                    attempt=attempt,
                    losses=text.faults,
                ),
            )
            for text in open_texts
        )
        for text, reply in ask_each(endpoint, pairs, leave_if_asked=building.leave_if_asked):
            text.faults = find_faults(reply, text.guarded, target=config.to_language)
            if not text.faults:
                text.done = reply.text


def _finish(
    number: int, row: dict[str, Any], pk: int | None, texts: list[_Text], building: Building, config: TranslationConfig
) -> Outcome:
    item: Item = {"number": number, "row": row, "source": pk}
    lost = next((text for text in texts if text.done is None), None)
    if lost is not None:
        where = ".".join(map(str, lost.path))
        return Dropped(item, f"{name_kind(lost.faults[0])} in every try", f"{where}: {'; '.join(lost.faults)}"[:500])
    if not texts:
        return Dropped(item, "holds no text to translate")
    translated = {text.path: keep_edges(restore(text.done or "", text.guarded), text.original) for text in texts}
    made = {
        **replace_texts(row, translated),
        "original": {".".join(map(str, text.path)): text.original for text in texts},
        "translation": {
            "from": config.from_language,
            "to": config.to_language,
            "model": building.open_endpoint(config.endpoint).endpoint.model,
        },
    }
    if "language" in row:
        made["language"] = config.to_language
    pairs = [[text.guarded.text, text.done] for text in texts if not text.guarded.is_bare]
    return Kept({**item, "row": made, "pairs": pairs})


def _translate_back(building: Building, config: TranslationConfig) -> Iterator[Outcome]:
    items = building.funnel.read_kept(TRANSLATE)
    if not config.back:
        yield from (Kept({**item, "pairs": []}) for item in items)
        return
    endpoint = building.open_endpoint(config.back_endpoint or config.endpoint)
    while block := list(islice(items, AT_ONCE)):
        pairs = (
            (
                (place, original),
                ask_to_translate(Guarded(done, ()), source=config.to_language, target=config.from_language),
            )
            for place, item in enumerate(block)
            for original, done in item["pairs"]
        )
        scores: list[list[tuple[int, float]]] = [[] for _ in block]
        faults: dict[int, str] = {}
        for (place, original), reply in ask_each(endpoint, pairs, leave_if_asked=building.leave_if_asked):
            if reply.fault:
                faults[place] = reply.fault
            else:
                scores[place].append((len(original), score_back(original, reply.text)))
        for place, item in enumerate(block):
            yield _judge(item, scores[place], faults.get(place, ""), config, endpoint.endpoint.model)


def _judge(item: Item, scores: list[tuple[int, float]], fault: str, config: TranslationConfig, model: str) -> Outcome:
    """A row's score is the mean over its texts, by their length."""
    left = {name: value for name, value in item.items() if name != "pairs"}
    if fault:
        return Dropped(left, "could not be translated back", fault)
    if not scores:
        return Kept(left)  # nothing in it is of any language
    score = sum(length * one for length, one in scores) / sum(length for length, _ in scores)
    told = {**item["row"]["translation"], "back_translation_score": round(score, 2), "back_model": model}
    scored = {**left, "row": {**item["row"], "translation": told}}
    if score < config.least_score:
        return Dropped(
            scored, "the back-translation score is too low", f"{score:.1f} of at least {config.least_score:g}"
        )
    return Kept(scored)
