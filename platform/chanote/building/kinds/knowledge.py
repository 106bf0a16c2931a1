"""InK corpora: text to be known, raw or as questions, apart from what is evaluated."""

import json
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from typing import Any, Literal

from pydantic import Field

from chanote.building.asking import ask_each
from chanote.building.doing import Building
from chanote.building.funnel import Dropped, Item, Kept, Outcome, Step
from chanote.building.kinds.base import BuildConfig, BuildKind, EndpointName, Reference
from chanote.building.knowledge.against import AT_ONCE, HITS, Against
from chanote.building.knowledge.cutting import cut_text
from chanote.building.knowledge.items import find_sets, fold
from chanote.building.knowledge.overlap import Hit
from chanote.building.knowledge.questions import (
    BadReply,
    ask_for_questions,
    fill_template,
    find_fault,
    put_together,
    read_questions,
)
from chanote.building.results import find_clash, make_result
from chanote.checks.folding import fold_for_comparing
from chanote.datasets.making import read_sourced_rows
from chanote.datasets.models import DatasetVersion
from chanote.datasets.selectors import find_version
from chanote.errands.work import WorkRefused

READ = Step("read", "Read, cut and keep apart", "texts")
FORM = Step("form", "Put into their form", "texts")
LOOK = Step("overlap", "Hold against the evaluation sets", "texts")


class KnowledgeConfig(BuildConfig):
    source: Reference = Field(title="Text")
    """Sections of law (with law_name and section_num) or any other text."""
    form: Literal["raw", "questions"] = Field(default="raw", title="Form")
    """raw: as it stands, which taught more in Typhoon-S. questions: each text as questions with their answers."""
    endpoint: EndpointName = Field(default="", title="Endpoint that writes the questions")
    """Empty: exact questions after sections of law by their law and number, answered by the section itself."""
    language: Literal["th", "en", "de"] = Field(default="th", title="Language of the questions")
    questions_each: int = Field(default=2, ge=1, le=20, title="Questions for each text")
    """Where an endpoint writes them."""
    longest: int = Field(default=0, ge=0, le=1_000_000, title="Longest text, in characters")
    """A longer one is cut at a paragraph, a line or a space; 0 leaves all whole. 100 at least."""
    evaluation: str = Field(default="", max_length=900, title="Evaluation sets")
    """Dataset versions to keep apart from, by name, with spaces between."""
    every_task: bool = Field(default=True, title="Keep apart from every task of the project")
    keep_out: Literal["questions", "sources", "laws"] = Field(default="sources", title="What stays out")
    """questions: texts that hold a question or an answer of an item. sources: also the sections and passages that items
    rest on. laws: also every other text of those laws or clusters."""
    cluster: str = Field(default="law_name", max_length=80, title="Field that names the cluster")
    """Texts with the same value belong together and stay on one side of every split."""
    held_out: float = Field(default=0.0, ge=0, le=0.5, title="Share of clusters set apart")
    """They go, raw, into a second dataset named …-held-out, to measure on."""
    seed: int = Field(default=0, ge=0, title="Seed of that split")


