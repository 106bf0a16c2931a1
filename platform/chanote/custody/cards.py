"""Model cards in English and Thai, written from the same facts."""

import re
from typing import Any

from django.template.loader import render_to_string

THAI = {
    "train": "ฝึก",
    "distil": "กลั่นความรู้",
    "evaluate": "ประเมินผล",
    "publish": "เผยแพร่",
    "started from": "ฝึกต่อจาก",
    "learned from": "เรียนรู้จาก",
    "is the same as": "ไฟล์เดียวกับ",
    "No further training": "ห้ามนำไปฝึกต่อ",
    "No distilling from it": "ห้ามกลั่นความรู้จากแบบจำลองนี้",
    "No evaluation": "ห้ามประเมินผล",
    "Not to be published": "ห้ามเผยแพร่",
    "Non-commercial": "ห้ามใช้เชิงพาณิชย์",
    "Withdrawn source": "แหล่งข้อมูลถูกถอนความยินยอม",
}
"""Words of the platform's own lists; one that is not here stays as it is."""
ONE_LICENCE = re.compile(r"[A-Za-z0-9.+-]+\Z")


def write_cards(facts: dict[str, Any], *, made: str) -> dict[str, str]:
    """File name → Markdown."""
    licence = facts["model"]["licence"]
    plain = ONE_LICENCE.match(licence) and not licence.startswith("LicenseRef-")
    context = {**facts, "made": made, "licence_id": licence.lower() if plain else ""}
    thai = {
        **context,
        "data": [
            {**one, "uses_th": say(one["uses"]), "sources": [{**s, "uses_th": say(s["uses"])} for s in one["sources"]]}
            for one in facts["data"]
        ],
        "models": [{**one, "role_th": THAI.get(one["role"], one["role"])} for one in facts["models"]],
        "restrictions": [{**one, "words_th": THAI.get(one["words"], one["words"])} for one in facts["restrictions"]],
    }
    return {
        "README.md": render_to_string("custody/card.en.md", context),
        "README.th.md": render_to_string("custody/card.th.md", thai),
    }


def say(uses: list[str]) -> list[str]:
    return [THAI.get(use, use) for use in uses]
