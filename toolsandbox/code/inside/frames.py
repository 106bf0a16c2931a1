"""What the first processes of both tiers share: frames on the standard streams, and a closed door to this process.

A frame is one letter, a length of 4 bytes (big-endian), and the payload. Runs in the image, where nothing of this
package is installed: `toolsandbox.code.programs` sends the text of each part along.
"""

# Runs alone in the image and starts no library it can spare: plain calls of the system throughout.
# mypy: allow-untyped-defs, allow-incomplete-defs, no-check-untyped-defs

import ctypes
import gc
import importlib
import os
import signal
import struct

PR_SET_DUMPABLE = 4
PIECE = 1 << 16
libc = ctypes.CDLL(None, use_errno=True)


def read_exactly(count):
    """Bytes of standard input; the process ends with its input."""
    piece = os.read(0, min(count, 1 << 20)) if count else b""
    if len(piece) == count:
        return piece
    pieces = []
    while True:
        if not piece:
            os._exit(0)
        pieces.append(piece)
        count -= len(piece)
        if not count:
            return b"".join(pieces)
        piece = os.read(0, min(count, 1 << 20))


def read_frame():
    kind, length = struct.unpack(">cI", read_exactly(5))
    return kind, read_exactly(length)


def write_frame(kind, payload):
    write_all(1, struct.pack(">cI", kind, len(payload)) + payload)


def write_all(descriptor, data):
    data = memoryview(data)
    while data:
        data = data[os.write(descriptor, data) :]


def read_if_any(descriptor):
    """What lies in a descriptor that does not block; None where nothing does, and nothing at its end."""
    try:
        return os.read(descriptor, PIECE)
    except BlockingIOError:
        return None


def shield():
    """Close this process to what it will start: no trace, no /proc/1/fd, no interrupt."""
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def watch_children():
    """A descriptor that is readable once a child ended."""
    wake_r, wake_w = os.pipe()
    os.set_blocking(wake_r, False)
    os.set_blocking(wake_w, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
    return wake_r


def reap_ended():
    """The children that ended and how, as pairs of process and wait status."""
    ended = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.append((pid, status))


EARLY = """
array bisect collections dataclasses datetime decimal fractions functools heapq itertools math re statistics string
textwrap typing
"""


def import_early():
    """What most programs import: loaded once, before the call, and shared by every child."""
    for name in EARLY.split():
        importlib.import_module(name)

    # Children that never collect these objects never copy the pages they lie on.
    gc.collect()
    gc.freeze()
