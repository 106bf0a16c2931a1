"""A model leaves the house: with what, under which card, for whom, and how everybody else learns of it."""

import json
import tarfile

import pytest
from django.urls import reverse
from django.utils import timezone

from chanote.audit.models import AuditEvent
from chanote.audit.verifying import check_log
from chanote.cli import main
from chanote.custody.bundle import verify_bundle
from chanote.custody.exporting import ExportRefused, export_bundle, list_weights
from chanote.custody.models import BundleExport
from chanote.custody.signing import find_own_public_key, open_own_key, own_key_path
from chanote.errands.doing import do_here
from chanote.errands.models import Errand
from chanote.models.models import Model
from chanote.rights.models import Source
from tests.custody_world import add_version, score_model, train_model, write_model
from tests.run_rows import tell

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_home")]


@pytest.fixture
def version(project, own_home):
    return add_version(project)


@pytest.fixture
def model(project, version, tmp_path):
    model = train_model(project, version, tmp_path)
    score_model(model, version, tmp_path)
    return model


def read(path, name):
    with verify_bundle(path).open(name) as file:
        return file.read().decode()


def test_a_bundle_holds_weights_cards_recipe_and_the_hash_of_every_input(model, version, researcher, tmp_path):
    target = tmp_path / "deed.tar"
    export = export_bundle(model, target, key=open_own_key(), actor=researcher)
    manifest = verify_bundle(target, public_key=find_own_public_key()).manifest
    assert {"model/model.safetensors", "model/tokenizer.json", "model/config.json", "README.md", "README.th.md"} <= set(
        manifest["files"]
    )
    (training,) = manifest["inputs"]["trainings"]
    assert training["base"] == {"name": "base-model", "sha256": model.parent.sha256}
    assert training["datasets"] == {"laws@1": {"sha256": version.sha256, "rows": 3}}
    assert training["recipe"]["sha256"] == "a" * 64
    assert training["packages"] == {"torch": "2.13.0"}
    assert training["code"]["commit"] == "f" * 40
    assert manifest["inputs"]["models"][0]["sha256"] == model.parent.sha256
    assert manifest["model_sha256"] == model.sha256
    assert json.loads(read(target, "training/run-1/spec.json"))["recipe"]["base"] == "base-model"
    event = AuditEvent.objects.get(verb="model.exported")
    assert event.actor == researcher
    assert event.detail["manifest_sha256"] == export.manifest_sha256
    # Whoever keeps the bundle keeps a head of the audit log with it.
    assert check_log(expect=manifest["audit_head"]).fault_total == 0


def test_both_cards_tell_data_consent_scores_with_intervals_and_limits(model, researcher, tmp_path):
    export_bundle(model, tmp_path / "deed", key=open_own_key(), actor=researcher)
    english, thai = read(tmp_path / "deed", "README.md"), read(tmp_path / "deed", "README.th.md")
    for card in (english, thai):
        assert "CC-BY-4.0" in card
        assert "Copyright Act, section 7" in card
        assert "Office of the Council" in card
        # 6 of 8 right; Wilson's interval worked out by hand: 40.93 to 92.85.
        assert "| 75 % | 41–93 |" in card, "no more digits than eight items support"
        assert "test \\| one" in card
    assert "Consent for: train, distil, evaluate, publish" in english
    assert "ความยินยอมให้ใช้เพื่อ: ฝึก, กลั่นความรู้, ประเมินผล, เผยแพร่" in thai
    assert "Energy was not measured" in english
    assert "ไม่ได้วัดการใช้พลังงาน" in thai
    assert "started from" in english
    assert "ฝึกต่อจาก" in thai


