"""Loaders of a folder of public data, one file for each of its folders whose rows fit a kind.

Left out is `ifeval_real_paired_results` (scores of models, no rows to train on or ask): it fits no kind.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chanote.accounts.models import Project
from chanote.datasets.errors import refuse
from chanote.datasets.models import DatasetVersion
from chanote.datasets.services import import_dataset
from chanote.datasets.shared import (
    bavarian_xsid,
    german_law,
    gsm8k,
    iapp_wiki_qa_th,
    ifeval,
    mgsm,
    nitibench_tax,
    thai_exam_openthaigpt,
    thai_instruct_human,
    thai_law_sections,
    wangchanglm_th_pref,
)
from chanote.datasets.shared.base import SharedDataset, read_source
from chanote.datasets.shared.sources import SOURCES
from chanote.rights.models import Source
from chanote.rights.sources import create_source

__all__ = ["LOADERS", "load_shared_data"]

LOADERS: dict[str, Callable[[Path], list[SharedDataset]]] = {
    "thai_law_sections": thai_law_sections.load,
    "german_law": german_law.load,
    "nitibench_tax": nitibench_tax.load,
    "thai_exam_openthaigpt": thai_exam_openthaigpt.load,
    "gsm8k": gsm8k.load,
    "mgsm": mgsm.load,
    "iapp_wiki_qa_th": iapp_wiki_qa_th.load,
    "thai_instruct_human": thai_instruct_human.load,
    "wangchanglm_th_pref": wangchanglm_th_pref.load,
    "ifeval": ifeval.load,
    "bavarian_xsid": bavarian_xsid.load,
}
"""Folder → its datasets."""


def load_shared_data(project: Project, actor: Any, folder: Path) -> list[DatasetVersion]:
    """Import every known folder below `folder`; what the project already has unchanged stays as it is.

    Raises ImportRefused where none is known, and OSError where a file is missing.
    """
    found = [name for name in LOADERS if (folder / name).is_dir()]
    if not found:
        raise refuse("folder", f"{folder} holds none of the known folders: {', '.join(LOADERS)}.")
    return [
        _import_shared(project, actor, one, read_source(folder / name))
        for name in found
        for one in LOADERS[name](folder / name)
    ]


def _import_shared(project: Project, actor: Any, one: SharedDataset, origin: str) -> DatasetVersion:
    keys: dict[str, int] = {}

    def find_key(row: dict[str, Any]) -> int:
        name = one.find_source(row)
        if name not in keys:
            keys[name] = _find_or_make_source(project, name, origin, actor).pk
        return keys[name]

    with tempfile.TemporaryFile() as file:
        for row in one.rows():
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        file.seek(0)
        return import_dataset(
            project=project,
            slug=one.slug,
            title=one.title,
            kind=one.kind,
            file=file,
            format="jsonl",
            licence=one.licence,
            uses=one.uses,
            non_commercial=one.non_commercial,
            source=origin,
            source_of=find_key,
            languages=one.languages,
            description=one.description,
            reason="Imported from the folder of shared data.",
            actor=actor,
        )


def _find_or_make_source(project: Project, name: str, origin: str, actor: Any) -> Source:
    """A source that the project has under this name stays as it is: people may know more by now."""
    found = Source.objects.filter(project=project, slug=name).first()
    if found is not None and found.is_withdrawn:
        raise refuse("folder", f"The source {name} was withdrawn in this project, so its rows are not imported again.")
    return found or create_source(project=project, slug=name, origin=origin, actor=actor, **SOURCES[name])
