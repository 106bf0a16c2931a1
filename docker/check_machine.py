"""Says in one sentence what this machine lacks before anything is installed. Runs on any Python 3."""

import shutil
import sys

NEEDED_GIB = 4


def find_obstacle():
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return "Python 3.11 to 3.13 is needed and this is Python {}.{}; run make PYTHON=/path/to/python3.11.".format(
            *sys.version_info[:2]
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return "Python's venv module is missing; on Debian: apt-get install python3-venv."
    free = shutil.disk_usage(".").free / 2**30
    if free < NEEDED_GIB:
        return (
            f"{free:.1f} GiB are free here and the installation needs {NEEDED_GIB} GiB; make room and run make again."
        )
    return None


if __name__ == "__main__":
    obstacle = find_obstacle()
    if obstacle:
        sys.stderr.write(obstacle + "\n")
        sys.exit(5)
