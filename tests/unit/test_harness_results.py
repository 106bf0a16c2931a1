"""Result files of other harnesses: what they say is taken, what they do not say is skipped and told."""

import io
import json
import math

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from chanote.boards.importing import NotReadable, read_results
from chanote.boards.imports import compare_reported, slugify
from tests import harness_files as files

SAMPLES = "samples_gsm8k_2026-01-02T03-04-05.678901.jsonl"


def scores(result):
    return {item.item: item.score for item in result.items}


def test_lm_eval_with_two_filters_is_two_results_of_the_same_items():
    data = files.lm_eval_samples([1.0, 0.0, 1.0], filters=("strict-match", "flexible-extract"))
    format_, parsed = read_results(SAMPLES, data)
    assert format_ == "lm_eval"
    assert [(one.task, one.metric) for one in parsed.results] == [
        ("gsm8k", "exact_match,strict-match"),
        ("gsm8k", "exact_match,flexible-extract"),
    ]
    assert scores(parsed.results[0]) == {"0": 1.0, "1": 0.0, "2": 1.0}
    first = parsed.results[0].items[0]
    assert (first.prompt, first.output, first.target) == ("Question: q0", "7", "7")


def test_lm_eval_states_a_standard_error_and_ours_is_the_same():
    right = [1.0] * 7 + [0.0] * 3
    # Sample standard deviation over the root of n: sqrt(.7 · .3 · 10/9 / 10).
    error = math.sqrt(0.21 / 9)
    beside = files.lm_eval_results("gsm8k", 0.7, error)
    (result,) = read_results(SAMPLES, files.lm_eval_samples(right), beside)[1].results
    assert (result.model, result.reported_mean, result.settings["shots"]) == ("org/Model-8B", 0.7, 5)
    assert compare_reported(result) == [
        "gsm8k, exact_match,strict-match: mean 0.700000, as the harness states it.",
        "gsm8k, exact_match,strict-match: standard error 0.152753, as the harness states it.",
    ]


def test_a_figure_that_does_not_come_out_again_is_told():
    beside = files.lm_eval_results("gsm8k", 0.71, "N/A")
    (result,) = read_results(SAMPLES, files.lm_eval_samples([1.0] * 7 + [0.0] * 3), beside)[1].results
    assert compare_reported(result) == [
        "gsm8k, exact_match,strict-match: mean is 0.700000 from the items, but the harness states 0.710000."
    ]


def test_broken_lines_are_skipped_and_named():
    data = files.lm_eval_samples([1.0, 0.0]) + b'{"torn": \n[1]\n{"doc_id": 9}\n' + files.lm_eval_samples([1.0])
    _, parsed = read_results(SAMPLES, data)
    assert scores(parsed.results[0]) == {"0": 1.0, "1": 0.0}
    assert parsed.skipped == [
        "line 3: no JSON",
        "line 4: no object",
        "line 5: no doc_id or no metrics",
        "line 6: item 0 stands twice for exact_match",
    ]


@pytest.mark.parametrize("pack", ["json", "deflated", "zstd"])
def test_inspect_logs_whole_and_packed(pack):
    log = files.inspect_log([["C"], ["I"], ["P"], [1], [None]], mean=0.625, error=0.25)
    data = json.dumps(log).encode() if pack == "json" else files.inspect_archive(log, zstd=pack == "zstd")
    format_, parsed = read_results(f"log.{'json' if pack == 'json' else 'eval'}", data)
    (result,) = parsed.results
    assert format_ == "inspect"
    assert (result.task, result.metric, result.model) == ("gsm8k", "match", "vllm/org/Model-8B")
    assert scores(result) == {"s0": 1.0, "s1": 0.0, "s2": 0.5, "s3": 1.0}
    assert parsed.skipped == ["sample s4: no scores (time limit)"]
    values = np.array([1, 0, 0.5, 1])
    assert compare_reported(result)[0].endswith("mean 0.625000, as the harness states it.")
    assert f"standard error is {values.std(ddof=1) / 2:.6f}" in compare_reported(result)[1]


def test_epochs_of_inspect_are_one_item():
    (result,) = read_results("log.json", json.dumps(files.inspect_log([["C", "I"], ["C", "C"]])).encode())[1].results
    assert scores(result) == {"s0": 0.5, "s1": 1.0}


