"""Which fields of a config name dataset versions and endpoints."""

from typing import Any

from pydantic import BaseModel


def version_fields(config_class: type[BaseModel]) -> list[str]:
    return _marked(config_class, "version")


def endpoint_fields(config_class: type[BaseModel]) -> list[str]:
    return _marked(config_class, "endpoint")


def _marked(config_class: type[BaseModel], mark: str) -> list[str]:
    fields: dict[str, Any] = config_class.model_fields
    return [name for name, field in fields.items() if mark in field.metadata]
