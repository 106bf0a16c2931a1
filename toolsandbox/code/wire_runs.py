"""Programs with files, and cells of a notebook, each in one container that is destroyed afterwards."""

import base64
import time
from dataclasses import dataclass, field, replace

from pydantic import BaseModel, ValidationError

from toolsandbox.code.answers import read_told
from toolsandbox.code.calls import CallRefused, find_refusal, run_call
from toolsandbox.code.container import Call, Container
from toolsandbox.code.files import check_path, get_stream, in_pieces, put_stream
from toolsandbox.code.settings import CodeSettings
from toolsandbox.code.wire import CellRunResult
from toolsandbox.code.workshop import Workshop
from toolsandbox.contract import CodeAnswer

MOST_FETCHED_BYTES = 16 << 20
"""Of all the files of one reply together, and of all that its cells print and show."""
SHOWN = ".shown.json"
"""Where a cell leaves what it shows: the program may write there too, and then shows what it wrote."""

DRIVER = r"""
import ast, base64, builtins, json, linecache, os, traceback

def describe(value):
    bundle = {"text/plain": repr(value)}
    for method, kind in (("_repr_html_", "text/html"), ("_repr_svg_", "image/svg+xml"),
                         ("_repr_png_", "image/png"), ("_repr_markdown_", "text/markdown")):
        found = getattr(type(value), method, None)
        shown = found(value) if callable(found) else None
        if isinstance(shown, bytes):
            shown = base64.b64encode(shown).decode()
        if isinstance(shown, str):
            bundle[kind] = shown
    return bundle

def tell(error):
    try:
        words = str(error)
    except BaseException:
        words = ""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in ("<cells>", ast.__file__):
        trace = trace.tb_next
    try:
        lines = "".join(traceback.format_exception(type(error), error, trace)).splitlines()
    except BaseException:
        lines = [type(error).__name__]
    return {"ename": type(error).__name__, "evalue": words, "traceback": lines}

shown, errors, place = [], [], f"<cell {number}>"
builtins.display = lambda *values: shown.extend(map(describe, values))
try:
    os.unlink(path)
except OSError:
    pass
try:
    linecache.cache[place] = (len(source), None, source.splitlines(True), place)
    tree, last = ast.parse(source, place), None
    if tree.body and isinstance(tree.body[-1], ast.Expr) and not source.rstrip().endswith(";"):
        last = ast.Expression(tree.body.pop().value)
    exec(compile(tree, place, "exec"), variables)
    if last is not None:
        value = eval(compile(last, place, "eval"), variables)
        if value is not None:
            variables["_"] = value
            shown.append(describe(value))
except BaseException as error:
    errors.append(tell(error))
with open(path, "w") as file:
    json.dump({"display": shown, "error": errors}, file)
"""


class _Shown(BaseModel):
    display: list[dict[str, object]] = []
    error: list[dict[str, object]] = []


@dataclass
class Notebook:
    """How a notebook ended: `answer` is of the cell that ended it, or of the last one."""

    answer: CodeAnswer
    cells: list[CellRunResult] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    message: str = ""
    seconds: float = 0.0
    queue_ms: float = 0.0


def read_files(settings: CodeSettings, files: dict[str, str | None], fetch: list[str]) -> dict[str, bytes]:
    """Contents by path, decoded. Raises `CallRefused` for a path or content that cannot be."""
    for path in fetch:
        check_path(path)
    contents = {}
    for path, encoded in files.items():
        check_path(path)
        if encoded is None:
            continue
        try:
            contents[path] = base64.b64decode(encoded, validate=True)
        except ValueError:
            raise CallRefused(f"file {path}: not base64") from None
    size = sum(map(len, contents.values()))
    if size > settings.disk_bytes:
        raise CallRefused(f"files: {size} bytes, at most {settings.disk_bytes}")
    return contents


async def run_with_files(
    workshop: Workshop,
    call: Call,
    *,
    tenant: str,
    files: dict[str, bytes],
    fetch: list[str],
    patience_s: float,
) -> tuple[CodeAnswer, dict[str, str], str]:
    """The answer, the fetched files in base64, and what could not be fetched.

    Raises `PoolFull`, `SandboxFailed`, and `CallRefused` for files that do not fit.
    """
    if refusal := find_refusal(workshop.settings, call):
        raise CallRefused(refusal)
    asked = time.monotonic()
    container = await workshop.pool.take(tenant, patience_s=patience_s)
    queue_ms = round((time.monotonic() - asked) * 1e3, 3)
    try:
        await _put_all(container, files, longest_s=patience_s)
        answer = await run_call(container, call, workshop.stamp)
        fetched, message = await _fetch_all(container, fetch)
    finally:
        workshop.discard(container)
    return answer.model_copy(update={"queue_ms": queue_ms}), fetched, message