def test_both_cards_tell_measured_energy_and_carbon_by_the_operators_figure(model, researcher, tmp_path, settings):
    settings.CARBON_GRAMS_PER_KWH = 400
    part = {"what": "cpu", "basis": "measured", "source": "package-0", "joules": 1_800_000.0}
    tell(model.checkpoint.run, "energy_used", step=5, seconds=60.0, parts=[part])
    export_bundle(model, tmp_path / "deed", key=open_own_key(), actor=researcher)
    english = read(tmp_path / "deed", "README.md")
    assert "Energy measured: 0.5 kWh. That is 0.2 kg of CO₂ equivalent at 400 g per kWh. Processors measured" in english
    thai = read(tmp_path / "deed", "README.th.md")
    assert "พลังงานที่ใช้ (วัดจริง): 0.5 kWh เทียบเท่า CO₂ 0.2 กก. ที่ 400 กรัมต่อ kWh" in thai
    manifest = verify_bundle(tmp_path / "deed").manifest
    assert manifest["inputs"]["trainings"][0]["energy"]["kwh"] == 0.5


def test_words_of_people_do_not_become_markup(model, researcher, tmp_path):
    type(model).objects.filter(pk=model.pk).update(title="<script>alert(1)</script> | [x](javascript:1)\n# Big")
    model.refresh_from_db()
    export_bundle(model, tmp_path / "deed", key=open_own_key(), actor=researcher)
    for name in ("README.md", "README.th.md"):
        card = read(tmp_path / "deed", name)
        assert "<script>" not in card
        assert "\\[x\\](javascript" in card
        assert "\n# Big" not in card


@pytest.mark.parametrize("way", ["service", "page", "api", "command"])
def test_what_the_rights_forbid_stays_at_home(way, project, researcher, client_of, tmp_path, own_home, run_command):
    """A student inherits its base's terms."""
    model = train_model(project, add_version(project), tmp_path, base_uses=["train", "evaluate"])
    if way == "service":
        with pytest.raises(ExportRefused):
            export_bundle(model, tmp_path / "deed.tar", key=open_own_key(), actor=researcher)
    elif way == "page":
        address = reverse("bundle_export", args=[project.slug])
        answer = client_of(researcher).post(address, {"kind": "model", "name": model.slug}, follow=True)
        assert "base-model" in answer.content.decode()
    elif way == "api":
        address = reverse("api:bundles", args=[project.slug])
        answer = client_of(researcher).post(address, {"kind": "model", "name": model.slug}, "application/json")
        assert answer.status_code == 422
        assert "base-model" in json.dumps(answer.json())
    else:
        code, _ = run_command("model", "export", model.slug, "--out", str(tmp_path / "deed.tar"), "--as", "researcher")
        assert code == 4
    assert not (tmp_path / "deed.tar").exists()
    assert not BundleExport.objects.exists()
    assert not Errand.objects.exists()


def test_rights_that_end_while_it_is_written_keep_it_at_home(model, researcher, tmp_path):
    """Asked again in the transaction that records the export."""
    target = tmp_path / "deed.tar"

    def withdraw(done: int, total: int, name: str) -> None:
        Source.objects.update(withdrawn=timezone.now())

    with pytest.raises(ExportRefused):
        export_bundle(model, target, key=open_own_key(), actor=researcher, report=withdraw)
    assert not target.exists()
    assert not AuditEvent.objects.filter(verb="model.exported").exists()


def test_files_that_are_not_those_that_were_registered_stay_at_home(model, researcher, tmp_path):
    (tmp_path / "made/model/config.json").write_text("{}")
    with pytest.raises(ExportRefused):
        export_bundle(model, tmp_path / "deed.tar", key=open_own_key(), actor=researcher)
    (tmp_path / "made/model/config.json").write_text('{"model_type": "other"}')
    with pytest.raises(ExportRefused, match="not those that were registered"):
        export_bundle(model, tmp_path / "deed.tar", key=open_own_key(), actor=researcher)


