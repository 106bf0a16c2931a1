"""Data from elsewhere: what is taken into quarantine, what is never taken, and who lets it in."""

import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, transaction
from django.http import Http404
from django.urls import reverse
from django.utils import timezone

from chanote.accounts.models import Membership, Project, User
from chanote.audit.models import AuditEvent
from chanote.cli import main
from chanote.curation.models import Comment
from chanote.curation.services import CurationRefused, ask_for_review, sign_version
from chanote.custody.bundle import Part, verify_bundle, write_bundle
from chanote.custody.bundle.form import write_json
from chanote.custody.exporting import export_bundle
from chanote.custody.models import Package, State, TrustedKey
from chanote.custody.packages import PackageRefused
from chanote.custody.quarantine import accept_package, receive_package, reject_package, release_package
from chanote.custody.trust import trust_key
from chanote.datasets.models import Dataset, DatasetVersion
from chanote.datasets.selectors import find_version
from chanote.errands.doing import do_here
from chanote.errands.models import Errand
from chanote.rights.models import Source, SourceSpan, WithdrawnRow
from chanote.rights.rows import mark_line
from tests.custody_world import add_version

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_home")]


@pytest.fixture
def ministry(db):
    """A project elsewhere, from which packages come."""
    return Project.objects.create(slug="ministry", name="Ministry")


@pytest.fixture
def key():
    return Ed25519PrivateKey.generate()


@pytest.fixture
def sent(ministry, key, tmp_path, django_user_model) -> Path:
    """A package of three rows that another installation signed."""
    sender = django_user_model.objects.create(username="sender", is_superuser=True)
    version = add_version(
        ministry, source_facts={"owner": "Council", "legal_basis": "Section 7", "expires": "2999-12-31"}
    )
    export_bundle(version, tmp_path / "laws.tar", key=key, actor=sender)
    return tmp_path / "laws.tar"


@pytest.fixture
def package(project, sent, researcher, key, project_admin):
    trust_key(project=project, key=key.public_key().public_bytes_raw().hex(), owner="Ministry", actor=project_admin)
    return receive_package(project=project, file=sent, actor=researcher)


def verbs() -> list[str]:
    return list(AuditEvent.objects.order_by("pk").values_list("verb", flat=True))


def test_nothing_in_quarantine_can_be_trained_on(package, project):
    assert package.state == State.WAITING
    assert not DatasetVersion.objects.filter(dataset__project=project).exists()
    assert not Dataset.objects.filter(project=project).exists()
    assert not Source.objects.filter(project=project).exists()
    with pytest.raises(DatasetVersion.DoesNotExist):
        find_version(project, "laws")


def test_what_is_let_in_keeps_rows_sources_and_rights(package, project, curator, ministry):
    errand = do_here(accept_package(package, reason="Checked with the ministry", actor=curator))
    assert errand.state == "finished", errand.fault
    package.refresh_from_db()
    version = package.version
    theirs = DatasetVersion.objects.get(dataset__project=ministry)
    assert (package.state, version.sha256, version.rows) == (State.RELEASED, theirs.sha256, 3)
    assert (version.licence, version.uses, version.dataset.languages) == ("CC-BY-4.0", theirs.uses, ["th"])
    assert version.operation["manifest_sha256"] == package.manifest_sha256
    (span,) = SourceSpan.objects.filter(version=version)
    assert (span.start, span.stop) == (0, 3)
    assert (span.source.owner, span.source.legal_basis) == ("Council", "Section 7")
    assert span.source.expires.isoformat() == "2999-12-31"
    assert span.source.project == project
    assert {"package.received", "package.accepted", "package.released"} <= set(verbs())
    # A second time, as after a kill, makes no second version.
    assert release_package(package) == version


def test_who_brought_a_package_in_does_not_sign_the_version_that_somebody_released(
    package, researcher, curator, project
):
    accept_package(package, reason="fine", actor=curator)
    version = release_package(package)
    asker = Membership.objects.create(user=User.objects.create(username="third"), project=project, role="curator").user
    ask_for_review(version, actor=asker)
    points = ["origin", "personal", "overlap", "sample"]
    with pytest.raises(CurationRefused, match="You brought in the package"):
        sign_version(version, checklist=points, actor=researcher)
    with pytest.raises(CurationRefused, match="You made this version"):
        sign_version(version, checklist=points, actor=curator)


def test_a_release_that_was_killed_goes_on(package, curator):
    accept_package(package, reason="fine", actor=curator)
    first = release_package(package)
    Package.objects.filter(pk=package.pk).update(state=State.RELEASING, version=None)
    package.refresh_from_db()
    assert release_package(package) == first
    assert Source.objects.filter(project=package.project).count() == 1