async def run_cells(
    workshop: Workshop,
    cells: list[str],
    *,
    tenant: str,
    cell_s: float | None,
    total_s: float,
    files: dict[str, bytes],
    fetch: list[str],
    patience_s: float,
) -> Notebook:
    """Run cells one after another in one interpreter; what a cell raises stops that cell only.

    Raises `PoolFull`, `SandboxFailed` and `CallRefused`, as `run_with_files` does.
    """
    limits = workshop.choose_limits(wall_s=total_s)
    calls = [
        Call("python", write_cell(source, number), limits, stateful=True) for number, source in enumerate(cells, 1)
    ]
    if refusal := next((found for call in calls if (found := find_refusal(workshop.settings, call))), None):
        raise CallRefused(refusal)
    asked = time.monotonic()
    container = await workshop.pool.take(tenant, patience_s=patience_s)
    began = time.monotonic()
    notebook = Notebook(workshop.stamp.answer("ok", exit_code=0), queue_ms=round((began - asked) * 1e3, 3))
    room = MOST_FETCHED_BYTES
    try:
        await _put_all(container, files, longest_s=patience_s)
        for call in calls:
            left_s = began + total_s - time.monotonic()
            if left_s <= 0:
                notebook.answer = workshop.stamp.answer("timeout", limit="wall")
                break
            wall_s = min(left_s, cell_s or left_s)
            timed = replace(call, limits=limits.model_copy(update={"wall_s": wall_s}))
            notebook.answer = await run_call(container, timed, workshop.stamp)
            if notebook.answer.status == "infra_error":
                break
            cell, size = await _read_cell(container, notebook.answer, most_bytes=room)
            notebook.cells.append(cell)
            room -= size
            if room < 0:
                notebook.answer = workshop.stamp.answer("output_limit")
            if notebook.answer.status != "ok" or notebook.answer.session_reset:
                break
        notebook.files, notebook.message = await _fetch_all(container, fetch)
    finally:
        workshop.discard(container)
    notebook.seconds = time.monotonic() - began
    return notebook


def write_cell(source: str, number: int) -> str:
    """The program that runs one cell among the session's variables, and leaves no name of its own there."""
    scope = f"'source': {source!r}, 'number': {number}, 'path': '/tmp/{SHOWN}', 'variables': globals()"
    return f"exec(compile({DRIVER!r}, '<cells>', 'exec'), {{{scope}}})"


async def _read_cell(container: Container, answer: CodeAnswer, *, most_bytes: int) -> tuple[CellRunResult, int]:
    """The cell, and how many bytes it printed and shows."""
    shown, size = _Shown(), answer.stdout_bytes + answer.stderr_bytes
    if container.alive and answer.status == "ok":
        try:
            raw = b"".join([piece async for piece in get_stream(container, SHOWN, most_bytes=most_bytes)])
            size += len(raw)
            shown = _Shown.model_validate(read_told(raw) or {})
        except (CallRefused, ValidationError):
            shown = _Shown()
    cell = CellRunResult(stdout=answer.stdout, stderr=answer.stderr, display=shown.display, error=shown.error)
    return cell, size


async def _put_all(container: Container, files: dict[str, bytes], *, longest_s: float) -> None:
    for path, content in files.items():
        await put_stream(container, path, len(content), in_pieces(content), longest_s=longest_s)


async def _fetch_all(container: Container, paths: list[str]) -> tuple[dict[str, str], str]:
    """Files in base64 by path, and why the others are not there; one that does not exist is left out quietly."""
    fetched, faults, room = {}, [], MOST_FETCHED_BYTES
    for path in paths:
        if not container.alive:
            break
        try:
            content = b"".join([piece async for piece in get_stream(container, path, most_bytes=room)])
        except CallRefused as refused:
            if not str(refused).endswith("No such file or directory"):
                faults.append(str(refused))
            continue
        room -= len(content)
        fetched[path] = base64.b64encode(content).decode()
    return fetched, "; ".join(faults)
