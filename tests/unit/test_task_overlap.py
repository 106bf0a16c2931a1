"""Overlap with tasks: what stands in rows is found in whatever spelling, what only resembles it is not."""

import pytest
from checked_rows import check, take

from chanote.boards.services import freeze_task
from chanote.checks.findings import open_detail
from chanote.checks.selectors import find_clean_items, findings_of_rows
from chanote.checks.tokens import split_words
from trainer.contract import TaskSpec

pytestmark = pytest.mark.django_db

QUESTION = (
    "ผู้เช่าบ้านไม่ชำระค่าเช่าติดต่อกันสองเดือน ผู้ให้เช่าจะบอกเลิกสัญญาได้ทันทีหรือไม่"
    " และต้องบอกกล่าวให้ชำระค่าเช่าภายในกี่วันก่อน ตามประมวลกฎหมายแพ่งและพาณิชย์"
)
OTHER = (
    "บริษัทจดทะเบียนภาษีมูลค่าเพิ่มส่งออกผ้าพิมพ์ไปต่างประเทศ มีสิทธิขอคืนภาษีซื้อที่เกี่ยวข้องกับรายได้จากการขายในต่างประเทศเป็นเงินสดหรือไม่ อย่างไร"
)
ENGLISH = (
    "A train leaves the station at seven and travels at sixty miles an hour for three hours before it stops in a town"
)
CODE = "ประมวลกฎหมายแพ่งและพาณิชย์"
ANSWER = "ได้ แต่ต้องบอกกล่าวให้ผู้เช่าชำระค่าเช่าภายในเวลาไม่น้อยกว่าสิบห้าวันก่อน หากพ้นกำหนดแล้วผู้เช่ายังไม่ชำระจึงบอกเลิกสัญญาได้"
LAW = (
    "ถ้าผู้เช่าไม่ชำระค่าเช่า ผู้ให้เช่าจะบอกเลิกสัญญาเสียก็ได้ แต่ถ้าค่าเช่านั้นจะพึงส่งเป็นรายเดือน"
    " หรือส่งเป็นระยะเวลายาวกว่ารายเดือนขึ้นไป ผู้ให้เช่าต้องบอกกล่าวแก่ผู้เช่าก่อน"
)


@pytest.fixture(autouse=True)
def _own_home(settings, tmp_path):
    settings.HOME = tmp_path


@pytest.fixture
def task(project):
    rows = [
        {"id": "rent", "question": QUESTION, "answer": ANSWER, "citations": [{"law": CODE, "section": "560"}]},
        {"id": "cloth", "question": OTHER, "answer": "ได้"},
        {"id": "train", "question": ENGLISH, "answer": "180"},
        {"id": "tiny", "question": "2+2?", "answer": "4"},
        {"id": "short", "question": "ใครเป็นผู้ค้ำประกันตามสัญญานี้", "answer": "นาย ก"},
    ]  # fmt: skip
    version = take(project, "exam", rows, kind="prompts", uses=["evaluate"])
    spec = TaskSpec(task="exam", dataset="exam@1", output_type="generate_until", metric="exact_match")
    return freeze_task(project=project, definition=spec, dataset_version=version)


def found_in(project, tmp_path, *texts):
    """Of each text the codes that were found in it."""
    version = take(project, "learnt", [{"text": text} for text in texts])
    check(version, "overlap", tmp_path)
    told = findings_of_rows(version, 1, len(texts), facts=True)
    return [{one.code for one in told.get(number, [])} for number in range(1, len(texts) + 1)]


def test_an_item_is_found_in_the_middle_of_a_row(project, task, tmp_path):
    texts = [f"ข้อสอบเก่า: {QUESTION} จงตอบ", "กฎหมายว่าด้วยการเช่าทรัพย์ใช้บังคับแก่คู่สัญญาทุกฝ่าย", ENGLISH.upper(), ANSWER]
    assert found_in(project, tmp_path, *texts) == [{"question"}, set(), {"question"}, {"answer"}]


@pytest.mark.parametrize(
    "disguise",
    [
        lambda text: "\u200b".join(text),
        lambda text: text.replace(" ", "\n\n"),
        lambda text: text.replace("แ", "เเ").replace("ำ", "\u0e4d\u0e32"),
        lambda text: " ".join(text),
        lambda text: text[20:110],
    ],
    ids=["zero width", "lines", "look-alike letters", "spaced out", "a part"],
)
def test_no_spelling_hides_a_copy(project, task, tmp_path, disguise):
    assert found_in(project, tmp_path, disguise(QUESTION)) == [{"question"}]


def test_thai_digits_and_full_width_letters_are_the_same(project, tmp_path):
    question = "ในปี 2567 บริษัท ABC มีรายได้ 1250000 บาท และรายจ่าย 830000 บาท จะต้องเสียภาษีเงินได้นิติบุคคลเท่าไร"
    version = take(project, "sums", [{"question": question}], kind="prompts")
    spec = TaskSpec(task="sums", dataset="sums@1", output_type="generate_until", metric="exact_match")
    freeze_task(project=project, definition=spec, dataset_version=version)
    thai = question.translate(str.maketrans("0123456789", "๐๑๒๓๔๕๖๗๘๙")).replace("ABC", "ＡＢＣ")
    assert found_in(project, tmp_path, thai) == [{"question"}]


