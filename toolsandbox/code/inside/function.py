"""One call of tier B: a keeper makes fresh namespaces, its child drops everything and runs the function in them.

The keeper makes new user, process, mount, network, IPC and host name namespaces, an empty temporary folder and an
empty /proc, and holds the wall clock. Its child is process 1 in there: it drops what the new namespace granted, puts
on a filter of system calls that knows neither sockets nor mounts nor programs, and runs the function. When it dies, by
itself or killed by the keeper, nothing of the call is left.
"""

# Runs alone in the image; plain calls of the system throughout.
# ruff: noqa: S108, SIM115
# mypy: allow-untyped-defs, allow-incomplete-defs, no-check-untyped-defs

import ctypes
import json
import os
import random
import resource
import signal
import struct
import sys
import time

from toolsandbox.code.inside.frames import PR_SET_DUMPABLE, libc, write_all
from toolsandbox.code.inside.program import make_main, to_plain

FRESH = 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
"""CLONE_NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""
NEW_NAMESPACES = 0x7E020080
"""Every flag of clone that makes a namespace."""

ENDED, FAILED, OUT_OF_TIME, KILLED, SIGNALLED, NOT_MADE = range(6)
MADE = b"!"
"""Comes before the function does: without it an exit code is ours, and with it the function's, whatever it says."""

X86_64 = 0xC000003E
COMPUTE = [
    *range(17),  # read to ioctl
    *(17, 19, 20, 21, 23, 24, 25, 26, 27, 28, 32, 33, 35, 39, 60, 63, 72, 74, 75, 77, 78, 79, 82, 83, 84, 87, 89),
    *(96, 97, 98, 99, 100, 102, 104, 107, 108, 110, 131, 186, 201, 202, 204, 217, 219, 228, 229, 230, 231, 234),
    *(257, 258, 262, 263, 267, 269, 270, 271, 273, 302, 318, 332, 334, 439),
]
"""System calls of x86_64 that one process needs to compute and to load modules: none that makes another process."""
MULTIPLY = [22, 57, 58, 61, 203, 247, 293]
"""pipe, fork, vfork, wait4, sched_setaffinity, waitid, pipe2: only where a cgroup of the call counts its processes."""
CLONE, CLONE3 = 56, 435


def build_filter(allowed, *, with_clone):
    """The filter as machine instructions: wrong architecture kills, unnamed calls answer EPERM, clone3 ENOSYS."""
    load, jump_equal, jump_any, answer = 0x20, 0x15, 0x45, 0x06
    allow, refuse, kill = 0x7FFF0000, 0x00050000, 0x80000000
    steps = [(load, 0, 0, 4), (jump_equal, 1, 0, X86_64), (answer, 0, 0, kill), (load, 0, 0, 0)]
    for number in allowed:
        steps += [(jump_equal, 0, 1, number), (answer, 0, 0, allow)]
    if with_clone:
        # The flags are the first argument; its lower half lies 16 bytes into what the filter sees.
        steps += [(jump_equal, 0, 4, CLONE), (load, 0, 0, 16), (jump_any, 1, 0, NEW_NAMESPACES)]
        steps += [(answer, 0, 0, allow), (answer, 0, 0, refuse | 1)]
    steps += [(jump_equal, 0, 1, CLONE3), (answer, 0, 0, refuse | 38), (answer, 0, 0, refuse | 1)]
    return b"".join(struct.pack("HBBI", *step) for step in steps), len(steps)


class Filter:
    """A filter in the form that the kernel takes. The buffers must live as long as it is used."""

    def __init__(self, allowed, *, with_clone):
        steps, count = build_filter(allowed, with_clone=with_clone)
        self.buffer = ctypes.create_string_buffer(steps, len(steps))
        self.head = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", count, ctypes.addressof(self.buffer)), 16)


ALONE = Filter(COMPUTE, with_clone=False)
COUNTED = Filter([*COMPUTE, *MULTIPLY], with_clone=True)


