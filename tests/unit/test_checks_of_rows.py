"""The other checks, the way they run, and what they cost."""

import json
import os
import random
import time

import pytest
from checked_rows import check, take

from chanote.accounts.models import Project
from chanote.audit.models import AuditEvent
from chanote.checks.base import CHECKS as REGISTERED
from chanote.checks.base import Check, Part, register
from chanote.checks.block import Block, cut_blocks
from chanote.checks.checkers import CHECKS
from chanote.checks.checkers.licences import find_conflict, read_licence
from chanote.checks.findings import open_findings
from chanote.checks.gathering import remove_old
from chanote.checks.language import measure_scripts
from chanote.checks.looking import Looker
from chanote.checks.models import CheckResult
from chanote.checks.parts import prune
from chanote.checks.running import run_checks
from chanote.checks.selectors import findings_of_rows
from chanote.checks.services import ChecksRefused, set_check, start_checks
from chanote.datasets.making import make_version
from chanote.errands.doing import do_here
from chanote.errands.models import State
from chanote.errands.services import resume_errand, stop_errand
from chanote.errands.work import Stopped
from chanote.rights.models import Source

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_home(settings, tmp_path):
    settings.HOME = tmp_path


def told(version, rows):
    return {row: [one.code for one in found] for row, found in findings_of_rows(version, 1, rows).items()}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("ผู้เช่าต้องบอกกล่าวผู้ให้เช่า", "th"),
        ("The tenant must tell the landlord of it", "en"),
        ("Der Mieter muss es dem Vermieter anzeigen, und zwar ohne schuldhaftes Zögern", "de"),
        ("Le locataire est tenu de le dire dans les trois jours", "fr"),
        ("契约法", "zh"),
        ("契約はこれです", "ja"),
        ("임차인은 알려야 한다", "ko"),
        ("ຜູ້ເຊົ່າ", "lo"),
        ("Xyzzy qwrt", "und"),
        ("12 + 7 = 19", ""),
    ],
)
def test_the_language_of_a_row(text, language):
    assert measure_scripts([text])[0].language == language


def test_shares_of_scripts_are_counted_by_hand(project, tmp_path):
    # 8 Thai letters and marks, 8 Latin letters; then 4 Han.
    version = take(
        project, "mix", [{"text": "ผู้เช่า abcdefgh"}, {"text": "契约契约 ๑๒๓ 456"}, {"text": "๑๒๓"}], languages=["th"]
    )
    result = check(version, "languages", tmp_path)
    thai = len("ผู้เช่า")
    assert result.counts["shares"] == {
        "Thai": thai / (thai + 12), "Latin": 8 / (thai + 12), "CJK": 4 / (thai + 12), "Other": 0,
    }  # fmt: skip
    assert result.counts["mixed"] == 1
    assert told(version, 3)[2] == ["unexpected"]
    assert told(version, 3)[3] == ["wordless"]


def test_the_shape_of_rows(project, tmp_path):
    turn = {"role": "user", "content": "q"}
    rows = [
        {"id": "a", "messages": [turn, {"role": "assistant", "content": "ok"}]},
        {"id": "b", "messages": [turn, turn, {"role": "assistant", "content": "ok"}]},
        {"id": "a", "messages": [turn, {"role": "assistant", "content": "à¸\u0081à¸²à¸£"}]},
        {"messages": [{"role": "assistant", "content": "lost \ufffd letter"}]},
    ]
    version = take(project, "shape", rows, kind="chat")
    result = check(version, "schema", tmp_path)
    assert {row: sorted(codes) for row, codes in told(version, 4).items()} == {
        2: ["turns"], 3: ["damaged", "id_repeated"], 4: ["damaged", "turns"],
    }  # fmt: skip
    assert result.found_rows == 3
    assert result.counts["fields"] == {"messages": 4, "id": 3}
    assert next(one["text"] for one in result.samples if one["code"] == "id_repeated") == "has the id of row 1"


