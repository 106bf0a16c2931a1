"""Thai exam questions of several origins, each row with the licence of its own."""

from collections.abc import Iterator
from pathlib import Path

from chanote.datasets.shared.base import Row, SharedDataset, read_json_lines

USES = ("train", "distil", "evaluate")
XNLI = "xnli2.0_th_200"
LICENCES = {
    "facebook_beleble_th_200": "CC-BY-SA-4.0",
    "xcopa_th_200": "CC-BY-4.0",
    XNLI: "LicenseRef-CC-BY-NC",
}
"""Subjects whose items are under another licence than the collection."""
COLLECTION = "Apache-2.0"
SOURCES = {"facebook_beleble_th_200": "belebele", "xcopa_th_200": "xcopa", XNLI: "xnli"}


def load(folder: Path) -> list[SharedDataset]:
    return [
        SharedDataset(
            slug="thai-exam",
            title="Thai exam questions",
            kind="choices",
            rows=lambda: read_questions(folder),
            licence=f"{COLLECTION} AND CC-BY-SA-4.0 AND CC-BY-4.0 AND LicenseRef-CC-BY-NC",
            source_of=find_source,
            uses=USES,
            languages=("th", "en"),
            non_commercial=True,
            description=(
                "952 questions of 14 exams. The 200 rows of XNLI are non-commercial (field non_commercial), so the "
                "whole version is; thai-exam-without-xnli holds the other 752. Items of Belebele are CC BY-SA 4.0, "
                "of XCOPA CC BY 4.0; the field licence says it of each row."
            ),
        ),
        SharedDataset(
            slug="thai-exam-without-xnli",
            title="Thai exam questions without XNLI",
            kind="choices",
            rows=lambda: (row for row in read_questions(folder) if not row["non_commercial"]),
            licence=f"{COLLECTION} AND CC-BY-SA-4.0 AND CC-BY-4.0",
            source_of=find_source,
            uses=USES,
            languages=("th", "en"),
            description="The 752 questions of thai-exam that may be used commercially.",
        ),
    ]


def find_source(row: Row) -> str:
    subject = row["subject"]
    return SOURCES.get(subject, "onet-exams" if subject.startswith("onet") else "openthaigpt-exams")


def read_questions(folder: Path) -> Iterator[Row]:
    for row in read_json_lines(folder / "thai_exam_openthaigpt_eval.jsonl"):
        yield {
            "id": row["id"],
            "subject": row["subject"],
            "year": row["year"],
            "question": row["question"],
            "choices": row["choices"],
            "answer": row["answer_index"],
            "licence": LICENCES.get(row["subject"], COLLECTION),
            "non_commercial": row["subject"] == XNLI,
        }