def test_pickles_stay_at_home_and_are_named(project, researcher, tmp_path):
    from chanote.models.services import register_directory

    place = write_model(tmp_path / "mixed")
    (place / "pytorch_model.bin").write_bytes(b"pickle")
    model = register_directory(project=project, slug="mixed", path=place, licence="MIT", actor=None)
    export_bundle(model, tmp_path / "deed", key=open_own_key(), actor=researcher)
    manifest = verify_bundle(tmp_path / "deed").manifest
    assert list(manifest["left_out"]) == ["pytorch_model.bin"]
    assert not [name for name in manifest["files"] if name.endswith(".bin")]
    assert "not trained here" in read(tmp_path / "deed", "README.md")


def test_the_page_exports_by_an_errand_and_gives_the_file(model, project, researcher, client_of):
    client = client_of(researcher)
    page = client.get(model.get_absolute_url()).content.decode()
    assert "Export signed" in page
    client.post(reverse("bundle_export", args=[project.slug]), {"kind": "model", "name": model.slug})
    errand = do_here(Errand.objects.get())
    assert errand.state == "finished", errand.fault
    answer = client.get(errand.result["link"])
    assert answer["Content-Disposition"].endswith('.tar"')
    content = b"".join(answer.streaming_content)
    path = BundleExport.objects.get().file
    assert path.read_bytes() == content
    with tarfile.open(path) as tar:
        assert tar.getnames()[:2] == ["MANIFEST.json", "SIGNATURE.json"]
    assert "Download" in client.get(reverse("bundles", args=[project.slug])).content.decode()
    api = client.get(reverse("api:bundle_file", args=[project.slug, BundleExport.objects.get().pk]))
    assert b"".join(api.streaming_content) == content
    # An errand that is done again, as after a kill, finds its bundle.
    assert do_here(errand).result == errand.result
    assert BundleExport.objects.count() == 1


def test_viewers_export_nothing(model, project, viewer, client_of):
    client = client_of(viewer)
    assert client.post(reverse("bundle_export", args=[project.slug]), {"kind": "model"}).status_code == 403
    assert client.post(reverse("api:bundles", args=[project.slug]), {}, "application/json").status_code == 403
    assert "Export signed" not in client.get(model.get_absolute_url()).content.decode()
    assert "Export signed" not in client.get(reverse("bundles", args=[project.slug])).content.decode()


@pytest.fixture
def run_command(monkeypatch, capsys):
    """`chanote` in this process, on this test's database."""
    monkeypatch.setattr("chanote.cli._set_up_django", lambda **_: None)

    def run(*words: str) -> tuple[int, str]:
        code = main(list(words))
        return code, capsys.readouterr().out

    return run


def test_the_command_exports_and_everybody_verifies(model, researcher, run_command, tmp_path):
    target = str(tmp_path / "deed.tar")
    code, out = run_command("model", "export", model.slug, "--out", target, "--as", "researcher", "--json")
    assert code == 0, out
    code, key = run_command("custody", "key", "--as", "researcher", "--json")
    (tmp_path / "key.pem").write_text(json.loads(key)["pem"])
    code, verified = run_command("verify", target, "--public-key", str(tmp_path / "key.pem"), "--json")
    assert (code, json.loads(verified)["fingerprint"]) == (0, json.loads(out)["fingerprint"])
    assert own_key_path().stat().st_mode & 0o777 == 0o600
    assert AuditEvent.objects.filter(verb="key.made").count() == 1
    assert run_command("model", "export", model.slug, "--out", target, "--as", "researcher")[0] == 4
    assert run_command("model", "export", "nobody", "--out", target, "--as", "researcher")[0] == 3
    key_file = str(tmp_path / "key.pem")
    assert run_command("model", "export", model.slug, "--out", target, "--as", "researcher", "--key", key_file)[0] == 2


def test_a_model_without_files_is_not_exported(project, researcher, client_of, tmp_path):
    known = Model.objects.create(project=project, slug="elsewhere", origin="directory", location="", sha256="")
    with pytest.raises(ExportRefused, match="known by imported results only"):
        list_weights(known)
    assert "Export signed" not in client_of(researcher).get("/p/law/models/elsewhere/").content.decode()