class Knowledge(BuildKind[KnowledgeConfig]):
    name = "knowledge"
    title = "Knowledge corpus"
    summary = "Text to be known (InK), raw or as questions, apart from what is evaluated, with a report on overlap."
    config_class = KnowledgeConfig
    steps = (READ, FORM, LOOK)
    row_kinds = {"source": ("text",)}

    def check(self, config: KnowledgeConfig, *, project: Any) -> dict[str, str]:
        problems = {}
        if clash := find_clash(project, config.name, "text", made_from=config.source):
            problems["name"] = clash
        elif config.held_out and (clash := find_clash(project, name_held_out(config.name), "text")):
            problems["held_out"] = clash
        if 0 < config.longest < 100:
            problems["longest"] = "A text of fewer than 100 characters says too little; use 100 or more, or 0."
        if config.endpoint and config.form == "raw":
            problems["endpoint"] = "Raw text asks nobody; leave the endpoint empty, or choose the form questions."
        try:
            versions = find_sets(project, config.evaluation.split(), every_task=config.every_task)
        except DatasetVersion.DoesNotExist as error:
            return {**problems, "evaluation": str(error)}
        with suppress(DatasetVersion.DoesNotExist):  # a source that is missing is told already
            source = find_version(project, config.source)
            if any(version.sha256 == source.sha256 for version in versions):
                problems["source"] = f"{config.source} holds the very rows of an evaluation set; choose another text."
        return problems

    def build(self, building: Building, config: KnowledgeConfig) -> DatasetVersion:
        source = find_version(building.project, config.source)
        against = Against(
            building.project,
            building.directory,
            named=config.evaluation.split(),
            every_task=config.every_task,
            keep_out=config.keep_out,
        )
        funnel = building.funnel
        read = funnel.run(READ, lambda: _read(building, source, config, against), total=source.rows)
        formed = funnel.run(FORM, lambda: _form(building, config), total=read)
        funnel.run(LOOK, lambda: _look(building, against), total=formed)
        report = against.report(funnel.read_kept(LOOK))
        (building.directory / "overlap.json").write_text(json.dumps(report, ensure_ascii=False, indent=1))
        if config.held_out:
            self._keep_apart(building, config, source)
        rows = ((item["row"], item["source"]) for item in funnel.read_kept(LOOK) if not item["apart"])
        return make_result(
            building,
            slug=config.name,
            kind="text",
            rows=rows,
            drawn_from=[source],
            operation={"name": "knowledge", "overlap": report},
            reason=f"Knowledge corpus from {source.reference}, {config.form}",
            endpoints=[config.endpoint],
        )

    def _keep_apart(self, building: Building, config: KnowledgeConfig, source: DatasetVersion) -> None:
        rows = [(item["row"], item["source"]) for item in building.funnel.read_kept(LOOK) if item["apart"]]
        if not rows:
            raise WorkRefused(
                f"No cluster was set apart: the field {config.cluster} has too few values; lower the share to 0, or "
                "name another field."
            )
        make_result(
            building,
            slug=name_held_out(config.name),
            kind="text",
            rows=rows,
            drawn_from=[source],
            operation={"name": "knowledge", "side": "held out"},
            reason=f"Clusters of {source.reference} set apart from {config.name}",
        )


def name_held_out(slug: str) -> str:
    """The dataset of what is set apart; a long name gives way to the ending."""
    return f"{slug[:71]}-held-out"


def _read(building: Building, source: DatasetVersion, config: KnowledgeConfig, against: Against) -> Iterator[Outcome]:
    """Texts in their parts, without copies and without what must stay out. What each holds of items is written down."""
    touched = _touched_clusters(source, config, against) if config.keep_out == "laws" else set()
    seen: set[bytes] = set()
    rows = enumerate(read_sourced_rows(source), 1)
    with (building.directory / HITS).open("w") as told:
        while block := list(islice(rows, AT_ONCE)):
            items = [_item(number, row, pk, config) for number, (row, pk) in block]
            for item, hits in zip(items, against.find(items), strict=True):
                if hits:
                    pairs = [[hit.part, hit.item] for hit in hits]
                    told.write(json.dumps({"row": item["number"], "hits": pairs}) + "\n")
                letters = fold_for_comparing(item["row"]["text"])
                digest = sha256(letters.tobytes()).digest()[:16]
                reason, detail = _why_out(item, hits, config, touched, against)
                if digest in seen:
                    yield Dropped(item, "a copy of an earlier text")
                elif reason:
                    yield Dropped(item, reason, detail)
                else:
                    yield from _cut(item, config.longest)
                seen.add(digest)


def _cut(item: Item, longest: int) -> Iterator[Outcome]:
    text = item["row"]["text"]
    for part in cut_text(text, longest) if longest else [text]:
        yield Kept({**item, "row": {**item["row"], "text": part}})


