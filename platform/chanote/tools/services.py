"""Every write about toolsets."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from pydantic import ValidationError as ContractError

from chanote.accounts.models import Project
from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.datasets.models import DatasetVersion
from chanote.datasets.selectors import find_version
from chanote.tools.corpora import CorpusFacts, CorpusRefused, check_corpus_rights, measure_corpus
from chanote.tools.endpoints import check_address, list_endpoints
from chanote.tools.health import CODE_TOOLS, LAW_TOOLS
from chanote.tools.models import Toolset, ToolsetRevision
from chanote.web.problems import Problem, list_pydantic_problems
from trainer.contract.toolsets import ToolLimits

TOOL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MOST_TOOLS = 64


class ToolsetRefused(Exception):
    """The revision was not saved; `problems` says why, by field."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(" ".join(map(str, problems)))
        self.problems = list(problems)


def save_toolset(
    *,
    project: Project,
    slug: str,
    tools: Sequence[str],
    author: Any,
    title: str = "",
    corpus: str = "",
    limits: dict[str, Any] | None = None,
    image_digest: str = "",
    address: str = "",
    message: str = "",
) -> ToolsetRevision:
    """Store the next revision, making the toolset when it is new. `corpus` names a dataset version.

    What equals the newest revision makes none: that one comes back with `is_new` False. The service need not be there;
    a launch asks it. Raises ToolsetRefused, and PermissionDenied for who may not.
    """
    require(author, "tools.change", project)
    tools = list(dict.fromkeys(tools))
    problems = [*_check_tools(tools), *_check_rest(image_digest, address, message)]
    version, facts, more = _read_corpus(project, corpus, tools)
    checked, wrong = _read_limits(limits or {})
    problems += [*more, *wrong]
    with transaction.atomic():
        # The lock gives concurrent saves their numbers one after the other.
        Project.objects.select_for_update().get(pk=project.pk)
        toolset = Toolset.objects.filter(project=project, slug=slug).first()
        is_new_toolset = toolset is None
        toolset = toolset or Toolset(project=project, slug=slug, created_by=author)
        before, toolset.title = toolset.title, title or toolset.title
        problems += _check_names(toolset)
        if problems:
            raise ToolsetRefused(problems)
        content = {
            "tools": tools,
            "corpus_sha256": facts.sha256 if facts else "",
            "limits": checked.model_dump(mode="json"),
            "image_digest": image_digest,
            "address": address,
        }
        sha256 = _hash({**content, "corpus": version.reference if version else ""})
        newest = None if is_new_toolset else toolset.revisions.select_related("corpus__dataset").first()
        is_same = newest is not None and newest.sha256 == sha256
        if toolset.title != before or not is_same:
            toolset.save()
        if is_new_toolset:
            record("toolset.created", toolset, actor=author)
        elif toolset.title != before:
            record("toolset.described", toolset, actor=author, title=toolset.title)
        if newest is not None and is_same:
            return newest
        revision = ToolsetRevision.objects.create(
            toolset=toolset,
            number=(newest.number if newest else 0) + 1,
            corpus=version,
            corpus_sections=facts.sections if facts else 0,
            sha256=sha256,
            message=message,
            created_by=author,
            **content,
        )
        record("toolset.revised", revision, actor=author, number=revision.number, sha256=sha256)
    revision.is_new = True
    return revision


def _hash(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _check_tools(tools: list[str]) -> list[Problem]:
    if not tools:
        return [Problem("tools", "Choose at least one tool.")]
    if len(tools) > MOST_TOOLS:
        return [Problem("tools", f"{len(tools)} tools are too many; at most {MOST_TOOLS}.")]
    return [
        Problem("tools", f"{name[:80]!r} is no name of a tool; write letters, digits and _.")
        for name in tools
        if not TOOL_NAME.fullmatch(name)
    ]


def _check_rest(image_digest: str, address: str, message: str) -> list[Problem]:
    problems = []
    if image_digest and not DIGEST.fullmatch(image_digest):
        problems.append(
            Problem("image_digest", "is no digest; write sha256: and 64 hexadecimal digits, as the service tells it.")
        )
    if address:
        known = [one.address for one in list_endpoints()]
        wrong = check_address(address)
        if wrong:
            problems.append(Problem("address", f"{wrong}."))
        elif address not in known:
            listed = f"choose one of {', '.join(known)}" if known else "none is set up"
            problems.append(
                Problem("address", f"{address} is no service of this installation; {listed} (CHANOTE_SANDBOX_URL).")
            )
    if len(message) > 300:
        problems.append(Problem("message", f"is {len(message)} characters long; at most 300 are kept."))
    return problems


def _read_corpus(
    project: Project, corpus: str, tools: list[str]
) -> tuple[DatasetVersion | None, CorpusFacts | None, list[Problem]]:
    wanted = [name for name in tools if name in LAW_TOOLS]
    if not corpus:
        if wanted:
            return None, None, [Problem("corpus", f"{' and '.join(wanted)} read a corpus; choose one.")]
        return None, None, []
    if tools and set(tools) <= set(CODE_TOOLS):
        return None, None, [Problem("corpus", "none of the tools reads a corpus; leave it out or add search_law.")]
    try:
        version = find_version(project, corpus)
        return version, measure_corpus(version), check_corpus_rights(version)
    except DatasetVersion.DoesNotExist as error:
        return None, None, [Problem("corpus", f"{str(error).rstrip('.')}; choose a text dataset of the project.")]
    except CorpusRefused as refused:
        return None, None, [refused.problem]


def _read_limits(limits: dict[str, Any]) -> tuple[ToolLimits, list[Problem]]:
    try:
        return ToolLimits.model_validate(limits), []
    except ContractError as error:
        return ToolLimits(), [
            Problem(one.field or "limits", f"{one.message[:1].lower()}{one.message[1:]}.")
            for one in list_pydantic_problems(error)
        ]


def _check_names(toolset: Toolset) -> list[Problem]:
    try:
        toolset.full_clean(validate_constraints=False)
    except ValidationError as error:
        return [Problem(name, text) for name, texts in error.message_dict.items() for text in texts]
    return []
