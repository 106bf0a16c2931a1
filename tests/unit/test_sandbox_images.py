"""The comparison of two images, on small roots packed here."""

import importlib.util
import io
import tarfile
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "docker/compare_sandbox_images.py"
spec = importlib.util.spec_from_file_location("compare_sandbox_images", SCRIPT)
assert spec is not None
assert spec.loader is not None
compare = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compare)


def pack(files: dict[str, bytes], *, mode: int = 0o644, linked: bool = False) -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
        if linked:
            second = tarfile.TarInfo("usr/bin/second")
            second.type, second.linkname = tarfile.LNKTYPE, "usr/bin/first"
            archive.addfile(second)
    packed.seek(0)
    return packed


FILES = {"etc/sandbox-packages": b"bash=5\npython3=3.11\n", "usr/bin/first": b"x"}


def test_the_same_root_packed_in_another_order_is_the_same():
    one, packages = compare.read_root(pack(FILES))
    other, _ = compare.read_root(pack({f"./{path}": FILES[path] for path in reversed(FILES)}))
    assert packages == ["bash=5", "python3=3.11"]
    assert compare.list_differences(one, other) == []


def test_content_mode_and_missing_files_are_told_apart():
    one, _ = compare.read_root(pack(FILES))
    for changed in (
        pack({**FILES, "usr/bin/first": b"y"}),
        pack({"etc/sandbox-packages": b""}),
        pack(FILES, mode=0o755),
    ):
        other, _ = compare.read_root(changed)
        assert any(line.startswith("/usr/bin/first: file 644") for line in compare.list_differences(one, other))


def test_a_second_name_is_the_same_as_a_copy_and_the_engines_own_files_do_not_count():
    linked, _ = compare.read_root(pack(FILES, linked=True))
    copied, _ = compare.read_root(
        pack({**FILES, "usr/bin/second": b"x", "etc/hosts": b"h", "dev/null": b"", ".dockerenv": b""})
    )
    assert compare.list_differences(linked, copied) == []
