"""The unknown program: how a process that waited becomes it, runs it, and answers its value."""

# Runs alone in the image, forks without exec and starts no library it can spare: plain calls of the system throughout.
# ruff: noqa: PTH123, S108, S606, SIM105, SIM115
# mypy: allow-untyped-defs, allow-incomplete-defs, no-check-untyped-defs

import atexit
import io
import json
import linecache
import os
import random
import signal
import socket
import struct
import sys
import threading
import traceback
import types

from toolsandbox.code.inside.frames import PR_SET_DUMPABLE, libc, write_all

VALUE, CHANNEL = 3, 4
"""Descriptors beside the standard streams: where a value is answered, and where the call comes from."""


def become_program(stdin, stdout, stderr, value, channel):
    """Leave nothing of the first process in the child but its memory image."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    connect_streams(stdin, stdout, stderr)
    # All numbers of the first process are above these: 3 and 4 are its own wake-up pipe.
    os.dup2(value, VALUE, inheritable=False)
    os.dup2(channel, CHANNEL, inheritable=False)
    os.closerange(CHANNEL + 1, 1024)
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass
    os.chdir("/tmp")
    rehearse()
    random.seed()


def rehearse():
    """Run a small program into a buffer, so that the real one finds its pages copied and its paths walked."""
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    call = json.loads(json.dumps({"code": "print(1 + 1, file=said)\n"}))
    run_source(call["code"], {"said": said}, None)
    said.flush()
    linecache.cache.clear()


def connect_streams(stdin, stdout, stderr):
    for source, target in ((stdin, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)
        os.set_inheritable(target, True)
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=8192)
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1)
    vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)


def make_main():
    module = types.ModuleType("__main__")
    module.__builtins__ = __builtins__
    sys.modules["__main__"] = module
    sys.argv = ["program"]
    return module.__dict__


def run_source(code, variables, number):
    """Run a program and answer its exit code, with Python's own words for what went wrong."""
    name = "<program>" if number is None else f"<call {number}>"
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    try:
        exec(compile(code, name, "exec"), variables)  # noqa: S102
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return (leaving.code or 0) & 255
        print(leaving.code, file=sys.stderr)
        return 1
    except BaseException as error:
        inner = error.__traceback__.tb_next if error.__traceback__ else None
        try:
            traceback.print_exception(type(error), error, inner)
        except BaseException:
            sys.stderr.write(type(error).__name__ + "\n")
        return 1
    return 0


def flush_streams():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass


def leave(code):
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
    except BaseException:
        code = code or 1
    flush_streams()
    os._exit(code)


PLAIN = (bool, int, float, str, type(None))


def to_plain(value, depth=0):
    """Copy of a value made of JSON's own types; raises `TypeError` for anything else, subclasses included."""
    if depth > 50:
        raise TypeError("the value is nested deeper than 50")
    kind = type(value)
    if kind in PLAIN:
        if kind is float and (value != value or value in (float("inf"), float("-inf"))):
            raise TypeError("the value is not a finite number")
        if kind is int and value.bit_length() > 4096:
            raise TypeError("the value is an integer of more than 4096 bits")
        return value
    if kind in (list, tuple):
        return [to_plain(item, depth + 1) for item in value]
    if kind is dict:
        if any(type(key) is not str for key in value):
            raise TypeError("a key of the dictionary is not a string")
        return {key: to_plain(item, depth + 1) for key, item in value.items()}
    raise TypeError(f"the value is a {kind.__name__}, not plain JSON")


def answer_value(code, expression, variables):
    """Run the program, then evaluate one expression and send its value as plain JSON on descriptor 3."""
    ended = run_source(code, variables, None)
    if ended:
        return ended
    ended = run_source(f"__answer__ = (\n{expression}\n)", variables, None)
    if ended:
        return ended
    try:
        text = json.dumps({"value": to_plain(variables["__answer__"])}, allow_nan=False)
    except BaseException as refused:
        text = json.dumps({"refused": f"{refused}"[:500]})
    write_all(VALUE, text.encode("utf-8", "backslashreplace"))
    return 0


def run_bash(code):
    script = os.memfd_create("script", 0)
    write_all(script, code.encode("utf-8", "surrogateescape"))
    os.execv("/bin/bash", ["bash", f"/proc/self/fd/{script}"])


def run_pytest(code):
    with open("/tmp/test_program.py", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(code)
    options = ["-q", "-p", "no:cacheprovider", "--color=no", "--noconftest", "-c", "/dev/null", "--rootdir=/tmp"]
    os.execv(sys.executable, [sys.executable, "-s", "-B", "-m", "pytest", *options, "/tmp/test_program.py"])


def receive(channel):
    """Wait for a call; answers it with the streams that came along. The process ends with its channel."""
    head, descriptors, _, _ = socket.recv_fds(channel, 4, 3)
    length = int.from_bytes(head, "big")
    body = b""
    while len(head) == 4 and len(body) < length:
        piece = channel.recv(min(1 << 20, length - len(body)))
        if not piece:
            break
        body += piece
    if not body:
        os._exit(0)
    return json.loads(body), descriptors


def wait_and_run():
    """Wait for the first call on the channel and run it; never returns."""
    channel = socket.socket(fileno=CHANNEL)
    variables = make_main()
    sys.path.insert(0, "/tmp")
    call, _ = receive(channel)
    if call["stateful"]:
        serve_session(channel, variables, call)
    channel.close()
    if call["kind"] == "bash":
        run_bash(call["code"])
    if call["kind"] == "pytest":
        run_pytest(call["code"])
    if call["kind"] == "value":
        leave(answer_value(call["code"], call["expression"], variables))
    leave(run_source(call["code"], variables, None))


def serve_session(channel, variables, call):
    """Call after call with the same variables; they die with this process."""
    os.close(VALUE)
    while True:
        ended = run_source(call["code"], variables, call["number"])
        flush_streams()
        nothing = os.open("/dev/null", os.O_RDWR)
        for target in (0, 1, 2):
            os.dup2(nothing, target)
        os.close(nothing)
        channel.send(struct.pack(">B", ended))
        call, descriptors = receive(channel)
        connect_streams(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
