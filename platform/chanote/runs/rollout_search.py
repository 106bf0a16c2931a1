"""Finding rollouts by what was said in them, in any language: words are not cut apart, so Thai is found as it stands.

Texts are folded once when they are stored. Of every text the database keeps the trigrams: SQLite in an FTS5 table that
triggers fill, PostgreSQL in a column of hashes under a GIN index, which needs no extension and does not depend on the
locale. The trigrams give candidates; whether the words stand in their text decides.
"""

import unicodedata
import zlib
from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import Exists, F, Model, OuterRef, Q, QuerySet, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import StrIndex

from chanote.runs.models import RolloutPrompt, RolloutText, Run

SEARCHED = 40_000
"""Characters of a text that are searched; what follows is not."""
GRAM = 3
MOST_GRAMS = 10
"""Trigrams of the words that are looked up; each narrows the candidates, the first few most."""
FEW = 1_000
"""Texts that are looked at one by one at once; where more may match, they are looked at as the list needs them."""


def fold(text: str) -> str:
    """The same for spellings that people take for the same: case, width, composed and decomposed signs."""
    text = text[:SEARCHED].replace("\0", " ").encode("utf-8", "replace").decode()
    return unicodedata.normalize("NFKC", text).casefold()


def list_grams(text: str) -> list[str]:
    """Its different trigrams, in order."""
    return list(dict.fromkeys(text[start : start + GRAM] for start in range(len(text) - GRAM + 1)))


def hash_grams(grams: Sequence[str]) -> list[int]:
    """As 32-bit numbers with sign."""
    return [(zlib.crc32(gram.encode()) ^ 0x80000000) - 0x80000000 for gram in grams]


def add_texts(model: type[Model], rows: Sequence[Any]) -> None:
    """Store rows with a `body`, with the trigrams where the database does not find them by itself."""
    if connection.vendor != "postgresql":
        model._default_manager.bulk_create(rows)
        return
    fields = [field for field in model._meta.concrete_fields if not (field.primary_key and row_has_no_key(rows))]
    columns = ", ".join([f'"{field.column}"' for field in fields] + ["grams"])
    places = ", ".join(["%s"] * (len(fields) + 1))
    with connection.cursor() as cursor:
        cursor.executemany(
            f'INSERT INTO "{model._meta.db_table}" ({columns}) VALUES ({places})',  # noqa: S608 - a model's own names
            [[*(getattr(row, field.attname) for field in fields), hash_grams(list_grams(row.body))] for row in rows],
        )


def row_has_no_key(rows: Sequence[Any]) -> bool:
    """The database numbers them."""
    return any(row.pk is None for row in rows)


def find_said(run: Run, words: str) -> Q:
    """Rollouts of the run in whose prompt, answer, reference or reason of being masked the words stand."""
    needle = fold(words)
    prompts = _find_saying(RolloutPrompt.objects.filter(run=run), needle)
    wanted = Q(prompt__in=prompts.values("pk"))
    if (found := _look_up(RolloutPrompt, needle)) is not None:
        wanted = Q(prompt__in=list(prompts.filter(pk__in=found).values_list("pk", flat=True)))
    if (found := _look_up(RolloutText, needle)) is not None:
        said = _find_saying(RolloutText.objects.filter(pk__in=found), needle)
        return wanted | Q(pk__in=list(said.values_list("pk", flat=True)))
    said_here = Q(Exists(_find_saying(RolloutText.objects.filter(pk=OuterRef("pk")), needle)))
    if len(needle) < GRAM:
        return wanted | said_here
    sql, given = _query_candidates(RolloutText, needle)
    return wanted | (Q(pk__in=RawSQL(sql, given)) & said_here)  # noqa: S611 - values are given apart


def _find_saying(texts: QuerySet[Any], needle: str) -> QuerySet[Any]:
    return texts.alias(found=StrIndex(F("body"), Value(needle))).filter(found__gt=0)


def _look_up(model: type[Model], needle: str) -> list[int] | None:
    """Identities of the texts, of all runs, that may hold the words; None where they are more than a few."""
    if len(needle) < GRAM:
        return None
    sql, given = _query_candidates(model, needle)
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} LIMIT {FEW + 1}", given)
        found = [int(row[0]) for row in cursor.fetchall()]
    return None if len(found) > FEW else found


def _query_candidates(model: type[Model], needle: str) -> tuple[str, list[Any]]:
    """Identities of texts that have all looked-up trigrams of the words."""
    table, grams = model._meta.db_table, list_grams(needle)
    grams = grams[:: max(1, -(-len(grams) // MOST_GRAMS))]
    # Both names are a model's own.
    if connection.vendor == "postgresql":
        return f"SELECT {_key_column(model)} FROM {table} WHERE grams @> %s::integer[]", [hash_grams(grams)]  # noqa: S608
    match = " AND ".join('"' + gram.replace('"', '""') + '"' for gram in grams)
    return f"SELECT rowid FROM {table}_grams WHERE {table}_grams MATCH %s", [match]  # noqa: S608


def _key_column(model: type[Model]) -> str:
    assert model._meta.pk is not None
    return str(model._meta.pk.column)
