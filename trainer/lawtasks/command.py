"""`python -m trainer lawtasks`: questions with exact keys from a corpus of law, in two files split by law."""

import argparse
import json
import sys
from collections import Counter
from hashlib import sha256
from pathlib import Path

from trainer.contract import ExitCode
from trainer.lawtasks.corpus import CorpusFault, Section, read_corpus
from trainer.lawtasks.languages import LANGUAGES
from trainer.lawtasks.questions import KINDS, Question, make_questions


def main(argv: list[str]) -> int:
    """Write train.jsonl and test.jsonl, and tell how many questions of each kind they have."""
    arguments = _parser().parse_args(argv)
    try:
        laws = _by_law(read_corpus(arguments.corpus))
        test = choose_test_laws(list(laws), share=arguments.test_share, seed=arguments.seed)
    except CorpusFault as fault:
        print(f"trainer lawtasks: {fault}", file=sys.stderr)
        return ExitCode.INVALID_SPEC
    language = LANGUAGES[arguments.language]
    made: dict[str, list[Question]] = {"train": [], "test": []}
    for law, sections in laws.items():
        side = "test" if law in test else "train"
        made[side] += make_questions(sections, language, each=arguments.each, seed=arguments.seed)
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        for side, questions in made.items():
            lines = "".join(json.dumps(one.row(), ensure_ascii=False) + "\n" for one in questions)
            (arguments.out / f"{side}.jsonl").write_text(lines, encoding="utf-8")
    except OSError as error:
        print(f"trainer lawtasks: --out {arguments.out} cannot be written: {error.strerror}.", file=sys.stderr)
        return ExitCode.FAILED
    for side, questions in made.items():
        counted = Counter(one.kind for one in questions)
        told = ", ".join(f"{kind} {counted[kind]}" for kind in KINDS)
        number = len({one.law for one in questions})
        print(f"{side}: {len(questions)} questions on {number} laws ({told})")
    return ExitCode.FINISHED


def choose_test_laws(laws: list[str], *, share: float, seed: int) -> set[str]:
    """By hash, so that a law keeps its side when others come or go. Raises CorpusFault for a single law."""
    if not share:
        return set()
    if len(laws) < 2:
        raise CorpusFault("the corpus has one law, which cannot stand on both sides; add laws, or set --test-share 0.")
    count = min(len(laws) - 1, max(1, round(share * len(laws))))
    return set(sorted(laws, key=lambda law: sha256(f"{seed} {law}".encode()).digest())[:count])


def _by_law(sections: list[Section]) -> dict[str, list[Section]]:
    found: dict[str, list[Section]] = {}
    for one in sections:
        found.setdefault(one.law, []).append(one)
    return found


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError("a share of 0 to below 1 is wanted")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer lawtasks", description=main.__doc__)
    parser.add_argument("corpus", type=Path, help="JSON lines with law_name, section_num and text")
    parser.add_argument("--out", type=Path, required=True, help="folder for train.jsonl and test.jsonl")
    parser.add_argument("--language", choices=sorted(LANGUAGES), required=True, help="of the laws and the questions")
    parser.add_argument("--test-share", type=_share, default=0.3, help="share of the laws that are kept for testing")
    parser.add_argument("--each", type=int, default=20, help="most questions of a kind from one law")
    parser.add_argument("--seed", type=int, default=0, help="of what is chosen and how laws are split")
    return parser