def test_words_of_the_lists_and_words_that_only_contain_them(project, tmp_path, curator):
    rows = [
        "ไอ้ควาย ออกไป", "ใส่แกงกะหรี่ลงในหีบ ให้สัสดี", "You ID\u200bIOT!", "Shitake in Scunthorpe", "du Vollidioten",
        "go and ＫＩＬＬ yourself", "ฟักทองเน่า", "the Idiosyncratic class",
    ]  # fmt: skip
    version = take(project, "words", [{"text": text} for text in rows])
    check(version, "toxicity", tmp_path)
    assert told(version, 8) == {1: ["insult"], 3: ["insult"], 5: ["insult"], 6: ["threat"]}
    set_check(project, "toxicity", {"words": ["ฟักทอง", "idiosync*"], "allowed": ["ไอ้ควาย"]}, actor=curator)
    check(version, "toxicity", tmp_path)
    assert told(version, 8) == {3: ["insult"], 5: ["insult"], 6: ["threat"], 7: ["own"], 8: ["own"]}


def test_a_sample_never_shows_half_a_number(project, tmp_path):
    for gap in range(20, 60):
        text = f"โทร 0812345678 {'x' * gap} idiot {'y' * gap} 0812345678"
        sample = CHECKS["toxicity"](CHECKS["toxicity"].settings_class(), {}).look(
            Block("text", [json.dumps({"text": text}).encode()])
        )
        assert not any(letter.isdigit() for letter in sample.samples[0]["text"])


def test_length_and_tokens_of_each_language(project, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    from chanote.models.models import Model

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    Model.objects.create(project=project, slug="base", origin="directory", location=str(tmp_path), sha256="a" * 64)
    rows = [{"text": "the cat is in the house of it"}] * 40 + [{"text": "กฎหมาย ไทย"}] * 40 + [{"text": "x"}]
    version = take(project, "long", [{**row, "id": number} for number, row in enumerate(rows)])
    result = check(version, "lengths", tmp_path)
    english, thai = (next(one for one in result.counts["languages"] if one["language"] == tag) for tag in ("en", "th"))
    # 8 words in 29 characters; 2 words in 10, which are 28 bytes with the space: each row alike, whichever are cut.
    assert (english["rows"], english["mean"]) == (40, 29)
    assert english["fertility"][0]["tokens_per_character"] == pytest.approx(8 / 29)
    assert thai["fertility"][0]["bytes_per_token"] == pytest.approx(28 / 2)
    assert result.counts["tokenizers"] == [["base"]]
    assert told(version, 81) == {81: ["short"]}


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        ("CC-BY-SA-4.0", "CC-BY-NC-4.0", True),
        ("CC-BY-SA-4.0", "CC-BY-NC-SA-4.0", True),
        ("CC-BY-SA-4.0", "ODbL-1.0", True),
        ("CC-BY-SA-4.0", "CC-BY-4.0", False),
        ("CC-BY-SA-3.0", "CC-BY-SA-4.0", False),
        ("CC-BY-SA-4.0", "GPL-3.0-only", False),
        ("GFDL-1.3-only", "GPL-3.0-only", True),
        ("MIT", "CC-BY-NC-4.0", False),
        ("CC-BY-SA-4.0 OR MIT", "CC-BY-NC-4.0", False),
    ],
)
def test_which_licences_can_be_kept_at_once(one, other, conflict):
    for first, second in ((one, other), (other, one)):
        assert bool(find_conflict(read_licence(first), read_licence(second))) == conflict


def test_a_merge_of_licences_that_cannot_be_kept_names_the_rows(project, tmp_path, curator):
    free = Source.objects.create(project=project, slug="wiki", title="W", licence="CC-BY-SA-4.0")
    bound = Source.objects.create(
        project=project, slug="clinic", title="C", licence="CC-BY-NC-4.0", non_commercial=True
    )
    rows = [({"text": f"row {number}"}, (free.pk, free.pk, bound.pk, None)[number]) for number in range(4)]
    version = make_version(
        project=project, slug="both", kind="text", rows=iter(rows), drawn_from=[], operation={"name": "merge"},
        reason="together", licence="CC0-1.0", non_commercial=True, actor=curator,
    )  # fmt: skip
    result = check(version, "licences", tmp_path)
    assert told(version, 4) == {1: ["conflict"], 2: ["conflict"], 3: ["conflict"]}
    assert "keep wiki and clinic in versions of their own" in result.samples[0]["text"]
    # A source that is withdrawn later makes another result.
    from django.utils import timezone

    Source.objects.filter(pk=bound.pk).update(withdrawn=timezone.now())
    check(version, "licences", tmp_path)
    assert told(version, 4)[3] == ["conflict", "expired"]


