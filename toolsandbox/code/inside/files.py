"""Files of a session, in and out below /tmp, past whatever links and pipes a program may have laid there."""

# Runs alone in the image; plain calls of the system throughout.
# ruff: noqa: S108, SIM105
# mypy: allow-untyped-defs, allow-incomplete-defs, no-check-untyped-defs

import errno
import json
import os
import stat

from toolsandbox.code.inside.frames import PIECE, read_frame, write_all, write_frame


def open_inside(path, flags):
    """Open a file below /tmp, one component at a time and through no link: a program may have laid some."""
    folder = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY)
    parts = path.split("/")
    try:
        for part in parts[:-1]:
            if flags & os.O_CREAT:
                try:
                    os.mkdir(part, 0o755, dir_fd=folder)
                except FileExistsError:
                    pass
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        descriptor = os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file")
    return descriptor


def put_file(request):
    """Write the pieces that follow. All of them are read, whatever the first failure: the next frame is a request."""
    left = request["bytes"]
    failure = None
    descriptor = None
    try:
        descriptor = open_inside(request["path"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    except OSError as refused:
        failure = refused
    while left:
        _, piece = read_frame()
        left -= len(piece)
        if failure is None:
            try:
                write_all(descriptor, piece)
            except OSError as refused:
                failure = refused
    if descriptor is not None:
        os.close(descriptor)
    answer_file(failure)


def answer_file(failure):
    told = {"error": None} if failure is None else {"error": failure.strerror, "errno": failure.errno}
    write_frame(b"D", json.dumps(told).encode())


def get_file(request):
    try:
        descriptor = open_inside(request["path"], os.O_RDONLY)
    except OSError as refused:
        answer_file(refused)
        return
    left = request["most_bytes"]
    failure = None
    try:
        if os.fstat(descriptor).st_size > left:
            failure = OSError(errno.EFBIG, "File too large")
        while failure is None and (piece := os.read(descriptor, PIECE)):
            left -= len(piece)
            if left < 0:
                failure = OSError(errno.EFBIG, "File too large")
            else:
                write_frame(b"F", piece)
    except OSError as refused:
        failure = refused
    os.close(descriptor)
    answer_file(failure)