def test_an_unfinished_or_broken_archive_is_refused():
    with pytest.raises(NotReadable, match="did not finish"):
        read_results("log.eval", files.write_zip({"_journal/start.json": b"{}"}))
    whole = files.inspect_archive(files.inspect_log([["C"]]), zstd=True)
    with pytest.raises(NotReadable, match="its archive is broken"):
        read_results("log.eval", whole[: len(whole) // 2])


def test_a_member_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr("chanote.boards.importing.inspect.MEMBER_BYTES", 100)
    with pytest.raises(NotReadable, match="unpacks to more than"):
        read_results("log.eval", files.inspect_archive(files.inspect_log([["C"]])))


def test_evalplus_asks_base_and_plus_for_plus():
    data = files.evalplus({"HumanEval/0": [("pass", "pass")], "HumanEval/1": [("pass", "fail"), ("fail", "pass")]})
    base, plus = read_results("model_eval_results.json", data)[1].results
    assert (base.task, base.metric, plus.metric) == ("humaneval", "pass@1 base", "pass@1 plus")
    assert scores(base) == {"HumanEval/0": 1.0, "HumanEval/1": 0.5}
    assert scores(plus) == {"HumanEval/0": 1.0, "HumanEval/1": 0.0}


def test_ifeval_is_read_by_prompt_and_by_instruction_in_clusters():
    prompt, instruction = read_results("eval_results_loose.jsonl", files.ifeval([[True, True], [True, False]]))[
        1
    ].results
    assert (prompt.metric, instruction.metric) == ("prompt loose", "instruction loose")
    assert [item.score for item in prompt.items] == [1.0, 0.0]
    assert [item.score for item in instruction.items] == [1.0, 1.0, 1.0, 0.0]
    assert len({item.cluster for item in instruction.items}) == 2
    # The prompt names the item: another order of lines is the same item set.
    lines = files.ifeval([[True, True], [True, False]]).splitlines()
    turned = read_results("x_strict.jsonl", b"\n".join(reversed(lines)))[1].results[0]
    assert {item.item for item in turned.items} == {item.item for item in prompt.items}


def test_alpaca_eval_prefers_the_second_output_and_a_failed_judge_counts_for_nobody():
    (result,) = read_results("annotations.json", files.alpaca_eval([2, 1, 1.5, None, 1.98]))[1].results
    assert (result.model, result.metric) == ("org/Model-8B", "win rate against gpt4_turbo")
    assert [item.score for item in result.items] == [1.0, 0.0, 0.5, None, pytest.approx(0.98)]
    assert [item.status for item in result.items] == ["ok", "ok", "ok", "left_out", "ok"]


def test_mt_bench_turns_share_a_cluster_and_minus_one_is_a_failed_judge():
    (result,) = read_results("judgment.jsonl", files.mt_bench([(9, 7), (10, -1)]))[1].results
    assert [(item.item, item.cluster, item.score, item.status) for item in result.items] == [
        ("81.1", "81", 0.9, "ok"),
        ("81.2", "81", 0.7, "ok"),
        ("82.1", "82", 1.0, "ok"),
        ("82.2", "82", None, "left_out"),
    ]


@pytest.mark.parametrize("dressed", [True, False])
def test_lighteval_by_its_documents_and_by_its_code(dressed):
    names = [f"__{name}__" if dressed else name for name in ("doc", "model_response", "metric")]
    rows = [
        {
            names[0]: {"id": str(n), "query": f"q{n}", "choices": ["a", "b"], "gold_index": [1]},
            names[1]: {"text": ["b"]},
            names[2]: {"acc": float(n % 2)},
        }
        for n in range(4)
    ]
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out)
    beside = json.dumps(
        {"results": {"arc|0": {"acc": 0.5, "acc_stderr": math.sqrt(1 / 12)}}, "config_general": {"model_name": "m"}}
    ).encode()
    format_, parsed = read_results("details_arc|0_2026-01-02T03-04-05.parquet", out.getvalue(), beside)
    (result,) = parsed.results
    assert (format_, result.task, result.metric, result.model) == ("lighteval", "arc|0", "acc", "m")
    assert (result.items[0].prompt, result.items[0].output, result.items[0].target) == ("q0", "b", "b")
    assert all(note.endswith("as the harness states it.") for note in compare_reported(result))


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("x.json", b"", "it is empty"),
        ("x.json", b"\xff\xfe", "none of the formats"),
        ("x.jsonl", b'{"a": 1}\n', "none of the formats"),
        ("x.json", b"[" * 100_000, "none of the formats"),
        ("x.parquet", b"no parquet", "it is no parquet file"),
        ("x.json", b'{"eval": {}, "results": {}, "samples": [{"id": 1, "scores": [1]}]}', "parts of another shape"),
        ("x.eval", b"PK\x03\x04 torn", "its archive is broken"),
        (SAMPLES, b'{"doc_id": 1, "filter": "none", "metrics": ["bleu"], "bleu": [1, 2]}', "bleu is no single number"),
    ],
)
def test_what_is_no_result_file_is_refused_in_a_sentence(name, data, reason):
    with pytest.raises(NotReadable, match=reason):
        read_results(name, data)


def test_names_of_elsewhere_become_names_here():
    assert slugify("meta-llama/Llama-3.1-8B", 120) == "meta-llama-llama-3-1-8b"
    assert slugify("gsm8k-exact_match,strict-match", 80) == "gsm8k-exact_match-strict-match"
    assert slugify("ไทย", 80) == "unnamed"
