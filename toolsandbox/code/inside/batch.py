"""First process of a tier B container: a fork server for short pure functions, each in fresh namespaces of its own.

Per call two processes are forked. The keeper makes new user, process, mount, network, IPC and host name namespaces,
an empty temporary folder and an empty /proc, and holds the wall clock. Its child is process 1 in there: it drops
what the new namespace granted, puts on a filter of system calls that knows neither fork nor sockets nor mounts,
and runs the function. When it dies, by itself or killed by the keeper, nothing of the call is left.

In: J job (JSON). Out: R ready, D answer (JSON, with the job's number). An answer is what the function claims; the
service takes no other word from it.
"""

# Runs alone in the image, beside the text of agent.py; plain calls of the system throughout.
# ruff: noqa: S108, SIM105, SIM115
# mypy: allow-untyped-defs, allow-incomplete-defs, no-check-untyped-defs

import ctypes
import json
import os
import random
import resource
import select
import signal
import struct
import sys
import time

from toolsandbox.code.inside.frames import PR_SET_DUMPABLE, import_early, libc, shield, write_frame
from toolsandbox.code.inside.program import make_main, to_plain

FRESH = 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
"""CLONE_NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""

ENDED, FAILED, OUT_OF_TIME, OUT_OF_CPU, SIGNALLED, NOT_MADE = range(6)

X86_64 = 0xC000003E
ALLOWED = [
    *range(17),  # read to ioctl
    *(17, 19, 20, 21, 23, 24, 25, 26, 27, 28, 32, 33, 35, 39, 60, 63, 72, 74, 75, 77, 78, 79, 82, 83, 84, 87, 89),
    *(96, 97, 98, 99, 100, 102, 104, 107, 108, 110, 131, 186, 201, 202, 204, 217, 219, 228, 229, 230, 231, 234),
    *(257, 258, 262, 263, 267, 269, 270, 271, 273, 302, 318, 332, 334, 439),
]
"""System calls of x86_64 that one process needs to compute and to load modules: none that makes another process."""
CLONE3 = 435


def build_filter():
    """The filter as machine instructions: wrong architecture kills, unnamed calls answer EPERM, clone3 ENOSYS."""
    load, jump_equal, answer = 0x20, 0x15, 0x06
    allow, refuse, kill = 0x7FFF0000, 0x00050000, 0x80000000
    steps = [(load, 0, 0, 4), (jump_equal, 1, 0, X86_64), (answer, 0, 0, kill), (load, 0, 0, 0)]
    for number in ALLOWED:
        steps += [(jump_equal, 0, 1, number), (answer, 0, 0, allow)]
    steps += [(jump_equal, 0, 1, CLONE3), (answer, 0, 0, refuse | 38), (answer, 0, 0, refuse | 1)]
    return b"".join(struct.pack("HBBI", *step) for step in steps), len(steps)


FILTER, FILTER_STEPS = build_filter()
FILTER_BUFFER = ctypes.create_string_buffer(FILTER, len(FILTER))
FILTER_HEAD = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", FILTER_STEPS, ctypes.addressof(FILTER_BUFFER)), 16)


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
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    must(libc.unshare(FRESH))
    write_text("/proc/self/setgroups", "deny")
    write_text("/proc/self/uid_map", f"{user} {user} 1")
    write_text("/proc/self/gid_map", f"{group} {group} 1")
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    locked = 1 << 1 | 1 << 2 | 1 << 3  # nosuid, nodev, noexec
    must(libc.mount(b"none", b"/tmp", b"tmpfs", locked, f"size={disk_bytes},nr_inodes=256,mode=1777".encode()))


def hide_processes():
    """The container's /proc would show the neighbours: cover it."""
    must(libc.mount(b"none", b"/proc", b"tmpfs", 1 | 2 | 4 | 8, b"size=4096,nr_inodes=2,mode=555"))


def drop_everything(job):
    capabilities = struct.pack("II", 0x20080522, 0), struct.pack("IIIIII", 0, 0, 0, 0, 0, 0)
    for number in range(64):
        if libc.prctl(24, number, 0, 0, 0) != 0:
            break
    must(libc.capset(*capabilities))
    room = job["memory_bytes"]
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    seconds = max(1, int(job["cpu_s"] + 0.999))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    must(libc.prctl(22, 2, FILTER_HEAD, 0, 0))


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
    data = memoryview(text.encode("utf-8", "backslashreplace"))
    while data:
        data = data[os.write(answer, data) :]
    os._exit(ended)


