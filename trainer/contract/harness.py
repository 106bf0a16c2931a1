"""Tasks written for lm-evaluation-harness, read into ours: what its YAML says without a program in it.

Nothing is carried silently: what has no place here, or would score otherwise, is told in a sentence each.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic import ValidationError

from trainer.contract.tasks import FilterStep, TaskSpec

OUTPUTS = ("generate_until", "multiple_choice", "loglikelihood_rolling")
BYTES = {"bits_per_byte", "byte_perplexity", "word_perplexity", "perplexity"}
DELIMITER = "\n\n"
"""Between solved items, there and here."""
READ = {
    "task", "dataset_path", "dataset_name", "data_files", "dataset_kwargs", "test_split", "validation_split",
    "training_split", "fewshot_split", "doc_to_text", "doc_to_target", "doc_to_choice", "output_type", "description",
    "generation_kwargs", "num_fewshot", "repeats", "filter_list", "metric_list", "metadata", "target_delimiter",
    "fewshot_delimiter", "x_stats", "x_language", "x_license", "x_source_commit", "should_decontaminate", "tag",
    "doc_to_decontamination_query", "task_alias",
}  # fmt: skip
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class HarnessError(ValueError):
    """The file is no task that could be read; one sentence that says why and what to do."""


@dataclass
class HarnessTask:
    tasks: list[TaskSpec] = field(default_factory=list)
    """One for each filter and metric of the file."""
    told: list[str] = field(default_factory=list)
    """What was not carried, and what to do by hand."""


class _Loader(yaml.SafeLoader):
    pass


def _refuse_function(loader: _Loader, node: yaml.Node) -> Any:
    raise HarnessError(
        f"line {node.start_mark.line + 1}: !function {node.value} is a Python program, which a task may not bring; "
        "write it as a Jinja template or a filter, or put its result into the rows"
    )


_Loader.add_constructor("!function", _refuse_function)


def is_harness_task(content: Any) -> bool:
    """It names metrics as a list, or its data as the harness does; our own tasks name one metric and a dataset."""
    return isinstance(content, dict) and "dataset" not in content and "metric" not in content


def load_task_yaml(text: str) -> dict[str, Any]:
    """The file's fields; raises HarnessError."""
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506  a safe loader that also refuses programs
    except yaml.YAMLError as error:
        raise HarnessError(f"the file is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise HarnessError("the file holds no task: it must have named fields, such as task and doc_to_text")
    return content


def read_harness_task(content: Mapping[str, Any], *, dataset: str) -> HarnessTask:
    """Tasks that read `dataset`; raises HarnessError for a file that cannot be carried at all."""
    if "include" in content:
        raise HarnessError(f"include: the task continues in {content['include']}; put both into one file")
    if not isinstance(content.get("task"), str):
        raise HarnessError("task: a group of tasks is no task; read each of its files")
    found = HarnessTask()
    output = content.get("output_type", "generate_until")
    if output not in OUTPUTS:
        raise HarnessError(f"output_type: {output} is not known here; use {', '.join(OUTPUTS)}")
    _tell_rows(content, dataset, found.told)
    fields = _read_prompt(content, output, found.told)
    fields |= _read_generation(content, found.told) if output == "generate_until" else {}
    fields |= _read_extras(content, found.told)
    chains = _read_filters(content, output, found.told)
    metrics = _read_metrics(content, output, found.told)
    if not chains or not metrics:
        raise HarnessError("nothing is left to score: " + " ".join(found.told))
    several = len(chains) * len(metrics) > 1
    for chain in chains:
        for metric, options in metrics:
            parts = [content["task"], *([chain[0]["name"]] if len(chains) > 1 and chain else [])]
            parts += [metric] if len(metrics) > 1 else []
            named = {"task": _spell("-".join(parts)), "metric": metric, "metric_options": options}
            found.tasks.append(_make({**fields, **named, "dataset": dataset, "filter_list": chain}))
    if several:
        found.told.append(
            f"Filters and metrics become {len(found.tasks)} tasks, each asked on its own: a task here has one score."
        )
    return found


def _make(fields: dict[str, Any]) -> TaskSpec:
    try:
        return TaskSpec.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise HarnessError(f"{where + ': ' if where else ''}{first['msg']}") from error


def _spell(name: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-")


def _tell_rows(content: Mapping[str, Any], dataset: str, told: list[str]) -> None:
    source = content.get("dataset_path") or content.get("data_files") or "the file's data"
    subset = f", {content['dataset_name']}" if content.get("dataset_name") else ""
    split = content.get("test_split") or content.get("validation_split") or "its test split"
    told.append(f"Rows are those of {dataset}: import {source}{subset} ({split}) under that name.")
    for name in content:
        if name not in READ:
            told.append(f"{name} is not carried.")


def _read_prompt(content: Mapping[str, Any], output: str, told: list[str]) -> dict[str, Any]:
    shots = content.get("num_fewshot") or 0
    text = _template(content.get("doc_to_text", ""))
    target = _template(content.get("doc_to_target", ""))
    fields: dict[str, Any] = {"output_type": output, "num_fewshot": shots, "doc_to_text": text, "doc_to_target": target}
    description = str(content.get("description") or "")
    if description and shots:
        told.append("description is not carried: with solved items it would stand before each of them.")
    elif description:
        fields["doc_to_text"] = description + text
    if shots:
        told.append(f"Solved items are the first {shots} rows of the dataset, not drawn from a split of their own.")
    if output == "multiple_choice":
        choices = content.get("doc_to_choice")
        if choices is None:
            raise HarnessError("doc_to_choice: a multiple-choice task must say where its options are")
        fields["doc_to_choice"] = [str(one) for one in choices] if isinstance(choices, list) else str(choices)
    if "target_delimiter" in content:
        fields["target_delimiter"] = str(content["target_delimiter"])
    if content.get("fewshot_delimiter", DELIMITER) != DELIMITER:
        told.append("fewshot_delimiter is not carried: an empty line stands between solved items.")
    return fields


def _template(written: Any) -> str:
    """A bare name is a field of the row, a number the position of the right option."""
    text = str(written)
    return f"{{{{{text}}}}}" if isinstance(written, str) and NAME.fullmatch(text) else text


def _read_generation(content: Mapping[str, Any], told: list[str]) -> dict[str, Any]:
    given = dict(content.get("generation_kwargs") or {})
    until = given.pop("until", None)
    if until is None:
        until = [] if content.get("generation_kwargs") else [DELIMITER]
    settings: dict[str, Any] = {"until": [until] if isinstance(until, str) else list(until)}
    settings["max_gen_toks"] = given.pop("max_gen_toks", given.pop("max_new_tokens", 256))
    temperature = given.pop("temperature", None)
    if given.pop("do_sample", bool(temperature)):
        settings["temperature"] = 1.0 if temperature is None else temperature
    for name in ("top_p", "seed"):
        if name in given:
            settings[name] = given.pop(name)
    told += [f"generation_kwargs.{name} is not carried." for name in given]
    return {"generation_kwargs": settings, "repeats": content.get("repeats") or 1}


def _read_extras(content: Mapping[str, Any], told: list[str]) -> dict[str, Any]:
    given = dict(content.get("x_stats") or {})
    statistics = {name: given.pop(name) for name in ("chance", "equivalence_margin") if name in given}
    if "cluster" in given:
        statistics["cluster"] = str(given.pop("cluster")).removeprefix("doc.")
    if given.get("unit") == "item":
        given.pop("unit")
    told += [f"x_stats.{name} is not carried." for name in given]
    told += [
        f"{name} ({content[name]}) belongs to the dataset; name it when you import the rows."
        for name in ("x_license", "x_source_commit")
        if content.get(name)
    ]
    metadata = content.get("metadata")
    version = metadata.get("version", "") if isinstance(metadata, dict) else ""
    return {"x_stats": statistics, "x_language": str(content.get("x_language") or ""), "version": str(version)}


def _read_filters(content: Mapping[str, Any], output: str, told: list[str]) -> list[list[dict[str, Any]]]:
    """A filter_list for each task; an empty one where the answer is judged as it is."""
    given = content.get("filter_list") or []
    if output != "generate_until":
        if given:
            told.append(f"filter_list is not carried: {output} writes no answer to cut from.")
        return [[]]
    if not given:
        return [[]]
    chains: list[list[dict[str, Any]]] = []
    for number, one in enumerate(given):
        name = _spell(str(one.get("name") or number)) if isinstance(one, dict) else str(number)
        try:
            steps = [FilterStep.model_validate(step).model_dump(mode="json") for step in one["filter"]]
        except (ValidationError, KeyError, TypeError):
            told.append(
                f"Filter {name} is not carried: a filter has the steps regex, remove_whitespace, lowercase and "
                "take_first, with their own settings."
            )
            continue
        if all(step["function"] == "take_first" for step in steps):
            chains.append([])
        else:
            chains.append([{"name": name or "filter", "filter": steps}])
    return chains


def _read_metrics(content: Mapping[str, Any], output: str, told: list[str]) -> list[tuple[str, dict[str, Any]]]:
    given = content.get("metric_list") or [{"metric": "acc" if output == "multiple_choice" else "exact_match"}]
    found: list[tuple[str, dict[str, Any]]] = []
    for one in given:
        options = dict(one)
        name = str(options.pop("metric", ""))
        aggregation = options.pop("aggregation", "mean")
        options.pop("higher_is_better", None)
        if output == "loglikelihood_rolling" and name in BYTES:
            if not any(known == "perplexity" for known, _ in found):
                found.append(("perplexity", {}))
            if name != "bits_per_byte":
                told.append(f"{name} is told in bits per byte, the mean over texts.")
        elif aggregation != "mean":
            told.append(f"Metric {name} is not carried: its aggregation {aggregation} is no mean over items.")
        elif name == "exact_match" and output == "generate_until":
            found += _read_exact_match(options, told)
        elif name in ("acc", "acc_norm") and output == "multiple_choice":
            found.append((name, {}))
        else:
            told.append(f"Metric {name} is not carried: it is not known for {output}.")
    return found


def _read_exact_match(options: dict[str, Any], told: list[str]) -> list[tuple[str, dict[str, Any]]]:
    names = ("ignore_case", "ignore_punctuation", "regexes_to_ignore")
    known: dict[str, Any] = {name: options.pop(name) for name in names if name in options}
    if options:
        told.append(f"Metric exact_match is not carried: {', '.join(options)} would change its score.")
        return []
    return [("exact_match", known)]
