"""First process of a tier B container: a fork server for short pure functions, some workers at a time.

A worker takes one job after another and forks a keeper for each, which runs the function in namespaces of its own
(`function.py`). The workers are there from the start, so that the service can put each into a new cgroup before every
job: what the worker forks is then in that cgroup too.

Frames in: J job (one byte for the worker, JSON). Out: R ready (JSON with the workers' processes), D done (one byte for
the worker, 4 bytes of length, JSON, and what the function claims). The service takes no other word from a function.
"""

# Runs alone in the image; plain calls of the system throughout.
# mypy: allow-untyped-defs, allow-incomplete-defs, no-check-untyped-defs

import gc
import json
import os
import select
import socket
import struct
import sys
import time

from toolsandbox.code.inside.counters import Counter
from toolsandbox.code.inside.frames import import_early, read_frame, shield, write_frame
from toolsandbox.code.inside.function import KILLED, MADE, NOT_MADE, OUT_OF_TIME, keep_call


class Worker:
    def __init__(self, others):
        self.channel, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for other in (*others, self):
                    other.channel.close()
                nothing = os.open("/dev/null", os.O_RDWR)
                for target in (0, 1):
                    os.dup2(nothing, target)
                serve_jobs(theirs)
            finally:
                os._exit(71)
        theirs.close()

    def give(self, job):
        self.channel.sendall(struct.pack(">I", len(job)) + job)

    def read_answer(self):
        return receive(self.channel)


def receive(channel):
    """One message with its length of 4 bytes before it; the process ends with the other side."""
    data = b""
    wanted = 4
    while len(data) < wanted:
        piece = channel.recv(1 << 20)
        if not piece:
            os._exit(72)
        data += piece
        if len(data) >= 4:
            wanted = 4 + int.from_bytes(data[:4], "big")
    return data[4:]


def serve_jobs(channel):
    """In a worker: one job after another, each in a keeper of its own."""
    oom_kills = Counter(("memory/memory.oom_control", "oom_kill"), ("memory.events", "oom_kill"))
    gc.freeze()
    while True:
        job = json.loads(receive(channel))
        kills_before = oom_kills.read()
        began = time.monotonic()
        value, ended = run_job(job)
        told = {
            "ended": ended,
            "wall_ms": (time.monotonic() - began) * 1e3,
            "too_long": len(value) > job["value_bytes"],
            "container_oom_kills": oom_kills.read() - kills_before,
        }
        head = json.dumps(told).encode()
        body = struct.pack(">I", len(head)) + head + value[: job["value_bytes"]]
        channel.sendall(struct.pack(">I", len(body)) + body)


def run_job(job):
    """What the function claims, one byte past its room at most, and how it ended."""
    room = len(MADE) + job["value_bytes"]
    source, target = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        ended = NOT_MADE
        try:
            os.close(source)
            ended = keep_call(job, target)
        finally:
            os._exit(ended)
    os.close(target)
    value = b""
    while len(value) <= room and (piece := os.read(source, 1 << 16)):
        value = (value + piece)[: room + 1]
    # One that writes on finds nobody reading, and ends.
    os.close(source)
    ended = os.waitstatus_to_exitcode(os.waitpid(keeper, 0)[1])
    if value.startswith(MADE):
        return value[len(MADE) :], ended if ended >= 0 else NOT_MADE
    # Only what ended it from outside is told of one that was never begun.
    return value, ended if ended in (OUT_OF_TIME, KILLED) else NOT_MADE


def main():
    shield()
    import_early()
    workers = []
    for _ in range(int(sys.argv[1])):
        workers.append(Worker(workers))
    write_frame(b"R", json.dumps({"workers": [worker.pid for worker in workers]}).encode())
    poll = select.poll()
    poll.register(0, select.POLLIN)
    slots = {worker.channel.fileno(): slot for slot, worker in enumerate(workers)}
    for descriptor in slots:
        poll.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == 0:
                kind, payload = read_frame()
                if kind != b"J":
                    os._exit(71)
                workers[payload[0]].give(payload[1:])
            else:
                slot = slots[descriptor]
                write_frame(b"D", bytes([slot]) + workers[slot].read_answer())


if __name__ == "__main__":
    main()
