"""`make test` runs every test once, in one of its two processes."""

from pathlib import Path

from tests import run_tests


def test_every_file_of_tests_belongs_to_one_of_the_two_processes():
    waiting, computing = run_tests.split_tests()
    ignored = {Path(one.partition("=")[2]) for one in waiting if one.startswith("--ignore=")}

    def files_of(places: list[str]) -> list[Path]:
        found = [Path(one) for one in places if not one.startswith("--")]
        return [file for one in found for file in (one.rglob("test_*.py") if one.is_dir() else [one])]

    first, second = set(files_of(waiting)) - ignored, files_of(computing)
    everything = set(run_tests.TESTS.rglob("test_*.py"))
    assert ignored <= everything
    assert len(second) == len(set(second))
    assert not first & set(second)
    assert first | set(second) == everything
