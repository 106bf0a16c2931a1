"""Thai prompts of OpenAssistant: with the answers of people, and apart from them with the answers of models."""

from collections.abc import Iterator
from pathlib import Path

from chanote.datasets.shared.base import OPEN, Row, SharedDataset, read_json_lines

MODELS = ("gpt35turbo", "wangchang_sft_en", "wangchang_sft_enth", "openthaigpt010")


def load(folder: Path) -> list[SharedDataset]:
    return [
        SharedDataset(
            slug="oasst1-th",
            title="OpenAssistant, Thai",
            kind="prompts",
            rows=lambda: read_prompts(folder, ()),
            licence="Apache-2.0",
            source="oasst1",
            uses=OPEN,
            languages=("th",),
            description="Thai prompts with the answers of people, from OpenAssistant.",
        ),
        SharedDataset(
            slug="oasst1-th-model-answers",
            title="OpenAssistant, Thai, with answers of models",
            kind="prompts",
            rows=lambda: read_prompts(folder, MODELS),
            licence="Apache-2.0 AND LicenseRef-OpenAI-output",
            source="wangchanglm-answers",
            uses=("evaluate",),
            languages=("th",),
            description=(
                "The prompts of oasst1-th with what four models answered. Evaluation only: the answers of "
                "gpt-3.5-turbo are outputs of OpenAI, on which no model may be trained."
            ),
        ),
    ]


def read_prompts(folder: Path, models: tuple[str, ...]) -> Iterator[Row]:
    for row in read_json_lines(folder / "oasst1_th_prompts_answers.jsonl"):
        yield {
            "id": row["message_id"],
            "question": row["prompt"],
            "answer": row["human_answer"],
            "language": "th",
            **{model: row[model] for model in models},
        }