@pytest.mark.parametrize("role", ["uploader", "admin who uploaded", "viewer", "stranger"])
def test_nobody_decides_alone(role, package, researcher, viewer, stranger, project_admin, sent, project):
    actor = {"uploader": researcher, "viewer": viewer, "stranger": stranger}.get(role, project_admin)
    if role == "admin who uploaded":
        Package.objects.filter(pk=package.pk).update(uploaded_by=project_admin)
        package.refresh_from_db()
    for decide in (accept_package, reject_package):
        with pytest.raises((PackageRefused, PermissionDenied, Http404)):
            decide(package, reason="mine", actor=actor)
    package.refresh_from_db()
    assert package.state == State.WAITING


def test_the_database_refuses_a_decision_by_the_uploader(package, researcher):
    with pytest.raises(IntegrityError), transaction.atomic():
        Package.objects.filter(pk=package.pk).update(decided_by=researcher, state=State.RELEASED)


def test_of_two_decisions_one_holds(package, curator, project_admin):
    copy = Package.objects.get(pk=package.pk)
    accept_package(package, reason="fine", actor=curator)
    with pytest.raises(PackageRefused, match="being released already"):
        reject_package(copy, reason="not fine", actor=project_admin)
    assert Errand.objects.count() == 1


def test_a_rejected_package_is_gone_and_stays_known(package, curator, django_capture_on_commit_callbacks):
    assert package.path.is_file()
    with django_capture_on_commit_callbacks(execute=True):
        reject_package(package, reason="No legal basis", actor=curator)
    assert not package.path.exists()
    assert Package.objects.get().reason == "No legal basis"
    with pytest.raises(PackageRefused, match="rejected already"):
        accept_package(package, reason="after all", actor=curator)


def test_an_unknown_key_needs_an_admin_first(project, sent, researcher, curator, project_admin, key):
    package = receive_package(project=project, file=sent, actor=researcher)
    with pytest.raises(PackageRefused, match="an admin of the project must accept it first"):
        accept_package(package, reason="fine", actor=curator)
    with pytest.raises(PermissionDenied):
        trust_key(project=project, key=package.key, owner="Ministry", actor=curator)
    trust_key(project=project, key=package.key, owner="Ministry", actor=project_admin)
    accept_package(package, reason="fine", actor=curator)
    assert AuditEvent.objects.get(verb="key.trusted").detail["owner"] == "Ministry"


def test_the_same_package_waits_once(package, sent, project, researcher):
    with pytest.raises(PackageRefused, match="waits in the quarantine already"):
        receive_package(project=project, file=sent, actor=researcher)
    assert len(list((package.path.parent).iterdir())) == 1


def test_what_is_inside_already_is_counted(project, ministry, sent, researcher):
    add_version(project, texts=("มาตรา 1", "Section 9"))
    package = receive_package(project=project, file=sent, actor=researcher)
    assert {name: package.difference[name] for name in ("compared_with", "added", "removed", "kept")} == {
        "compared_with": "laws@1", "added": 2, "removed": 1, "kept": 1,
    }  # fmt: skip


def test_rows_that_are_inside_under_another_name_are_told(project, sent, researcher):
    add_version(project, slug="copied")
    assert receive_package(project=project, file=sent, actor=researcher).difference["same_rows_in"] == ["copied@1"]


def test_what_was_withdrawn_here_does_not_come_back(package, curator, project):
    version = add_version(project, slug="other", texts=("มาตรา 2",))
    line = '{"text":"มาตรา 2"}\n'.encode()
    length, sha256 = mark_line(line)
    WithdrawnRow.objects.create(project=project, sha256=sha256, length=length, version=version, number=1, reason="x")
    errand = do_here(accept_package(package, reason="fine", actor=curator))
    assert errand.fault == "rows: Row 2 was withdrawn here and must not come back."
    package.refresh_from_db()
    assert (package.state, package.decided_by) == (State.WAITING, None)
    assert "Row 2" in package.fault
    assert "package.release_failed" in verbs()


def test_a_withdrawn_source_does_not_come_back(package, curator, project):
    add_version(project, slug="other", source_name="laws-gazette")
    Source.objects.filter(project=project).update(withdrawn=timezone.now())
    errand = do_here(accept_package(package, reason="fine", actor=curator))
    assert "was withdrawn here" in errand.fault