def _why_out(
    item: Item, hits: list[Hit], config: KnowledgeConfig, touched: set[str], against: Against
) -> tuple[str, str]:
    parts = {hit.part: against.name(hit.item) for hit in reversed(hits)}
    for part in ("question", "answer"):
        if part in parts:
            return f"holds the {part} of an evaluated item", parts[part]
    if config.keep_out != "questions" and "source" in parts:
        return "an evaluated item rests on it", parts["source"]
    if item["cluster"] and item["cluster"] in touched:
        return "its law or cluster is evaluated", str(item["row"].get(config.cluster, ""))
    return "", ""


def _touched_clusters(source: DatasetVersion, config: KnowledgeConfig, against: Against) -> set[str]:
    """Clusters of which one text at least is asked about."""
    found = set(against.evaluated.laws) if config.cluster == "law_name" else set()
    rows = enumerate(read_sourced_rows(source), 1)
    while block := list(islice(rows, AT_ONCE)):
        items = [_item(number, row, pk, config) for number, (row, pk) in block]
        found |= {item["cluster"] for item, hits in zip(items, against.find(items), strict=True) if hits}
    return found - {""}


def _item(number: int, row: dict[str, Any], source: int | None, config: KnowledgeConfig) -> Item:
    cluster = fold(row.get(config.cluster) or "")
    drawn = int.from_bytes(sha256(f"{config.seed} {cluster or number}".encode()).digest()[:8]) / 2**64
    return {
        "number": number,
        "row": row,
        "source": source,
        "law": str(row.get("law_name") or ""),
        "section": str(row.get("section_num") or ""),
        "cluster": cluster,
        "apart": drawn < config.held_out,
    }


def _form(building: Building, config: KnowledgeConfig) -> Iterator[Outcome]:
    if config.form == "raw":
        yield from map(Kept, building.funnel.read_kept(READ))
    elif not config.endpoint:
        for item in building.funnel.read_kept(READ):
            made = fill_template(item["row"], config.language)
            if item["apart"]:
                yield Kept(item)
            elif made is None:
                yield Dropped(item, "no section of a law, so no exact question can be made", "Name an endpoint.")
            else:
                yield Kept(_as_question(item, made, written_by="template"))
    else:
        yield from _ask(building, config)


def _ask(building: Building, config: KnowledgeConfig) -> Iterator[Outcome]:
    endpoint = building.open_endpoint(config.endpoint)
    yield from (Kept(item) for item in building.funnel.read_kept(READ) if item["apart"])
    pairs = (
        (item, ask_for_questions(item["row"], count=config.questions_each, language=config.language))
        for item in building.funnel.read_kept(READ)
        if not item["apart"]
    )
    for item, reply in ask_each(endpoint, pairs, leave_if_asked=building.leave_if_asked):
        if reply.fault:
            yield Dropped(item, "the endpoint gave no answer", reply.fault)
            continue
        try:
            written = read_questions(reply)
        except BadReply as bad:
            yield Dropped(item, "the reply holds no questions", str(bad))
            continue
        kept = 0
        for one in written[: config.questions_each]:
            fault = find_fault(one, item["row"]["text"], language=config.language)
            if fault:
                yield Dropped({**item, "written": one}, fault, part=True)
                continue
            kept += 1
            yield Kept(_as_question(item, one, written_by=endpoint.endpoint.model))
        if not kept:
            yield Dropped(item, "none of its questions could stay")


def _as_question(item: Item, made: dict[str, str], *, written_by: str) -> Item:
    """The text is what is read; question and answer stay beside it."""
    row = {
        **item["row"],
        "text": put_together(made["question"], made["answer"]),
        "question": made["question"],
        "answer": made["answer"],
        "passage": item["row"]["text"],
        "written_by": written_by,
    }
    return {**item, "row": row}


def _look(building: Building, against: Against) -> Iterator[Outcome]:
    """Written questions may ask what is evaluated, word for word, though their passage did not hold it."""
    items = building.funnel.read_kept(FORM)
    while block := list(islice(items, AT_ONCE)):
        for item, hits in zip(block, against.find(block), strict=True):
            held = next((hit for hit in hits if hit.part in ("question", "answer")), None)
            if held is not None:
                yield Dropped(item, f"holds the {held.part} of an evaluated item", against.name(held.item))
            else:
                yield Kept(item)