def start_function(job, answer):
    """In the new process namespace: process 1, the only one."""
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    silence(answer)
    random.seed()
    os.chdir("/tmp")
    hide_processes()
    drop_everything(job)
    run_function(job, 3)


def silence(keep):
    nothing = os.open("/dev/null", os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(nothing, target)
    if keep != 3:
        os.dup2(keep, 3)
    os.closerange(4, 1024)
    # The streams of the first process may hold text of their own.
    sys.stdin, sys.stdout, sys.stderr = (open(target, mode, closefd=False) for target, mode in enumerate("rww"))


def keep_call(job, answer):
    """Make the namespaces, run the function in them, hold its clock. Answers how it ended as exit code."""
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
            os._exit(99)
        os._exit(98)
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
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        used_up = spent.ru_utime + spent.ru_stime >= job["cpu_s"] * 0.95
        return OUT_OF_CPU if os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGXCPU) and used_up else SIGNALLED
    code = os.WEXITSTATUS(status)
    return NOT_MADE if code >= 98 else FAILED if code else ENDED


class Work:
    """One call under way."""

    def __init__(self, job):
        self.number = job["number"]
        self.room = job["value_bytes"]
        self.value = b""
        self.began = time.monotonic()
        self.source, target = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            ended = NOT_MADE
            try:
                signal.set_wakeup_fd(-1)
                for descriptor in (*open_answers, self.source):
                    os.close(descriptor)
                ended = keep_call(job, target)
            finally:
                os._exit(ended)
        os.close(target)
        os.set_blocking(self.source, False)
        open_answers.add(self.source)

    def read(self):
        """Take what came; false at the end."""
        try:
            piece = os.read(self.source, 1 << 16)
        except BlockingIOError:
            return True
        self.value = (self.value + piece)[: self.room + 1]
        return bool(piece) and len(self.value) <= self.room

    def close(self):
        if self.source >= 0:
            open_answers.discard(self.source)
            os.close(self.source)
            self.source = -1


open_answers: set[int] = set()


def main():
    shield()
    wake_r, wake_w = os.pipe()
    os.set_blocking(wake_r, False)
    os.set_blocking(wake_w, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
    import_early()
    workers = int(sys.argv[1])
    os.set_blocking(0, False)
    write_frame(b"R", b"1")
    waiting, running, buffer = [], {}, b""
    while True:
        while waiting and len(running) < workers:
            work = Work(waiting.pop(0))
            running[work.pid] = work
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(wake_r, select.POLLIN)
        for work in running.values():
            if work.source >= 0:
                poll.register(work.source, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll()}
        for work in running.values():
            if work.source in ready and not work.read():
                work.close()
        if wake_r in ready:
            try:
                os.read(wake_r, 4096)
            except BlockingIOError:
                pass
            while True:
                try:
                    pid, status = os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    break
                if pid == 0:
                    break
                if work := running.pop(pid, None):
                    while work.source >= 0 and select.select([work.source], [], [], 0)[0]:
                        if not work.read():
                            work.close()
                    work.close()
                    ended = os.waitstatus_to_exitcode(status)
                    told = {
                        "number": work.number,
                        "ended": ended if ended >= 0 else NOT_MADE,
                        "wall_ms": (time.monotonic() - work.began) * 1e3,
                        "too_long": len(work.value) > work.room,
                    }
                    head = json.dumps(told).encode()
                    write_frame(b"D", struct.pack(">I", len(head)) + head + work.value[: work.room])
        if 0 in ready:
            piece = os.read(0, 1 << 20)
            if not piece:
                os._exit(0)
            buffer += piece
            while len(buffer) >= 5 and len(buffer) - 5 >= (length := int.from_bytes(buffer[1:5], "big")):
                waiting.append(json.loads(buffer[5 : 5 + length]))
                buffer = buffer[5 + length :]


if __name__ == "__main__":
    main()