def test_a_package_does_not_widen_what_the_same_rows_may_be_used_for(package, curator, researcher, project):
    """Unless who lets it in may decide on rights."""
    Package.objects.filter(pk=package.pk).update(uploaded_by=curator)
    package.refresh_from_db()
    add_version(project, slug="same", uses=["evaluate"])
    errand = do_here(accept_package(package, reason="fine", actor=researcher))
    assert "holds the very same rows and does not allow" in errand.fault
    assert not DatasetVersion.objects.filter(dataset__slug="laws", dataset__project=project).exists()


def test_a_file_that_was_changed_in_the_quarantine_is_not_let_in(package, curator):
    package.path.chmod(0o640)
    content = bytearray(package.path.read_bytes())
    content[-3000] ^= 1
    package.path.write_bytes(content)
    errand = do_here(accept_package(package, reason="fine", actor=curator))
    assert errand.state == "failed"
    package.refresh_from_db()
    assert package.state == State.WAITING


ROWS = b'{"text":"one"}\n{"text":"two"}\n'
SHA = hashlib.sha256(ROWS).hexdigest()
DATASET = {"slug": "laws", "title": "Laws", "kind": "text", "description": "", "languages": ["th"]}
VERSION = {"number": 1, "sha256": SHA, "rows": 2, "licence": "MIT", "uses": ["train"], "non_commercial": False}
SOURCE = {"slug": "s", "title": "S", "licence": "MIT", "uses": ["train"], "non_commercial": False}


def write_hostile(path: Path, key, *, rows: bytes = ROWS, sources=None, dataset=None, version=None, **about) -> Path:
    told = {"sources": [SOURCE], "spans": [["s", 0, 2]]} if sources is None else sources
    sha256 = hashlib.sha256(rows).hexdigest()
    write_bundle(
        path,
        [Part("rows.jsonl", content=rows), Part("sources.json", content=write_json(told))],
        {
            "kind": "dataset",
            "name": "enemy/laws@1",
            "dataset": DATASET if dataset is None else dataset,
            "version": {**VERSION, "sha256": sha256, **(version or {})},
            **about,
        },
        key,
    )
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset": {**DATASET, "slug": "../etc"}}, "dataset.slug"),
        ({"dataset": {**DATASET, "kind": "pickle"}}, "dataset.kind"),
        ({"dataset": {**DATASET, "title": "x" * 500}}, "dataset.title"),
        ({"dataset": []}, "dataset"),
        ({"version": {"rows": 3}}, "There are 2 rows where the manifest says 3"),
        ({"version": {"rows": "2"}}, "version.rows"),
        ({"version": {"sha256": "0" * 64}}, "not what the version's hash says"),
        ({"version": {"uses": ["train", "everything"]}}, "version.uses"),
        ({"rows": b'{"text":"one"}\n{"text": "two"}\n'}, "Row 2 is not written as rows"),
        ({"rows": b'{"text":"one"}\nnonsense\n'}, "Row 2 is not written as rows"),
        ({"rows": b'{"text":"one"}\n{"text":7}\n'}, "Row 2 text is not text"),
        ({"rows": b'{"text":"one"}\n' + b"[" * 100_000 + b"\n"}, "Row 2 is not written as rows"),
        ({"rows": b'{"text":"one"}\n{"text":"two"}'}, "Row 2 is not written as rows"),
        ({"rows": b'{"text":"one"}\n' + b"x" * 2**24 + b"xx\n"}, "Row 2 is not written as rows"),
        ({"sources": {"sources": [SOURCE], "spans": [["t", 0, 2]]}}, "none of its sources"),
        ({"sources": {"sources": [SOURCE], "spans": [["s", 0, 9]]}}, "more rows than the package"),
        ({"sources": {"sources": [SOURCE], "spans": [["s", 1, 2], ["s", 0, 1]]}}, "out of their order"),
        ({"sources": {"sources": [SOURCE, SOURCE], "spans": []}}, "names a source twice"),
        ({"sources": {"sources": [{**SOURCE, "expires": "soon"}], "spans": []}}, "expires"),
        ({"sources": []}, "sources.json"),
        ({"kind": "model"}, "bundle of a model"),
    ],
    ids=range(21),
)
def test_a_signed_package_that_lies_is_refused_and_nothing_is_kept(
    change, said, project, researcher, key, tmp_path, own_home
):
    path = write_hostile(tmp_path / "x.tar", key, **change)
    with pytest.raises(PackageRefused) as refused:
        receive_package(project=project, file=path, actor=researcher)
    assert said in str(refused.value)
    assert not Package.objects.exists()
    assert list((own_home / "quarantine").iterdir()) == []


