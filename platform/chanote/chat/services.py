"""Every write about served checkpoints."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from chanote.audit.services import record
from chanote.chat.models import SILENT_S, ServedModel
from chanote.chat.serving import Servable


@transaction.atomic
def announce(
    servable: Servable, *, address: str, token_file: Path, engine: str, context: int, actor: Any
) -> ServedModel:
    """Tell the installation of a server that answers. Those that fell silent long ago are forgotten."""
    ServedModel.objects.filter(seen__lt=timezone.now() - timedelta(seconds=30 * SILENT_S)).delete()
    served = ServedModel.objects.create(
        project=servable.project,
        name=servable.name,
        checkpoint=servable.checkpoint,
        model=servable.model,
        address=address,
        token_file=str(token_file),
        engine=engine,
        context=context,
        created_by=actor,
    )
    record("model.served", served, actor=actor, address=address, engine=engine, directory=str(servable.directory))
    return served


def show_alive(served: ServedModel) -> None:
    ServedModel.objects.filter(pk=served.pk).update(seen=timezone.now())


@transaction.atomic
def withdraw(served: ServedModel, *, actor: Any) -> None:
    record("model.withdrawn", served, actor=actor, address=served.address)
    served.delete()