def test_thirteen_words_are_enough_and_twelve_are_not(project, tmp_path):
    question = "How far is it if he may go by bus or on foot to me at six or so in all"
    words = question.split(" ")
    version = take(project, "words", [{"question": question}], kind="prompts")
    spec = TaskSpec(task="words", dataset="words@1", output_type="generate_until", metric="exact_match")
    freeze_task(project=project, definition=spec, dataset_version=version)
    thirteen, twelve = " ".join(words[3:16]), " ".join(words[3:15])
    assert len(thirteen.replace(" ", "")) < 50, "so that only the words decide"
    assert found_in(project, tmp_path, f"yes {thirteen} now", f"yes {twelve} now") == [{"question"}, set()]


def test_fifty_letters_are_enough_and_forty_nine_are_not(project, tmp_path):
    text = (
        "Rechtsschutzversicherungsgesellschaften Donaudampfschifffahrtsgesellschaftskapitän "
        "Grundstücksverkehrsgenehmigungszuständigkeit"
    )
    version = take(project, "long", [{"question": text}], kind="prompts")
    spec = TaskSpec(task="long", dataset="long@1", output_type="generate_until", metric="exact_match")
    freeze_task(project=project, definition=spec, dataset_version=version)
    letters = text.replace(" ", "")
    assert found_in(project, tmp_path, letters[5:55], letters[5:54]) == [{"question"}, set()]


def test_the_law_of_an_item_is_told_apart_and_is_no_fault(project, task, tmp_path):
    rows = [
        {"text": LAW, "law_name": CODE, "section_num": "560"},
        {"text": "มาตราอื่นซึ่งไม่เกี่ยวข้องกับข้อสอบเลยแม้แต่น้อย", "law_name": CODE, "section_num": "561"},
    ]
    laws = take(project, "laws", rows)
    result = check(laws, "overlap", tmp_path)
    assert (result.found_rows, result.counts["items_dirty"], result.counts["items_source"]) == (0, 0, 1)
    assert findings_of_rows(laws, 1, 2) == {}
    clean = find_clean_items(task, [laws])
    assert (clean.source, clean.held) == (frozenset({"rent"}), {})
    assert clean.is_clean("rent")
    # The same words quoted in a text that names no section.
    assert found_in(project, tmp_path, f"มาตรา ๕๖๐ บัญญัติว่า {LAW}") == [{"source"}]


def test_of_each_item_it_is_told_whether_it_is_clean(project, task, tmp_path):
    first = take(project, "first", [{"text": QUESTION[:100]}, {"text": "ใครเป็นผู้ค้ำประกันตามสัญญานี้"}])
    second = take(project, "second", [{"text": OTHER}])
    third = take(project, "third", [{"text": OTHER + "!"}])
    check(first, "overlap", tmp_path)
    check(second, "overlap", tmp_path)
    clean = find_clean_items(task, [first, second, third])
    assert clean.held["cloth"] == 1.0
    assert 0 < clean.held["rent"] < 1
    assert clean.held["short"] == 1.0
    assert clean.untold == {"tiny"}
    assert clean.unchecked == (third,)
    assert [clean.is_clean(item) for item in ("rent", "cloth", "train", "short")] == [False, False, True, False]
    assert clean.is_clean("rent", share=clean.held["rent"])


def test_a_form_of_words_that_all_items_share_is_no_overlap(project, tmp_path):
    form = (
        "Read the following case carefully and then answer the question that is put to you at its very end in one word:"
    )
    names = ("rent", "bail", "loan", "gift", "theft", "lease", "debt", "duty", "fraud", "will", "trust", "oath")
    rows = [{"id": name, "question": f"{form} {' '.join(f'{name}{place}' for place in range(20))}"} for name in names]
    version = take(project, "formed", rows, kind="prompts")
    spec = TaskSpec(task="formed", dataset="formed@1", output_type="generate_until", metric="exact_match")
    freeze_task(project=project, definition=spec, dataset_version=version)
    assert found_in(project, tmp_path, f"{form} nothing of the kind", rows[3]["question"]) == [set(), {"question"}]


def test_a_dataset_is_not_held_against_the_task_that_asks_it(project, task, tmp_path):
    result = check(task.dataset_version, "overlap", tmp_path)
    assert (result.counts["tasks"], open_detail(result.detail_sha256)["left_out"]) == (0, ["exam@1"])


def test_another_task_makes_another_result(project, task, tmp_path):
    version = take(project, "learnt", [{"text": ENGLISH}])
    one = check(version, "overlap", tmp_path)
    assert check(version, "overlap", tmp_path).pk == one.pk
    other = take(
        project,
        "more",
        [{"question": "Which town does the river that is named in the second verse run through at last"}],
        kind="prompts",
    )
    spec = TaskSpec(task="more", dataset="more@1", output_type="generate_until", metric="exact_match")
    freeze_task(project=project, definition=spec, dataset_version=other)
    again = check(version, "overlap", tmp_path)
    assert again.pk != one.pk
    assert again.counts["tasks"] == 2


def test_thai_is_cut_into_words_and_a_long_run_ends():
    words = split_words("บ้านไม่ชำระค่าเช่า ABC 12")
    assert (words[:2], words[-2:], "".join(words[:-2])) == (["บ้าน", "ไม่"], ["ABC", "12"], "บ้านไม่ชำระค่าเช่า")
    assert "".join(split_words("ก" * 5000)) == "ก" * 5000


def test_an_overlap_is_found_across_the_pieces_of_a_huge_row(project, task, tmp_path, monkeypatch):
    monkeypatch.setattr("chanote.checks.grams.PIECE", 1000)
    for before in (930, 995, 1400):
        assert found_in(project, tmp_path, "ก" * before + QUESTION + "ข" * 500) == [{"question"}]