def test_rows_without_a_source_get_the_rights_of_the_package(
    project, researcher, curator, key, tmp_path, project_admin
):
    sources = {"sources": [SOURCE], "spans": [["s", 1, 2]]}
    path = write_hostile(tmp_path / "x.tar", key, sources=sources)
    package = receive_package(project=project, file=path, actor=researcher)
    trust_key(project=project, key=package.key, owner="Somebody", actor=project_admin)
    do_here(accept_package(package, reason="fine", actor=curator))
    package.refresh_from_db()
    spans = SourceSpan.objects.filter(version=package.version).order_by("start")
    assert [(one.start, one.stop, one.source.slug) for one in spans] == [(0, 1, "laws"), (1, 2, "s")]


def test_what_is_no_package_is_refused_with_its_faults(project, researcher, client_of, own_home, sent):
    client = client_of(researcher)
    content = bytearray(sent.read_bytes())
    content[content.index(b"rows.jsonl\0") + 520] ^= 1
    answer = client.post(reverse("custody", args=[project.slug]), {"file": SimpleUploadedFile("x.tar", bytes(content))})
    assert answer.status_code == 422
    assert "rows.jsonl is not what was signed" in answer.content.decode()
    for junk in (b"", b"hello", bytes(10_000)):
        answer = client.post(reverse("custody", args=[project.slug]), {"file": SimpleUploadedFile("x.tar", junk)})
        assert answer.status_code == 422
    assert list((own_home / "quarantine").glob("*")) == []


def test_the_pages_from_upload_to_version(project, researcher, curator, project_admin, client_of, sent):
    uploader, decider, admin = (client_of(user) for user in (researcher, curator, project_admin))
    with sent.open("rb") as file:
        answer = uploader.post(reverse("custody", args=[project.slug]), {"file": file}, follow=True)
    page = answer.content.decode()
    assert "somebody else must decide about it" in page
    assert "an unknown key" in page
    address = Package.objects.get().get_absolute_url()
    assert "Accept this key" not in decider.get(address).content.decode()
    assert "disabled" in decider.get(address).content.decode()
    refused = decider.post(address, {"do": "accept", "reason": "fine"})
    assert refused.status_code == 422
    assert "must accept it first" in refused.content.decode()
    assert decider.post(address, {"do": "trust", "owner": "x"}).status_code == 403
    assert admin.post(address, {"do": "trust", "owner": " "}).status_code == 422
    admin.post(address, {"do": "trust", "owner": "Ministry of Law", "key": "0" * 64})
    assert TrustedKey.objects.get().key == Package.objects.get().key
    assert uploader.post(address, {"do": "accept", "reason": "fine"}).status_code == 422
    assert decider.post(address, {"do": "accept", "reason": ""}).status_code == 422
    decider.post(address, {"do": "accept", "reason": "Checked by telephone"})
    do_here(Errand.objects.get())
    page = decider.get(address).content.decode()
    assert "laws@1" in page
    assert "Checked by telephone" in page
    assert "Let in" in uploader.get(reverse("custody", args=[project.slug])).content.decode()


def test_the_keys_page_accepts_and_ends_keys(project, project_admin, viewer, client_of, key):
    address, admin = reverse("custody_keys", args=[project.slug]), client_of(project_admin)
    public = key.public_key().public_bytes_raw().hex()
    assert client_of(viewer).post(address, {"do": "trust", "key": public, "owner": "x"}).status_code == 403
    for bad in ({"key": "xyz", "owner": "x"}, {"key": public, "owner": ""}, {"key": "", "owner": "x"}):
        assert admin.post(address, {"do": "trust", **bad}).status_code == 422
    admin.post(address, {"do": "trust", "key": public.upper(), "owner": "Ministry"})
    assert "Ministry" in admin.get(address).content.decode()
    assert admin.post(address, {"do": "trust", "key": public, "owner": "Again"}).status_code == 422
    admin.post(address, {"do": "distrust", "number": TrustedKey.objects.get().pk})
    assert not TrustedKey.objects.exists()
    assert verbs()[-2:] == ["key.trusted", "key.distrusted"]
    assert admin.get(reverse("custody_own_key", args=[project.slug])).status_code == 404


