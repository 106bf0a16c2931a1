"""The tables of docs/replication.md, from the kept results: `python -m tests.replication.tables` writes them anew."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.replication.intervals import interval_of, paired_difference
from tests.replication.record import KEPT, read_kept
from tests.replication.runs import Scores
from tests.trainer_runs import REPOSITORY

PAGE = REPOSITORY / "docs" / "replication.md"

BySeed = Mapping[str, Scores]

CLOSED_BOOK_TASKS = ("held", "held-form", "asked", "held-choices", "neighbour")


def write_score_table(by_seed: BySeed, arms: Sequence[str], tasks: Sequence[str]) -> str:
    """Per arm the mean of each task over seeds, and in brackets the seeds' own scores of the first task."""
    seeds = list(by_seed)
    lines = [
        f"| arm | {' | '.join(tasks)} | {tasks[0]} by seed ({', '.join(seeds)}) |",
        f"|---|{'---|' * (len(tasks) + 1)}",
    ]
    for arm in arms:
        means = [f"{interval_of([by_seed[seed][arm][task] for seed in seeds]).mean:.3f}" for task in tasks]
        own = " ".join(f"{by_seed[seed][arm][tasks[0]]:.3f}" for seed in seeds)
        lines.append(f"| {arm} | {' | '.join(means)} | {own} |")
    return "\n".join(lines)


def write_difference_table(by_seed: BySeed, pairs: Sequence[tuple[str, str]], task: str) -> str:
    """Paired within seeds, with Student's interval over seeds."""
    lines = [f"| difference on `{task}` | mean (95 % interval over {len(by_seed)} seeds) |", "|---|---|"]
    for better, worse in pairs:
        lines.append(f"| {better} − {worse} | {paired_difference(by_seed, task, better, worse)} |")
    return "\n".join(lines)


MAIN_PAIRS = (("grpo", "start"), ("ink", "start"), ("ink", "grpo"), ("ink-paper", "grpo"), ("ink", "ink-paper"))
CONTROL_PAIRS = (("ink", "grpo-longer"), ("ink", "ink-shuffled"), ("ink", "text"), ("ink", "text-replay"))


def main_tables(by_seed: BySeed) -> str:
    return _closed_book_tables(by_seed, MAIN_PAIRS)


def control_tables(by_seed: BySeed) -> str:
    return _closed_book_tables(by_seed, CONTROL_PAIRS)


def _closed_book_tables(by_seed: BySeed, pairs: Sequence[tuple[str, str]]) -> str:
    arms = [arm for arm in next(iter(by_seed.values())) if arm != "made"]
    return "\n\n".join(
        [write_score_table(by_seed, arms, CLOSED_BOOK_TASKS), write_difference_table(by_seed, pairs, "held")]
    )


def distillation_tables(by_seed: BySeed) -> str:
    arms = [arm for arm in next(iter(by_seed.values())) if arm != "made"]
    conditions = list(dict.fromkeys(arm.split()[0] for arm in arms))
    distilled = [arm.split()[1] for arm in arms if arm.startswith(f"{conditions[0]} sft-opd")]
    pairs = [(f"{condition} {arm}", f"{condition} sft-longer") for condition in conditions for arm in distilled]
    return "\n\n".join(
        [
            write_score_table(by_seed, arms, ("held", "switched")),
            write_difference_table(by_seed, pairs, "held"),
            write_difference_table(by_seed, pairs, "switched"),
        ]
    )


def objectives_tables(by_seed: BySeed) -> str:
    arms = [arm for arm in next(iter(by_seed.values())) if arm != "made"]
    levels = list(dict.fromkeys(arm.split()[0] for arm in arms))
    pairs = [(f"{level} f-alpha-1", f"{level} nll") for level in levels]
    return "\n\n".join([write_score_table(by_seed, arms, ("right",)), write_difference_table(by_seed, pairs, "right")])


AGENT_PAIRS = (("grpo", "start"), ("ink", "start"), ("ink", "grpo"), ("grpo", "traces-longer"))
AGENT_MEASURES = ("success", "called", "found")


def agent_tables(by_seed: BySeed) -> str:
    arms = list(next(iter(by_seed.values())))
    tables = [write_score_table(by_seed, arms, AGENT_MEASURES)]
    tables += [write_difference_table(by_seed, AGENT_PAIRS, measure) for measure in ("success", "found")]
    return "\n\n".join(tables)


TABLES = {
    "agent": agent_tables,
    "closed-book": main_tables,
    "closed-book-controls": control_tables,
    "distillation": distillation_tables,
    "objectives": objectives_tables,
}


def fill_page(page: str) -> str:
    """The page with what stands between `<!-- <name> -->` and `<!-- end -->` written anew."""
    for name, write in TABLES.items():
        opening = f"<!-- {name} -->\n"
        before, found, rest = page.partition(opening)
        assert found, f"docs/replication.md has no {opening.strip()}"
        _, closing, after = rest.partition("<!-- end -->")
        page = f"{before}{opening}{write(read_kept(name)['seeds'])}\n{closing}{after}"
    return page


def main(folder: Path | None) -> None:
    """Keep the results of a folder, when one is named, and write the tables."""
    if folder:
        KEPT.mkdir(parents=True, exist_ok=True)
        for name in TABLES:
            if (folder / f"{name}.json").exists():
                text = (folder / f"{name}.json").read_text(encoding="utf-8")
                json.loads(text)
                (KEPT / f"{name}.json").write_text(text, encoding="utf-8")
    PAGE.write_text(fill_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
