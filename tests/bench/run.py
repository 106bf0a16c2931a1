"""`make bench`: run the benchmark groups and write their figures as one flat JSON object.

A group is a module `<name>_group.py` beside this file with `measure() -> dict[str, float]`; keys begin with its name.
"""

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent


def list_groups() -> dict[str, Path]:
    return {path.stem.removesuffix("_group"): path for path in sorted(HERE.glob("*_group.py"))}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure and write the figures.")
    parser.add_argument("--only", default="", help="names of groups, separated by commas")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    args = parser.parse_args()
    groups = list_groups()
    chosen = [name for name in args.only.split(",") if name] or list(groups)
    for name in chosen:
        if name not in groups:
            print(f"No group is called {name}; there are {', '.join(groups)}.", file=sys.stderr)
            return 2
    figures: dict[str, float] = {}
    # Groups that were not run keep their last figures, so that one group can be measured again alone.
    if args.only and args.out.is_file():
        figures = json.loads(args.out.read_text())
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in chosen:
        spec = importlib.util.spec_from_file_location(f"bench_{name}", groups[name])
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        figures.update(module.measure())
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(dict(sorted(figures.items())), indent=2) + "\n")
    for key, value in sorted(figures.items()):
        print(f"{key:<36} {value:>14,.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
