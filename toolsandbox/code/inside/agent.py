"""First process of a tier A container: waits for calls on its standard input, gives each to a child, frames the reply.

The child runs unknown code under the same user, so this process must not be reachable from it: it is not dumpable
(no ptrace, no /proc/1/fd), ignores interrupts, shares no descriptor with the child, and the kernel shields process 1
of a namespace from signals of its own namespace. After each call every other process is killed.

Frames in: C call (JSON), I its standard input, P put (JSON) and F the file's bytes, G get (JSON). Out: R ready,
O stdout, E stderr, V value, D done (JSON), F piece of a file.
"""

# Runs alone in the image, forks without exec and starts no library it can spare: plain calls of the system throughout.
# ruff: noqa: PTH123, PTH208, SIM105
# mypy: allow-untyped-defs, allow-incomplete-defs, no-check-untyped-defs

import json
import os
import select
import signal
import time

from toolsandbox.code.inside.children import Child, Session
from toolsandbox.code.inside.counters import Counters, disk_is_full
from toolsandbox.code.inside.files import get_file, put_file
from toolsandbox.code.inside.frames import (
    PIECE,
    import_early,
    read_frame,
    read_if_any,
    reap_ended,
    shield,
    watch_children,
    write_frame,
)

LOOK_EVERY_S = 0.05
"""How often a running call's CPU time is read."""