def test_the_same_rows_are_never_looked_at_twice(project, tmp_path, monkeypatch):
    looked = []

    def count(self, lines, *rest, look=Looker.look):
        looked.append(len(lines))
        return look(self, lines, *rest)

    monkeypatch.setattr(Looker, "look", count)
    rows = [{"text": f"row number {number} of many"} for number in range(3000)]
    first = take(project, "many", rows)
    names = ["schema", "toxicity"]
    results = run_checks(first, names, actor=None, scratch=tmp_path / "s", processes=1)
    assert sum(looked) == 3000
    looked.clear()
    assert run_checks(first, names, actor=None, scratch=tmp_path / "s", processes=1) == results
    assert looked == []
    # One row is changed, one taken out, one put in: only the blocks around them are looked at again.
    rows[1500] = {"text": "another row"}
    del rows[20]
    rows.insert(2900, {"text": "one more"})
    second = take(project, "many", rows)
    run_checks(second, names, actor=None, scratch=tmp_path / "s", processes=1)
    assert 0 < sum(looked) < 3000
    # The very same rows in another project: the results are taken over.
    looked.clear()
    elsewhere = take(Project.objects.create(slug="tax", name="Tax"), "many", rows)
    assert len(run_checks(elsewhere, names, actor=None, scratch=tmp_path / "s")) == 2
    assert looked == []


def test_two_processes_find_what_one_finds(project, tmp_path, settings):
    draw = random.Random(2)
    rows = [{"text": f"โทร 08{draw.randrange(10**8):08d} {draw.random()}"} for _ in range(4000)]
    version = take(project, "many", rows)
    names = [name for name in CHECKS if name not in ("overlap", "lengths")]
    two = run_checks(version, names, actor=None, scratch=tmp_path / "s", processes=2)
    kept = [(one.check_name, one.counts, one.samples, one.findings_sha256) for one in two]
    CheckResult.objects.all().delete()
    settings.HOME = tmp_path / "other"
    one = run_checks(version, names, actor=None, scratch=tmp_path / "s", processes=1)
    assert [(each.check_name, each.counts, each.samples, each.findings_sha256) for each in one] == kept
    assert next(each.found_rows for each in one if each.check_name == "personal") == 4000


def test_findings_of_many_rows_are_one_row_of_the_table(project, tmp_path):
    version = take(project, "many", [{"text": f"x {number}", "language": "de"} for number in range(2000)])
    result = check(version, "languages", tmp_path)
    assert CheckResult.objects.count() == 1
    assert len(open_findings(result.findings_sha256)) == 2000
    assert len(json.dumps(result.samples)) < 5000


def test_checks_that_are_stopped_go_on_where_they_were(project, curator, tmp_path, monkeypatch):
    version = take(project, "many", [{"text": f"row number {number}"} for number in range(2000)])
    errand = start_checks(version, ["schema"], actor=curator)
    assert start_checks(version, ["toxicity"], actor=curator) == errand, "one errand of a version at a time"
    looked = []

    def look(self, lines, block, keys, look=Looker.look):
        looked.append(block)
        if len(looked) == 3:
            stop_errand(errand, actor=curator)
            raise Stopped
        return look(self, lines, block, keys)

    monkeypatch.setattr(Looker, "look", look)
    assert do_here(errand).state == State.STOPPED
    assert CheckResult.objects.count() == 0
    resume_errand(errand, actor=curator)
    ended = do_here(errand)
    assert ended.state == State.FINISHED
    assert ended.result["link"].endswith("?tab=checks&version=1")
    assert len(looked) == len(set(looked)) + 1, "only the block that was broken off was looked at again"
    assert CheckResult.objects.get().rows == 2000
    assert AuditEvent.objects.filter(verb="dataset.checked", actor=curator).count() == 1