def write_text(path, text):
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def must(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def enter_namespaces(disk_bytes):
    user, group = os.getuid(), os.getgid()
    # The files of a process that is not dumpable are root's.
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    must(libc.unshare(FRESH))
    write_text("/proc/self/setgroups", "deny")
    write_text("/proc/self/uid_map", f"{user} {user} 1")
    write_text("/proc/self/gid_map", f"{group} {group} 1")
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    locked = 1 << 1 | 1 << 2 | 1 << 3  # nosuid, nodev, noexec
    must(libc.mount(b"none", b"/tmp", b"tmpfs", locked, f"size={disk_bytes},nr_inodes=256,mode=1777".encode()))


def be_first_to_die():
    """Where memory runs out the kernel takes this process before its keeper, and it does not outlive its keeper."""
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    write_text("/proc/self/oom_score_adj", "1000")
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    must(libc.prctl(1, signal.SIGKILL, 0, 0, 0))


def hide_processes():
    """The container's /proc would show the neighbours, and /sys its cgroups: cover them."""
    for folder in (b"/proc", b"/sys"):
        must(libc.mount(b"none", folder, b"tmpfs", 1 | 2 | 4 | 8, b"size=4096,nr_inodes=2,mode=555"))


def drop_everything(job):
    capabilities = struct.pack("II", 0x20080522, 0), struct.pack("IIIIII", 0, 0, 0, 0, 0, 0)
    for number in range(64):
        if libc.prctl(24, number, 0, 0, 0) != 0:
            break
    must(libc.capset(*capabilities))
    if not job["counted"]:
        room = job["memory_bytes"]
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
    seconds = max(1, int(job["cpu_s"] + 0.999))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    must(libc.prctl(22, 2, (COUNTED if job["counted"] else ALONE).head, 0, 0))


def run_function(job, answer):
    """Send the function's value, or the words of its error, on the descriptor `answer`."""
    told = {}
    try:
        variables = make_main()
        exec(compile(job["source"], "<function>", "exec"), variables)  # noqa: S102
        told = {"value": to_plain(variables[job["function"]](*job["arguments"]))}
        text = json.dumps(told, allow_nan=False)
        ended = 0
    except MemoryError:
        text, ended = '{"error": "MemoryError", "oom": true}', 1
    except BaseException as error:
        try:
            words = f"{type(error).__name__}: {error}"[:500]
        except BaseException:
            words = type(error).__name__
        text, ended = json.dumps({"error": words}), 1
    if os.getpid() != 1:
        # A process that the function forked and that came back out of it has no answer of its own.
        os._exit(0)
    write_all(answer, text.encode("utf-8", "backslashreplace"))
    os._exit(ended)


def start_function(job, answer):
    """In the new process namespace: process 1, from which all others of the call descend."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    silence(answer)
    be_first_to_die()
    random.seed()
    os.chdir("/tmp")
    hide_processes()
    drop_everything(job)
    os.write(3, MADE)
    run_function(job, 3)


def silence(keep):
    """Keep one descriptor, as 3, beside standard streams that lead nowhere."""
    nothing = os.open("/dev/null", os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(nothing, target)
    if keep != 3:
        os.dup2(keep, 3)
    os.closerange(4, 1024)
    # The streams of the first process may hold text of their own.
    sys.stdin, sys.stdout, sys.stderr = (open(target, mode, closefd=False) for target, mode in enumerate("rww"))


def keep_call(job, answer):
    """Make the namespaces, run the function in them, hold its clock. Answers how it ended."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    deadline = time.monotonic() + job["wall_s"]
    try:
        enter_namespaces(job["disk_bytes"])
        pid = os.fork()
    except OSError as failed:
        os.write(answer, json.dumps({"error": f"namespaces: {failed.strerror}"}).encode())
        return NOT_MADE
    if pid == 0:
        try:
            start_function(job, answer)
        except BaseException as failed:
            os.write(3, json.dumps({"error": f"the sandbox was not made: {failed}"}).encode())
        os._exit(1)
    os.close(answer)
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return OUT_OF_TIME
        signal.sigtimedwait({signal.SIGCHLD}, left)
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
    if os.WIFSIGNALED(status):
        # A process 1 cannot kill itself: this signal is the kernel's, for CPU time or for memory.
        return KILLED if os.WTERMSIG(status) == signal.SIGKILL else SIGNALLED
    return FAILED if os.WEXITSTATUS(status) else ENDED
