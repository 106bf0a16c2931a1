#!/usr/bin/env python3
"""Says whether two images hold the same: packages with their versions, files with their kind, mode, owner and content.

    docker/compare_sandbox_images.py chanote-sandbox:latest chanote-sandbox:from-dockerfile

Exit code 0 if so, 1 with a list of the differences if not. Times are not compared, nor what the engine puts into every
container. DOCKER_HOST names another engine.
"""

import hashlib
import subprocess
import sys
import tarfile
from typing import IO

PUT_THERE_BY_THE_ENGINE = {
    ".dockerenv",
    "dev",
    "proc",
    "sys",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
}
PACKAGES = "etc/sandbox-packages"


def read_root(stream: IO[bytes]) -> tuple[dict[str, str], list[str]]:
    """Every path with one line of facts on it, and the list of packages, from a root packed by `docker export`."""
    facts: dict[str, str] = {}
    packages: list[str] = []
    with tarfile.open(fileobj=stream, mode="r|") as packed:
        for entry in packed:
            path = entry.name.removeprefix("./").strip("/")
            if not path or path in PUT_THERE_BY_THE_ENGINE or path.partition("/")[0] in PUT_THERE_BY_THE_ENGINE:
                continue
            if entry.islnk():
                # A second name of a file: which name comes first is the packer's choice.
                facts[path] = facts[entry.linkname.removeprefix("./").strip("/")]
                continue
            owner = f"{entry.mode:o} {entry.uid}:{entry.gid}"
            if entry.isreg():
                file = packed.extractfile(entry)
                content = file.read() if file else b""
                facts[path] = f"file {owner} {hashlib.sha256(content).hexdigest()}"
                if path == PACKAGES:
                    packages = content.decode().split()
            elif entry.issym():
                facts[path] = f"link to {entry.linkname}"
            else:
                facts[path] = f"{'folder' if entry.isdir() else 'special file'} {owner}"
    return facts, packages


def list_differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    lines = []
    for path in sorted(set(one) | set(other)):
        if one.get(path) != other.get(path):
            lines.append(f"/{path}: {one.get(path, 'missing')} | {other.get(path, 'missing')}")
    return lines


def export(image: str) -> tuple[dict[str, str], list[str]]:
    """Raises `CalledProcessError` where the engine or the image is missing."""
    made = subprocess.run(["docker", "create", image, "none"], check=True, stdout=subprocess.PIPE, text=True)
    container = made.stdout.strip()
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as exporting:
            if exporting.stdout is None:
                raise RuntimeError("docker export has no output")
            return read_root(exporting.stdout)
    finally:
        subprocess.run(["docker", "rm", container], check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    if len(sys.argv) != 3:
        sys.stderr.write("Give the names of two images.\n")
        return 2
    try:
        (one, one_packages), (other, other_packages) = export(sys.argv[1]), export(sys.argv[2])
    except subprocess.CalledProcessError:
        return 2
    apart = sorted(set(one_packages) ^ set(other_packages))
    if apart:
        sys.stdout.write(f"packages of one and not of the other: {' '.join(apart)}\n")
    differences = list_differences(one, other)
    sys.stdout.writelines(f"{line}\n" for line in differences)
    sys.stdout.write(f"{len(one_packages)} packages, {len(one)} files, {len(differences)} differences\n")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