def test_rows_that_are_gone_fail_with_a_sentence(project, curator):
    from chanote.datasets.storage import version_path

    version = take(project, "gone", [{"text": "only here once, and never again"}])
    version_path(version).unlink()
    ended = do_here(start_checks(version, ["schema"], actor=curator))
    assert (ended.state, "missing from the store" in ended.fault) == (State.FAILED, True)


def test_a_block_ends_where_its_rows_say(project):
    lines = [json.dumps({"text": str(number)}).encode() + b"\n" for number in range(5000)]
    blocks = list(cut_blocks(lines))
    assert sum(len(block) for _, block, _ in blocks) == 5000
    assert [first for first, _, _ in blocks] == [
        sum(len(block) for _, block, _ in blocks[:place]) for place in range(len(blocks))
    ]
    later = {name for _, _, name in cut_blocks([b'{"text":"new"}\n', *lines])}
    assert len({name for _, _, name in blocks} - later) <= 2


def test_an_old_index_of_tasks_is_removed(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "runs.npy").write_bytes(b"x")
    os.utime(tmp_path / "old", (0, 0))
    remove_old(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["new"]


def test_old_parts_make_room(tmp_path):
    for number in range(4):
        folder = tmp_path / f"0{number}"
        folder.mkdir()
        (folder / "part.npz").write_bytes(b"x" * 100)
    assert prune(tmp_path, most=250) == 2


def test_a_check_is_one_class(project, tmp_path, monkeypatch):
    """As docs/checks.md shows it."""

    @register
    class Shouting(Check):
        name, version, title, about = "shouting", 1, "Shouting", "Rows in capitals."
        finds = {"loud": "is written in capitals"}

        def look(self, block: Block) -> Part:
            part = Part(rows=len(block.rows))
            for number, text in enumerate(block.texts):
                if text.isupper():
                    part.counts["loud"] += 1
                    part.found.append((number, self.codes["loud"], len(text)))
                    part.add_sample("loud", number, text[:80])
            return part

    monkeypatch.setitem(CHECKS, "shouting", Shouting)
    monkeypatch.delitem(REGISTERED, "shouting")
    version = take(project, "loud", [{"text": "HELP"}, {"text": "help"}])
    assert check(version, "shouting", tmp_path).found_rows == 1
    assert told(version, 2) == {1: ["loud"]}


def test_who_may_not_change_datasets_starts_nothing(project, viewer, stranger):
    from django.core.exceptions import PermissionDenied
    from django.http import Http404

    version = take(project, "one", [{"text": "x y z"}])
    with pytest.raises(PermissionDenied):
        start_checks(version, actor=viewer)
    with pytest.raises(Http404):
        start_checks(version, actor=stranger)


def test_unknown_checks_and_wrong_settings_are_refused_in_words(project, curator):
    version = take(project, "one", [{"text": "x y z"}])
    with pytest.raises(ChecksRefused, match="There is no check 'nonsense'; there are schema, languages"):
        start_checks(version, ["nonsense"], actor=curator)
    with pytest.raises(ChecksRefused, match="less than or equal to 1"):
        set_check(project, "duplicates", {"threshold": 3}, actor=curator)
    with pytest.raises(ChecksRefused, match="is no kind of personal data"):
        set_check(project, "personal", {"kinds": ["shoe size"]}, actor=curator)


@pytest.mark.parametrize("unit", ["ก", "เ", "นาย", "fuck ", "ไอ้", "1 ", "a-", "\u200b", "à¸", "i'll kill "])
def test_no_check_is_slow_on_a_hostile_row(unit):
    """Eight times the length, at most about eight times the time; the slack is for a busy machine."""
    against = {"languages": [], "tokenizers": [], "note": "", "items": [], "cited": {}}
    checks = [check(check.settings_class(), against) for check in CHECKS.values()]

    def measure(size):
        row = {"text": (unit * size)[:size] + "x"}
        line = json.dumps(row, ensure_ascii=False).encode()
        began = time.process_time()
        block = Block("text", [line])
        for one in checks:
            one.look(block)
        return time.process_time() - began

    measure(100)
    short = min(measure(8_000) for _ in range(3))
    assert measure(64_000) < 8 * 4 * short + 0.5
