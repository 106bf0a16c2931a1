"""Signed bundles: one flipped byte anywhere is found and its file named, and nothing a stranger packs does harm."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chanote.cli import main
from chanote.custody.bundle import (
    BundleRefused,
    KeyRefused,
    Part,
    load_private_key,
    load_public_key,
    name_key,
    verify_bundle,
    write_bundle,
)
from chanote.custody.bundle.form import BLOCK, END, MANIFEST, SIGNATURE, pad, write_header, write_json
from chanote.custody.bundle.keys import make_private_key, write_public_key
from chanote.custody.bundle.writing import sign_manifest

ABOUT = {"kind": "model", "name": "law/deed", "inputs": {"seed": 7}}
PARTS = [
    Part("model/model.safetensors", content=bytes(range(256)) * 3),
    Part("model/tokenizer.json", content=b"{}"),
    Part("README.md", content="โฉนด\n".encode()),
    Part("empty", content=b""),
    Part("full", content=b"x" * BLOCK),
    Part("deep/" * 20 + "a name longer than a header takes, which needs a second one", content=b"y"),
]


@pytest.fixture(scope="module")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def archive(tmp_path, key) -> Path:
    write_bundle(tmp_path / "deed.tar", PARTS, ABOUT, key)
    return tmp_path / "deed.tar"


@pytest.fixture
def folder(tmp_path, key) -> Path:
    write_bundle(tmp_path / "deed", PARTS, ABOUT, key)
    return tmp_path / "deed"


def faults_of(path: Path, **known) -> list[str]:
    with pytest.raises(BundleRefused) as refused:
        verify_bundle(path, **known)
    return refused.value.faults


def test_what_was_written_is_whole(archive, folder, key):
    for path in (archive, folder):
        bundle = verify_bundle(path, public_key=key.public_key().public_bytes_raw())
        assert (bundle.manifest["name"], len(bundle.manifest["files"])) == ("law/deed", len(PARTS))
        for part in PARTS:
            with bundle.open(part.name) as file:
                assert file.read() == part.content
    assert not list(archive.parent.glob("*.partial"))


def test_the_same_content_gives_the_same_bytes(archive, key, tmp_path):
    write_bundle(tmp_path / "again.tar", list(reversed(PARTS)), ABOUT, key)
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()


def test_other_programs_read_it(archive, folder):
    """It is a tar like any other; nothing in it needs this program to be unpacked."""
    with tarfile.open(archive) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
    assert members == {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def owner_of(content: bytes) -> list[str]:
    """The member to which each byte of a tar belongs, with its header and its padding."""
    owners: list[str] = []
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            owners += [member.name] * (member.offset_data + member.size + pad(member.size) - len(owners))
    return owners + ["end"] * (len(content) - len(owners))


def test_a_flipped_byte_anywhere_in_an_archive_is_found_and_its_file_named(archive):
    content = archive.read_bytes()
    assert len(content) % BLOCK == 0
    flipped = bytearray(content)
    owners = owner_of(content)
    # Every fifth: five and the block's length share no factor, so each place of a block has its turn.
    for place in range(0, len(content), 5):
        owner = owners[place]
        flipped[place] ^= 1 << place % 8
        archive.write_bytes(flipped)
        with pytest.raises(BundleRefused) as refused:
            verify_bundle(archive)
        told = str(refused.value)
        # A byte of the manifest may be told as one of the signature, and the other way round.
        named = {MANIFEST, SIGNATURE} if owner in (MANIFEST, SIGNATURE) else {owner}
        assert any(name in told for name in named), (place, owner, told)
        flipped[place] = content[place]


def test_a_flipped_byte_anywhere_in_a_directory_is_found_and_its_file_named(folder):
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        name = path.relative_to(folder).as_posix()
        for place in range(0, len(content), 3):
            flipped = bytearray(content)
            flipped[place] ^= 1 << place % 8
            path.write_bytes(flipped)
            told = str(faults_of(folder))
            assert name in told or (name in (MANIFEST, SIGNATURE) and "JSON" in told), (name, place, told)
        if content:
            path.write_bytes(content)
    verify_bundle(folder)


@pytest.mark.parametrize("cut", [1, BLOCK, 2 * BLOCK, 3000])
def test_a_cut_archive_is_refused(archive, cut):
    archive.write_bytes(archive.read_bytes()[:-cut])
    faults_of(archive)


@pytest.mark.parametrize("more", [b"\0", bytes(BLOCK), b"x"])
def test_nothing_may_follow_the_archive(archive, more):
    archive.write_bytes(archive.read_bytes() + more)
    assert faults_of(archive) == ["Something follows the end of the archive."]


def test_every_fault_of_a_directory_is_told(folder, tmp_path):
    (folder / "extra.txt").write_text("more")
    (folder / "nothing").mkdir()
    (folder / "full").unlink()
    (folder / "empty").unlink()
    (folder / "empty").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(folder / "pipe")
    (folder / "README.md").write_text("other")
    (folder / "model/tokenizer.json").write_text("{} ")
    (folder / "\x1b[31mred").write_text("more")
    assert sorted(faults_of(folder)) == sorted([
        "'\\x1b[31mred' is not in the manifest.",
        "README.md is shorter than the manifest says.",
        "empty is a symbolic link; a bundle holds plain files alone.",
        "extra.txt is not in the manifest.",
        "full is missing.",
        "model/tokenizer.json is longer than the manifest says.",
        "nothing/ is not in the manifest.",
        "pipe is no plain file; a bundle holds plain files alone.",
    ])  # fmt: skip


def test_a_linked_folder_is_not_followed(folder, tmp_path):
    (folder / "model").rename(tmp_path / "outside")
    (folder / "model").symlink_to(tmp_path / "outside")
    assert "model is a symbolic link; a bundle holds plain files alone." in faults_of(folder)


def test_a_link_to_a_bundle_is_refused(archive, tmp_path):
    (tmp_path / "link.tar").symlink_to(archive)
    assert "symbolic link" in faults_of(tmp_path / "link.tar")[0]


def test_another_key_is_told(archive, folder, key):
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    for path in (archive, folder):
        (fault,) = faults_of(path, public_key=other)
        assert name_key(other) in fault
        assert name_key(key.public_key().public_bytes_raw()) in fault


def test_a_signature_by_somebody_else_is_not_the_makers(folder, key):
    """Whoever changes a file and signs anew has another key, which --public-key finds."""
    maker = key.public_key().public_bytes_raw()
    mallory = Ed25519PrivateKey.generate()
    (folder / SIGNATURE).write_bytes(sign_manifest((folder / MANIFEST).read_bytes(), mallory))
    verify_bundle(folder)
    faults_of(folder, public_key=maker)


def sign_archive(path: Path, manifest: bytes, members: list[tuple[str, bytes]], key: Ed25519PrivateKey) -> Path:
    """A tar that a stranger signed, whatever is in it."""
    content = b""
    for name, body in [(MANIFEST, manifest), (SIGNATURE, sign_manifest(manifest, key)), *members]:
        content += write_header(name, len(body)) + body + bytes(pad(len(body)))
    path.write_bytes(content + END)
    return path


def facts(body: bytes = b"", **other: object) -> dict[str, object]:
    import hashlib

    return {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest(), **other}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../escape", "leads out"),
        ("/etc/passwd", "leads out"),
        ("a/../../b", "leads out"),
        ("a//b", "leads out"),
        ("./a", "leads out"),
        ("", "name of 0 characters"),
        ("a" * 300, "name of 300 characters"),
        ("a\\b", "other characters"),
        ("a\nb", "other characters"),
        ("C:\\x", "other characters"),
        ("ไฟล์", "other characters"),
        ("end ", "other characters"),
        (MANIFEST, "belongs to the bundle"),
    ],
)
def test_names_that_lead_elsewhere_are_refused_even_when_signed(tmp_path, key, name, said):
    manifest = write_json({"format": 1, "kind": "model", "name": "x", "files": {name: facts()}})
    (fault,) = faults_of(sign_archive(tmp_path / "x.tar", manifest, [], key))
    assert said in fault


@pytest.mark.parametrize(
    "manifest",
    [
        b"[" * 100_000,
        b"{" * 50,
        b"[]\n",
        b'{"format": 1}\n',
        b"9" * 10_000,
        b"\xff\xfe",
        write_json({"format": 2, "kind": "model", "name": "x", "files": {}}),
        write_json({"format": 1, "kind": "virus", "name": "x", "files": {}}),
        write_json({"format": 1, "kind": "model", "name": "\x1b[31m", "files": {}}),
        write_json({"format": 1, "kind": "model", "name": "x", "files": {"a": facts(bytes=-1)}}),
        write_json({"format": 1, "kind": "model", "name": "x", "files": {"a": facts(bytes=True)}}),
        write_json({"format": 1, "kind": "model", "name": "x", "files": {"a": facts(bytes=10**30)}}),
        write_json({"format": 1, "kind": "model", "name": "x", "files": {"a": facts(sha256="AB" * 32)}}),
        write_json({"format": 1, "kind": "model", "name": "x", "files": {"a": facts(), "A": facts()}}),
        write_json({"format": 1, "kind": "model", "name": "x", "files": {"a": facts(), "a/b": facts()}}),
        b'{"files": {}, "format": 1, "kind": "model", "name": "x", "name": "x"}\n',
    ],
    ids=range(16),
)
def test_hostile_manifests_are_refused_even_when_signed(tmp_path, key, manifest):
    faults_of(sign_archive(tmp_path / "x.tar", manifest, [], key))


def test_a_length_that_lies_costs_no_memory(tmp_path, key):
    manifest = write_json({"format": 1, "kind": "model", "name": "x", "files": {"a": facts(bytes=2**45)}})
    head = write_header("a", 2**45)
    path = sign_archive(tmp_path / "x.tar", manifest, [], key)
    path.write_bytes(path.read_bytes()[: -len(END)] + head + bytes(BLOCK))
    assert faults_of(path)[0] == "a is shorter than the manifest says."


@pytest.mark.parametrize(
    ("magic", "packer"),
    [
        (b"\x1f\x8b\x08", "gzip"),
        (b"BZh9", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"PK\3\4", "zip"),
    ],
)
def test_what_is_packed_is_not_unpacked(tmp_path, magic, packer):
    path = tmp_path / "x.tar"
    path.write_bytes(magic + bytes(4096))
    assert packer in faults_of(path)[0]


def test_a_link_in_an_archive_is_refused(archive):
    """As tarfile writes one: another type in the header of a file that the manifest names."""
    content = archive.read_bytes()
    start = content.index(b"README.md\0")
    info = tarfile.TarInfo("README.md")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    archive.write_bytes(content[:start] + info.tobuf(tarfile.GNU_FORMAT) + content[start + BLOCK :])
    assert faults_of(archive) == ["README.md: its header in the archive is damaged, or it is missing."]


def test_an_export_is_whole_or_not_there(tmp_path, key):
    gone = tmp_path / "gone"
    with pytest.raises(FileNotFoundError):
        write_bundle(tmp_path / "x.tar", [Part("a", path=gone)], ABOUT, key)
    gone.write_text("first")

    def change(done: int, total: int, name: str) -> None:
        gone.write_text("other")

    for target in ("x.tar", "x"):
        gone.write_text("first")
        with pytest.raises(BundleRefused, match="changed while it was written"):
            write_bundle(tmp_path / target, [Part("a", path=gone)], ABOUT, key, report=change)
    with pytest.raises(BundleRefused, match="leads out"):
        write_bundle(tmp_path / "x.tar", [Part("../a")], ABOUT, key)
    assert [path.name for path in tmp_path.iterdir()] == ["gone"]


def test_an_export_takes_nobodys_place(archive, key):
    before = archive.read_bytes()
    with pytest.raises(FileExistsError):
        write_bundle(archive, PARTS, ABOUT, key)
    assert archive.read_bytes() == before


def test_a_key_is_its_owners_alone(tmp_path):
    path = tmp_path / "keys/key.pem"
    make_private_key(path)
    first = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    make_private_key(path)
    assert path.read_bytes() == first
    assert len(list(path.parent.iterdir())) == 1
    load_private_key(path)
    path.chmod(0o640)
    with pytest.raises(KeyRefused, match="chmod 600"):
        load_private_key(path)


def test_files_that_hold_no_key_are_named(tmp_path):
    path = tmp_path / "key"
    with pytest.raises(KeyRefused, match="cannot be read"):
        load_public_key(path)
    path.write_text("hello")
    path.chmod(0o600)
    with pytest.raises(KeyRefused, match="no public key"):
        load_public_key(path)
    with pytest.raises(KeyRefused, match="no private key"):
        load_private_key(path)


def test_verify_needs_neither_django_nor_a_database(archive, key, tmp_path):
    public = tmp_path / "public.pem"
    public.write_text(write_public_key(key.public_key().public_bytes_raw()))
    program = (
        "import sys; from chanote.cli import main; code = main(sys.argv[1:]);"
        "assert not {'django', 'torch', 'numpy'} & set(sys.modules); sys.exit(code)"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", program, "verify", str(archive), "--public-key", str(public), "--json"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["fingerprint"] == name_key(key.public_key().public_bytes_raw())
    archive.write_bytes(archive.read_bytes()[:-1] + b"x")
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["problems"] == [{"field": "", "message": "The end of the archive is damaged."}]


def test_the_command_says_what_it_lacks(tmp_path, capsys):
    assert main(["verify", str(tmp_path / "nothing.tar")]) == 3
    assert main(["verify", str(tmp_path), "--public-key", str(tmp_path / "none.pem")]) == 2
    assert main(["verify", str(tmp_path)]) == 1
    assert "MANIFEST.json is missing: this is no bundle." in capsys.readouterr().err
