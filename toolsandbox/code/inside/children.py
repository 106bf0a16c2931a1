"""Processes that the first process of tier A forks: one that waits for the next call, and the session's."""

# Runs alone in the image; plain calls of the system throughout.
# mypy: allow-untyped-defs, allow-incomplete-defs, no-check-untyped-defs

import json
import os
import signal
import socket
import struct

from toolsandbox.code.inside.program import become_program, wait_and_run


class Pipes:
    """Our ends of a call's pipes, and the child's until it has them."""

    def __init__(self):
        in_r, self.stdin = os.pipe()
        self.stdout, out_w = os.pipe()
        self.stderr, err_w = os.pipe()
        self.value, value_w = os.pipe()
        self.theirs = in_r, out_w, err_w, value_w

    def close_theirs(self):
        for descriptor in self.theirs:
            os.close(descriptor)

    def close(self):
        for descriptor in (self.stdin, self.stdout, self.stderr, self.value):
            os.close(descriptor)


class Child:
    """A process with its pipes that waits for one call: forked before the call comes, so that nobody waits for it."""

    def __init__(self):
        self.pipes = Pipes()
        self.channel, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                become_program(*self.pipes.theirs, theirs.detach())
                # Only its number was closed with all others: nothing may close what has that number now.
                self.channel.detach()
                wait_and_run()
            finally:
                os._exit(127)
        theirs.close()
        self.pipes.close_theirs()

    def give(self, body):
        send_call(self.channel, body, [])

    def discard(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.channel.close()
        self.pipes.close()


def send_call(channel, body, descriptors):
    """A call that cannot be sent is one whose child has died, which is noticed elsewhere."""
    try:
        socket.send_fds(channel, [struct.pack(">I", len(body))], descriptors)
        channel.sendall(body)
    except OSError:
        pass


class Session:
    """The process that keeps the variables between calls, if there is one: the child that had the first call."""

    def __init__(self):
        self.pid = None
        self.channel = None
        self.number = 0

    def adopt(self, child):
        self.pid, self.channel = child.pid, child.channel

    def give(self, body, wall_s):
        """Hand over a call and answer our ends of its pipes."""
        pipes = Pipes()
        self.channel.settimeout(wall_s)
        send_call(self.channel, body, pipes.theirs[:3])
        self.channel.setblocking(False)
        pipes.close_theirs()
        return pipes

    def number_call(self, call):
        self.number += 1
        return json.dumps({**call, "number": self.number}).encode()

    def forget(self):
        if self.channel is not None:
            self.channel.close()
        self.pid = self.channel = None
