"""Installs the programs the tests drive (Chromium, Redis, PostgreSQL, Docker, Thai fonts), on Debian as root.

Elsewhere it names what is missing; the tests that need it are then skipped, saying so.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAMS = {
    "chromium": "chromium",
    "redis-server": "redis-server",
    "postgresql": "/usr/lib/postgresql",
    "docker.io": "/usr/sbin/dockerd",
    "debootstrap": "/usr/sbin/debootstrap",
    "fonts-noto-core": "/usr/share/fonts/truetype/noto/NotoSansThai-Regular.ttf",
    "fonts-thai-tlwg": "/usr/share/fonts/truetype/tlwg",
}
"""Debian package: command on the path, or file that the package brings."""


def list_missing() -> list[str]:
    return [
        package
        for package, proof in PROGRAMS.items()
        if not (Path(proof).exists() if proof.startswith("/") else shutil.which(proof))
    ]


def main() -> int:
    missing = list_missing()
    if not missing:
        return 0
    if shutil.which("apt-get") and os.geteuid() == 0:
        print(f"Installing {', '.join(missing)} ...")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=False, stdout=subprocess.DEVNULL)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(command, env=quiet, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        missing = list_missing()
    if missing:
        print(f"Not installed: {', '.join(missing)}. The tests that need them will be skipped.", file=sys.stderr)
    return 1 if missing and os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
