"""`python -m trainer.demoworld`: write the demo's files, prepare and judge its base model."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from trainer.demoworld.catalogue import SEED
from trainer.demoworld.files import PRETRAINING_DOCUMENTS, prepare_pretraining, write_datasets
from trainer.demoworld.nation import found_nation


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
    measure.add_argument("--out", type=Path, help="write the values as JSON, too")
    measure.set_defaults(act=_measure)
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
    # Only this command needs torch; the generator runs where none is installed.
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from trainer.demoworld.gates import measure_gates

    model = AutoModelForCausalLM.from_pretrained(arguments.folder, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(arguments.folder, local_files_only=True)
    gates = measure_gates(model, tokenizer, found_nation(SEED), count=arguments.count)
    for group, readings in asdict(gates).items():
        for name, reading in readings.items():
            positions = " ".join(f"{share:.3f}" for share in reading["by_position"])
            print(f"{group} {name}: n {reading['count']}, exact {reading['exact']:.3f}, by position {positions}")
    if arguments.out:
        arguments.out.write_text(json.dumps(asdict(gates), indent=2) + "\n", encoding="utf-8")
    missed = gates.failures()
    for line in missed:
        print(f"missed: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
