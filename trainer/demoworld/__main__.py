"""`python -m trainer.demoworld`: write the demo's files, prepare and judge its base model."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.demoworld.catalogue import SEED
from trainer.demoworld.files import PRETRAINING_DOCUMENTS, prepare_pretraining, write_datasets
from trainer.demoworld.nation import found_nation

if TYPE_CHECKING:
    from trainer.demoworld.gates import Gates


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.act(arguments))
    except OSError as error:
        print(f"demoworld: {error.filename or arguments.folder}: {error.strerror}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer.demoworld", description=__doc__)
    commands = parser.add_subparsers(required=True)
    write = commands.add_parser("write", help="write the demo's datasets, or the base model's corpus and run.json")
    write.add_argument("folder", type=Path)
    write.add_argument("--pretraining", action="store_true", help="write what `python -m trainer run` needs instead")
    write.add_argument("--documents", type=int, default=PRETRAINING_DOCUMENTS, help="size of the pretraining corpus")
    write.set_defaults(act=_write)
    measure = commands.add_parser("measure", help="measure the gates of a base model; exit 1 when one is missed")
    measure.add_argument("folder", type=Path, help="Hugging Face checkpoint directory")
    measure.add_argument("--count", type=int, default=500, help="questions of each kind")
    measure.set_defaults(act=_measure)
    keep = commands.add_parser("keep", help="keep the model of a finished pretraining run if it passes the gates")
    keep.add_argument("folder", type=Path, help="attempt directory of the run")
    keep.add_argument("target", type=Path, help="such as artifacts/demo-base")
    keep.add_argument("--count", type=int, default=500, help="questions of each kind")
    keep.set_defaults(act=_keep)
    return parser


def _write(arguments: argparse.Namespace) -> int:
    if arguments.pretraining:
        spec = prepare_pretraining(arguments.folder, documents=arguments.documents)
        print(f"{arguments.folder}: run.json and {spec.datasets['pretraining'].rows} documents")
        return 0
    for slug, file in write_datasets(arguments.folder).items():
        print(f"{slug}  {file.kind}  {file.rows} rows  {file.sha256[:12]}")
    return 0


def _measure(arguments: argparse.Namespace) -> int:
    gates = _measure_model(arguments.folder, arguments.count)
    for group, readings in asdict(gates).items():
        for name, reading in readings.items():
            positions = " ".join(f"{share:.3f}" for share in reading["by_position"])
            print(f"{group} {name}: n {reading['count']}, exact {reading['exact']:.3f}, by position {positions}")
    missed = gates.failures()
    for line in missed:
        print(f"missed: {line}")
    return 1 if missed else 0


def _keep(arguments: argparse.Namespace) -> int:
    from trainer.demoworld.keep import NotKept, find_finished_model, keep_model

    try:
        gates = _measure_model(find_finished_model(arguments.folder), arguments.count)
        sha256 = keep_model(arguments.folder, arguments.target, gates)
    except NotKept as reason:
        print(f"demoworld: not kept: {reason}", file=sys.stderr)
        return 1
    print(f"{arguments.target}/model  {sha256}")
    return 0


def _measure_model(folder: Path, count: int) -> "Gates":
    # Only measuring needs torch; the generator runs where none is installed.
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    from trainer.demoworld.gates import measure_gates

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return measure_gates(model, tokenizer, found_nation(SEED), count=count)


if __name__ == "__main__":
    sys.exit(main())