def test_the_api_brings_in_and_decides(project, researcher, curator, project_admin, client_of, sent):
    uploader, decider, admin = (client_of(user) for user in (researcher, curator, project_admin))
    with sent.open("rb") as file:
        answer = uploader.post(reverse("api:packages", args=[project.slug]), {"file": file})
    assert answer.status_code == 201, answer.content
    assert answer.json()["key_owner"] == ""
    number = answer.json()["id"]
    key = {"key": answer.json()["key"], "owner": "Ministry"}
    assert decider.post(reverse("api:keys", args=[project.slug]), key, "application/json").status_code == 403
    assert admin.post(reverse("api:keys", args=[project.slug]), key, "application/json").status_code == 201
    accept = reverse("api:package_accept", args=[project.slug, number])
    assert uploader.post(accept, {"reason": "x"}, "application/json").status_code == 422
    assert decider.post(accept, {}, "application/json").status_code == 400
    reject = reverse("api:package_reject", args=[project.slug, number])
    assert uploader.post(reject, {"reason": "x"}, "application/json").status_code == 422
    assert decider.post(accept, {"reason": "x"}, "application/json").status_code == 202
    do_here(Errand.objects.get())
    told = decider.get(reverse("api:package", args=[project.slug, number])).json()
    assert (told["state"], told["version"], told["decided_by"]) == ("released", "laws@1", "curator")
    assert len(decider.get(reverse("api:packages", args=[project.slug])).json()["results"]) == 1
    with sent.open("rb") as file:
        number = uploader.post(reverse("api:packages", args=[project.slug]), {"file": file}).json()["id"]
    reject = reverse("api:package_reject", args=[project.slug, number])
    assert decider.post(reject, {"reason": "twice"}, "application/json").json()["state"] == "rejected"
    number = TrustedKey.objects.get().pk
    assert admin.delete(reverse("api:key", args=[project.slug, number])).status_code == 204


@pytest.fixture
def run_command(monkeypatch, capsys):
    monkeypatch.setattr("chanote.cli._set_up_django", lambda **_: None)

    def run(*words: str) -> tuple[int, str]:
        code = main(list(words))
        return code, capsys.readouterr().out

    return run


def test_the_commands_carry_a_dataset_across(
    project, ministry, researcher, curator, project_admin, run_command, tmp_path
):
    from chanote.accounts.models import Membership

    add_version(ministry)
    Membership.objects.create(user=researcher, project=ministry, role="researcher")
    there, here = ("--project", "ministry", "--as", "researcher"), ("--project", "law", "--json", "--as")
    folder = str(tmp_path / "laws")
    assert run_command("dataset", "export", "laws@1", "--out", folder, *there)[0] == 0
    assert run_command("dataset", "export", "laws@9", "--out", folder, *there)[0] == 3
    assert run_command("verify", folder)[0] == 0
    code, out = run_command("dataset", "import-package", folder, *here, "researcher")
    assert code == 0, out
    # Both projects are in one installation, whose own key needs nobody's acceptance.
    assert json.loads(out)["signed_by"] == "this installation"
    number = str(json.loads(out)["number"])
    assert run_command("custody", "accept", number, "--reason", "fine", *here, "researcher")[0] == 4
    assert run_command("custody", "accept", number, "--reason", "fine", *here, "curator")[0] == 0
    assert do_here(Errand.objects.get()).state == "finished"
    assert json.loads(run_command("custody", "list", *here, "curator")[1])[0]["state"] == "released"
    (tmp_path / "other.hex").write_text("ab" * 32)
    other = str(tmp_path / "other.hex")
    assert run_command("custody", "trust", other, "--owner", "X", *here, "curator")[0] == 4
    assert run_command("custody", "trust", other, "--owner", "X", *here, "project-admin")[0] == 0
    assert run_command("custody", "distrust", other, *here, "project-admin")[0] == 0
    assert run_command("dataset", "import-package", str(tmp_path / "none"), *here, "researcher")[0] == 4


def test_what_is_known_of_a_version_travels_with_it(ministry, key, tmp_path, django_user_model):
    """Reviews, checks and exceptions, whichever app keeps them, and the events about it."""
    sender = django_user_model.objects.create(username="sender", is_superuser=True)
    version = add_version(ministry)
    Comment.objects.create(version=version, text="Row 2 is doubtful", author=sender, author_name="sender")
    export_bundle(version, tmp_path / "laws", key=key, actor=sender)
    bundle = verify_bundle(tmp_path / "laws")
    with bundle.open("evidence/curation.comment.jsonl") as file:
        comment = json.loads(file.read())
    assert (comment["text"], comment["author"]) == ("Row 2 is doubtful", "sender")
    with bundle.open("evidence/audit.jsonl") as file:
        assert [json.loads(line)["verb"] for line in file] == ["dataset.version_imported"]
    assert {"rows.jsonl", "sources.json", "statistics.json", "facts.json"} <= set(bundle.manifest["files"])