def list_others(keep):
    """Living processes beside this one and the session's; the dead wait for their parent and do no harm."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (1, keep):
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    dead = file.read().rpartition(b")")[2].split()[0] == b"Z"
            except OSError:
                continue
            if not dead:
                found.append(int(name))
    return found


def kill_all(keep, deadline):
    """Kill every process but this one (and the session's) until none is left. Answers the session's if it lives."""
    attempts = 0
    while True:
        attempts += 1
        if keep is None or attempts > 40:
            # One call for all: a program that forks faster than they can be listed is ended with its session.
            kill(-1)
            keep = None
        else:
            for pid in list_others(keep):
                kill(pid)
        left = False
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                left = True
                break
            if pid == keep:
                keep = None
        if keep is None and not left:
            return None
        if keep is not None and not list_others(keep):
            return keep
        if time.monotonic() > deadline:
            os._exit(70)
        time.sleep(0.002)


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class RunningCall:
    """One call under way: passes its streams on, holds its clocks, and ends when it ends or passes a limit."""

    def __init__(self, agent, call, began, pid, pipes, *, stateful):
        self.agent, self.call, self.began, self.pid, self.stateful = agent, call, began, pid, stateful
        self.stdin = pipes.stdin
        self.names = {pipes.stdout: b"O", pipes.stderr: b"E", pipes.value: b"V"}
        self.counts = {b"O": 0, b"E": 0, b"V": 0}
        self.room, self.value_room = call["output_bytes"], call["value_bytes"]
        self.status = self.exit_code = self.cause = None
        for descriptor in (pipes.stdin, *self.names):
            os.set_blocking(descriptor, False)

    def watch(self, stdin_data, cpu_before):
        agent, call = self.agent, self.call
        poll = self.poll = select.poll()
        for descriptor in self.names:
            poll.register(descriptor, select.POLLIN)
        # Without events a closed connection is told all the same: nobody waits for the answer then.
        poll.register(0, 0)
        poll.register(agent.wake_r, select.POLLIN)
        channel = agent.session.channel.fileno() if self.stateful else -1
        if channel >= 0:
            poll.register(channel, select.POLLIN)
        self.waiting = memoryview(stdin_data)
        if self.waiting:
            poll.register(self.stdin, select.POLLOUT)
        else:
            self.close_stdin()
        wall_end = self.began + call["wall_s"]
        next_look = self.began + LOOK_EVERY_S
        while self.status is None and self.exit_code is None and self.cause is None:
            now = time.monotonic()
            if now >= next_look:
                next_look = now + LOOK_EVERY_S
                if agent.counters.read_cpu_s() - cpu_before > call["cpu_s"]:
                    self.cause = "cpu"
                    return
            if now >= wall_end:
                self.cause = "wall"
                return
            for descriptor, _ in poll.poll(max(1.0, (min(wall_end, next_look) - now) * 1000)):
                if descriptor == 0:
                    os._exit(0)
                if descriptor == agent.wake_r:
                    self.note_ended()
                elif descriptor == self.stdin:
                    self.feed()
                elif descriptor == channel:
                    self.note_answered(channel)
                elif descriptor in self.names:
                    self.pass_on(descriptor)

    def note_ended(self):
        read_if_any(self.agent.wake_r)
        for pid, status in reap_ended():
            if pid == self.pid:
                self.status = status
            elif pid == self.agent.session.pid:
                self.agent.session.forget()

    def note_answered(self, channel):
        """The session's process tells its exit code and lives on; its end tells nothing."""
        try:
            told = self.agent.session.channel.recv(1) if self.agent.session.channel else b""
        except OSError:
            told = b""
        if told:
            self.exit_code = told[0]
        else:
            self.poll.unregister(channel)

    def feed(self):
        """Write what fits of the standard input, and close it once nothing more can be written."""
        try:
            self.waiting = self.waiting[os.write(self.stdin, self.waiting[:PIECE]) :]
        except BlockingIOError:
            return
        except OSError:
            self.waiting = self.waiting[:0]
        if not self.waiting:
            self.poll.unregister(self.stdin)
            self.close_stdin()

    def close_stdin(self):
        os.close(self.stdin)
        self.stdin = -1

    def pass_on(self, descriptor):
        """Send a piece of output on as far as there is room; true where there may be more."""
        piece = read_if_any(descriptor)
        if piece is None:
            return False
        if not piece:
            self.poll.unregister(descriptor)
            os.close(descriptor)
            del self.names[descriptor]
            return False
        kind = self.names[descriptor]
        self.counts[kind] += len(piece)
        if kind == b"V":
            self.value_room -= len(piece)
            if self.value_room >= 0:
                write_frame(b"V", piece)
            else:
                self.cause = "output"
        else:
            if self.room > 0:
                write_frame(kind, piece[: self.room])
            self.room -= len(piece)
            if self.room < 0:
                self.cause = "output"
        return self.cause is None

    def finish(self):
        """Kill what is left of the call and pass on what it still said. A session's process lives if it answered."""
        session = self.agent.session
        ended_well = self.cause is None and (self.exit_code is not None or not self.stateful)
        kept = kill_all(session.pid if ended_well else None, time.monotonic() + 5)
        if session.pid is not None and kept is None:
            session.forget()
        for descriptor in list(self.names):
            while self.cause is None and descriptor in self.names and self.pass_on(descriptor):
                pass
        for descriptor in self.names:
            os.close(descriptor)
        if self.stdin >= 0:
            self.close_stdin()


class Agent:
    def __init__(self, wake_r):
        self.wake_r = wake_r
        self.counters = Counters()
        self.session = Session()
        self.spare = None
        """The child for the next call. There is none beside a session's process, whose threads might meddle with it."""

    def prepare(self):
        if self.spare is None and self.session.pid is None:
            self.spare = Child()

    def run_call(self, call, payload, stdin_data):
        stateful = call["kind"] == "python" and call["stateful"]
        oom_before, forks_before, cpu_before = self.counters.read()
        began = time.monotonic()
        had_session = self.session.pid is not None
        body = self.session.number_call(call) if stateful else payload
        if stateful and had_session:
            pid, pipes = self.session.pid, self.session.give(body, call["wall_s"])
        else:
            child, self.spare = self.spare or Child(), None
            pid, pipes = child.pid, child.pipes
            child.give(body)
            if stateful:
                child.channel.setblocking(False)
                self.session.adopt(child)
            else:
                child.channel.close()
        running = RunningCall(self, call, began, pid, pipes, stateful=stateful)
        running.watch(stdin_data, cpu_before)
        full = disk_is_full()
        running.finish()
        oom_after, forks_after, cpu_after = self.counters.read()
        signalled = running.status is not None and os.WIFSIGNALED(running.status)
        done = {
            "cause": running.cause,
            "exit_code": running.exit_code,
            "signal": None,
            "wall_ms": (time.monotonic() - began) * 1e3,
            "cpu_ms": (cpu_after - cpu_before) * 1e3,
            "oom_kills": oom_after - oom_before,
            "refused_forks": forks_after - forks_before,
            "disk_full": full,
            "stdout_bytes": running.counts[b"O"],
            "stderr_bytes": running.counts[b"E"],
            "session_reset": (stateful or had_session) and self.session.pid is None,
        }
        if running.cause is None and signalled:
            done["signal"] = os.WTERMSIG(running.status)
        elif running.cause is None and running.status is not None:
            done["exit_code"] = os.WEXITSTATUS(running.status)
        write_frame(b"D", json.dumps(done).encode())

    def serve(self):
        while True:
            kind, payload = read_frame()
            if kind == b"C":
                call = json.loads(payload)
                self.run_call(call, payload, read_frame()[1] if call["has_stdin"] else b"")
                if not call["last"]:
                    self.prepare()
            elif kind == b"P":
                put_file(json.loads(payload))
            elif kind == b"G":
                get_file(json.loads(payload))
            else:
                os._exit(71)


def main():
    shield()
    agent = Agent(watch_children())
    import_early()
    agent.prepare()
    write_frame(b"R", b"1")
    agent.serve()


if __name__ == "__main__":
    main()
