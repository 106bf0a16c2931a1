"""Small result files as the harnesses write them, by the formats that their sources and documents describe."""

import io
import json
import struct
import zipfile
import zlib
from typing import Any

import zstandard


def lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def lm_eval_samples(scores: list[float], *, filters: tuple[str, ...] = ("strict-match",)) -> bytes:
    return lines(
        [
            {
                "doc_id": number,
                "doc": {"question": f"q{number}"},
                "target": "7",
                "arguments": {"gen_args_0": {"arg_0": f"Question: q{number}", "arg_1": {}}},
                "resps": [["... 7"]],
                "filtered_resps": ["7"],
                "filter": one,
                "metrics": ["exact_match"],
                "doc_hash": "a",
                "prompt_hash": "b",
                "target_hash": "c",
                "exact_match": score,
            }
            for one in filters
            for number, score in enumerate(scores)
        ]
    )


def lm_eval_results(task: str, mean: float, error: float | str, *, model: str = "org/Model-8B") -> bytes:
    told = {
        "results": {task: {"alias": task, "exact_match,strict-match": mean, "exact_match_stderr,strict-match": error}},
        "versions": {task: 3.0},
        "n-shot": {task: 5},
        "task_hashes": {task: "f" * 8},
        "model_name": model,
        "config": {"model": "hf"},
    }
    return json.dumps(told).encode()


def inspect_log(values: list[list[Any]], *, mean: float = 0.5, error: float = 0.1) -> dict[str, Any]:
    """`values[i]` are the epochs of sample i; None is a sample that broke off."""
    samples = [
        {
            "id": f"s{number}",
            "epoch": epoch,
            "input": "What?",
            "target": "7",
            "output": {"completion": "7"},
            "scores": {} if value is None else {"match": {"value": value, "answer": "7"}},
            "error": {"message": "time limit"} if value is None else None,
        }
        for number, epochs in enumerate(values)
        for epoch, value in enumerate(epochs, start=1)
    ]
    metrics = {"accuracy": {"name": "accuracy", "value": mean}, "stderr": {"name": "stderr", "value": error}}
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "task": "inspect_evals/gsm8k",
            "task_version": 1,
            "model": "vllm/org/Model-8B",
            "config": {"epochs": 1},
        },
        "results": {"scores": [{"name": "match", "scorer": "match", "metrics": metrics}]},
        "samples": samples,
    }


def inspect_archive(log: dict[str, Any], *, zstd: bool = False) -> bytes:
    header = {key: value for key, value in log.items() if key != "samples"}
    members = {"header.json": header}
    for sample in log["samples"]:
        members[f"samples/{sample['id']}_epoch_{sample['epoch']}.json"] = sample
    texts = {name: json.dumps(value).encode() for name, value in members.items()}
    return write_zstd_zip(texts) if zstd else write_zip(texts)


def write_zip(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return out.getvalue()


def write_zstd_zip(members: dict[str, bytes]) -> bytes:
    """A ZIP with members of method 93, which Python's own module cannot write before 3.14."""
    body, directory = b"", b""
    for name, text in members.items():
        packed, offset, raw = zstandard.compress(text), len(body), name.encode()
        sizes = (zlib.crc32(text), len(packed), len(text), len(raw), 0)
        body += struct.pack("<IHHHHHIIIHH", 0x04034B50, 63, 0, 93, 0, 33, *sizes) + raw + packed
        directory += (
            struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 63, 63, 0, 93, 0, 33, *sizes, 0, 0, 0, 0, offset) + raw
        )
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, len(members), len(members), len(directory), len(body), 0)
    return body + directory + end


def evalplus(statuses: dict[str, list[tuple[str, str]]], *, mean: float = 0.5) -> bytes:
    told = {
        "date": "2026-01-01",
        "hash": "abc",
        "eval": {
            task: [
                {"task_id": task, "solution": "def f(): ...", "base_status": base, "plus_status": plus}
                for base, plus in found
            ]
            for task, found in statuses.items()
        },
        "pass_at_k": {"base": {"pass@1": mean}, "plus": {"pass@1": mean}},
    }
    return json.dumps(told).encode()


def ifeval(followed: list[list[bool]]) -> bytes:
    return lines(
        [
            {
                "follow_all_instructions": all(one),
                "follow_instruction_list": one,
                "instruction_id_list": [f"kind:{place}" for place in range(len(one))],
                "prompt": f"Write {number}.",
                "response": "...",
            }
            for number, one in enumerate(followed)
        ]
    )


def alpaca_eval(preferences: list[Any]) -> bytes:
    rows = [
        {
            "instruction": f"Do {number}.",
            "output_1": "reference",
            "generator_1": "gpt4_turbo",
            "output_2": "model",
            "generator_2": "org/Model-8B",
            "annotator": "local_judge",
            "preference": value,
        }
        for number, value in enumerate(preferences)
    ]
    return json.dumps(rows).encode()


def mt_bench(scores: list[tuple[float, float]]) -> bytes:
    return lines(
        [
            {
                "question_id": 81 + number,
                "model": "org/Model-8B",
                "judge": ["local-judge", "single-v1"],
                "user_prompt": "...",
                "judgment": f"[[{score}]]",
                "score": score,
                "turn": turn,
                "tstamp": 0.0,
            }
            for number, pair in enumerate(scores)
            for turn, score in enumerate(pair, start=1)
        ]
    )
