"""Written functions, run in the tool sandbox and nowhere else.

Requests are small enough for one batch of the service, each in a container of its own. Answers are kept under the hash
of the request, so that a restart runs nothing twice.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from chanote.building.replies import Reply, ReplyStore, hash_request
from chanote.errands.work import WorkRefused
from chanote.tools.client import ServiceFailed, ask
from chanote.tools.endpoints import Endpoint
from toolsandbox.contract import (
    TrialReply,
    TrialRequest,
    Verifier,
    VerifierCall,
    VerifierVerdict,
    VerifyReply,
    VerifyRequest,
    WrittenFunction,
)

FUNCTIONS_AT_ONCE, CALLS_AT_ONCE = 8, 400
BYTES_AT_ONCE = 4 << 20
"""Of all arguments of one request."""
ATTEMPTS, FIRST_WAIT, LONGEST_WAIT = 8, 0.5, 20.0
"""For a sandbox that is full or failed; seconds, doubling."""
REQUEST_SECONDS = 300.0
Call = tuple[str, list[Any]]
"""Name of a function, and its arguments."""
Answer = TypeVar("Answer", TrialReply, VerifyReply)


class FunctionSandbox:
    def __init__(
        self, service: Endpoint, kept: Path, *, leave_if_asked: Callable[[], None] = lambda: None, seconds: float = 2.0
    ) -> None:
        self.service, self.leave_if_asked, self.seconds = service, leave_if_asked, seconds
        self._store = ReplyStore(kept / "answers.sqlite3")

    def __enter__(self) -> "FunctionSandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def try_functions(self, functions: Sequence[WrittenFunction], calls: Sequence[Call]) -> list[VerifierVerdict]:
        """What functions answer that nobody vouches for, one verdict for each call, in order."""
        verdicts: dict[int, VerifierVerdict] = {}
        for chunk in _split(functions, calls):
            names = {calls[place][0] for place in chunk}
            request = TrialRequest(
                functions=[function for function in functions if function.name in names],
                calls=[VerifierCall(verifier=calls[place][0], arguments=calls[place][1]) for place in chunk],
                timeout_s=self.seconds,
            )
            reply = self._ask("/v1/functions", request.model_dump(mode="json"), TrialReply)
            verdicts.update(zip(chunk, reply.verdicts, strict=True))
        return [verdicts[place] for place in range(len(calls))]

    def verify(self, verifiers: Sequence[Verifier], calls: Sequence[Call]) -> list[VerifierVerdict]:
        """Verdicts of functions that first told their known good from their known bad, in order."""
        verdicts: dict[int, VerifierVerdict] = {}
        for chunk in _split(verifiers, calls):
            names = {calls[place][0] for place in chunk}
            request = VerifyRequest(
                verifiers=[verifier for verifier in verifiers if verifier.name in names],
                calls=[VerifierCall(verifier=calls[place][0], arguments=calls[place][1]) for place in chunk],
                timeout_s=self.seconds,
            )
            reply = self._ask("/v1/verifiers", request.model_dump(mode="json"), VerifyReply)
            verdicts.update(zip(chunk, reply.verdicts, strict=True))
        return [verdicts[place] for place in range(len(calls))]

    def _ask(self, path: str, body: dict[str, Any], answer: type[Answer]) -> Answer:
        """Raises WorkRefused where the sandbox fails again and again; what it answered before is kept."""
        hash = hash_request({"path": path, "body": body})
        if (kept := self._store.find(hash)) is not None:
            return answer.model_validate_json(kept.text)
        said = ""
        for attempt in range(ATTEMPTS):
            self.leave_if_asked()
            if attempt:
                self._rest(min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)))
            try:
                reply = ask(self.service, path, body, seconds=REQUEST_SECONDS)
            except ServiceFailed as failed:
                if failed.status == 401:
                    raise WorkRefused(str(failed)) from failed
                said = str(failed)
                continue
            if reply.status == 200:
                found = answer.model_validate(reply.body)
                if found.status == "ok":
                    self._store.keep(hash, {"path": path}, Reply(text=json.dumps(reply.body, ensure_ascii=False)))
                    return found
                said = next((one.detail for one in found.verdicts if one.status == "infra_error"), "the sandbox failed")
            elif reply.status in (429, 503, 504):
                said = reply.refusal
            else:
                raise WorkRefused(f"The tool service refuses to run functions (status {reply.status}): {reply.refusal}")
        raise WorkRefused(f"The tool sandbox cannot run functions: {said.rstrip('.')}. Look at it and resume.")

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(0.2, left))
            self.leave_if_asked()


def _split(functions: Sequence[WrittenFunction], calls: Sequence[Call]) -> list[list[int]]:
    """Places of calls that go into one request each: few functions, few calls, few bytes."""
    order = {function.name: place for place, function in enumerate(functions)}
    chunks: list[list[int]] = []
    names: set[str] = set()
    size = 0
    for place in sorted(range(len(calls)), key=lambda place: order[calls[place][0]]):
        name, arguments = calls[place]
        length = len(json.dumps(arguments, ensure_ascii=False).encode("utf-8", "replace"))
        full = bool(chunks) and (
            len(chunks[-1]) >= CALLS_AT_ONCE
            or (name not in names and len(names) >= FUNCTIONS_AT_ONCE)
            or size + length > BYTES_AT_ONCE
        )
        if not chunks or full:
            chunks.append([])
            names, size = set(), 0
        chunks[-1].append(place)
        names.add(name)
        size += length
    return chunks
