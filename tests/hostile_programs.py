"""Hostile programs, numbered as the rows of the list of hostile inputs, each with the one status it must end with."""

from dataclasses import dataclass

from tests.sandbox_engine import SHORT, USUAL
from toolsandbox.code.settings import CallLimits

ATTEMPT = """
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def attempt(action):
    try:
        action()
    except OSError as refused:
        print(errno.errorcode[refused.errno])
    else:
        print("reached")
def call(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    print("reached" if result != -1 else errno.errorcode[ctypes.get_errno()])
"""


@dataclass(frozen=True)
class Hostile:
    number: str
    """Row of the list of hostile inputs."""
    name: str
    source: str
    status: str
    says: str | None = None
    """The whole of its output, where the row says what it must see."""
    limits: CallLimits = USUAL


FILL = "data = b'x' * 65536\nwith open('/tmp/full', 'wb', 0) as file:\n    while True:\n        file.write(data)"
ENDLESS = [
    Hostile("1", "busy loop", "while 1: pass", "timeout", limits=SHORT),
    Hostile("2", "sleep for ever", "import time; time.sleep(10**9)", "timeout", limits=SHORT),
    Hostile(
        "3",
        "ignore every signal",
        "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nwhile 1: pass",
        "timeout",
        limits=SHORT,
    ),
    Hostile(
        "4",
        "fork bomb",
        "import os\nwhile 1:\n    try: os.fork()\n    except OSError: pass",
        "timeout",
        limits=SHORT,
    ),
    Hostile(
        "62", "regular expression that backtracks", "import re; re.match('(a+)+$', 'a'*64+'b')", "timeout", limits=SHORT
    ),
    Hostile("63", "a power too large", "9**9**9", "timeout", limits=SHORT),
    Hostile("1b", "CPU time before wall time", "while 1: pass", "timeout", limits=CallLimits(wall_s=30, cpu_s=0.5)),
]
GREEDY = [
    Hostile(
        "5",
        "500 forks",
        "import os, time\nfor _ in range(500):\n    if os.fork() == 0:\n        time.sleep(60)\n        os._exit(0)",
        "pids_limit",
    ),
    Hostile(
        "6",
        "5000 threads",
        "import threading\nstop = threading.Event()\n"
        "for _ in range(5000): threading.Thread(target=stop.wait, daemon=True).start()",
        "pids_limit",
    ),
    Hostile("8", "memory bomb", "x = bytearray(10**9)", "oom"),
    Hostile(
        "9",
        "memory bomb in a child",
        "import os\npid = os.fork()\nif pid == 0:\n    x = bytearray(10**9)\n    os._exit(0)\n"
        "print(os.WTERMSIG(os.waitpid(pid, 0)[1]))",
        "ok",
        "9\n",
    ),
    Hostile("10", "fill the disk", FILL, "disk_limit"),
    Hostile("11", "fill shared memory", ATTEMPT + "attempt(lambda: open('/dev/shm/x', 'w'))", "ok", "ENOENT\n"),
    Hostile(
        "12",
        "memory file",
        "import os\nfd = os.memfd_create('m')\nfor _ in range(1024): os.write(fd, bytes(2**20))",
        "oom",
    ),
    Hostile("13", "a million files", "for n in range(10**6): open(f'/tmp/{n}', 'w').close()", "disk_limit"),
    Hostile(
        "14",
        "open files for ever",
        "import errno, os\nfound = []\ntry:\n    while 1: found.append(os.open('/dev/null', 0))\n"
        "except OSError as e: print(errno.errorcode[e.errno], len(found) < 256)",
        "ok",
        "EMFILE True\n",
    ),
    Hostile("15", "flood of output", "while 1: print('x' * 1000)", "output_limit"),
    Hostile("16", "flood of errors", "import sys\nwhile 1: sys.stderr.write('x' * 1000)", "output_limit"),
    Hostile("17", "one line of 100 MB", "import os\nos.write(1, b'')\nprint('x' * (100 << 20))", "output_limit"),
]
REACHING = [
    Hostile(
        "19",
        "write to the root",
        ATTEMPT + "for p in ('/x', '/usr/x', '/etc/x'): attempt(lambda: open(p, 'w'))",
        "ok",
        "EROFS\nEROFS\nEROFS\n",
    ),
    Hostile("20", "append to passwd", ATTEMPT + "attempt(lambda: open('/etc/passwd', 'a'))", "ok", "EACCES\n"),
    Hostile(
        "21",
        "run a copied program",
        ATTEMPT + "import shutil, subprocess\nshutil.copy('/bin/true', '/tmp/t')\nos.chmod('/tmp/t', 0o755)\n"
        "attempt(lambda: subprocess.run(['/tmp/t']))",
        "ok",
        "EACCES\n",
    ),
    Hostile("22", "become root", ATTEMPT + "attempt(lambda: os.setuid(0))", "ok", "EPERM\n"),
    Hostile(
        "23",
        "capabilities",
        "for line in open('/proc/self/status'):\n"
        "    if line.startswith(('Cap', 'NoNewPrivs', 'Seccomp:')): print(line.split()[1].lstrip('0') or '0', end=' ')",
        "ok",
        "0 0 0 0 0 1 2 ",
    ),
    Hostile(
        "24",
        "engine's socket",
        "import glob; print(glob.glob('/var/run/*.sock') + glob.glob('/run/**', recursive=True)[1:])",
        "ok",
        "[]\n",
    ),
    Hostile(
        "25",
        "environment",
        "import os; print(sorted(set(os.environ) - {'PATH', 'HOME', 'LANG', 'HOSTNAME', 'LC_CTYPE'}))",
        "ok",
        "['OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'PYTHONDONTWRITEBYTECODE', 'PYTHONHASHSEED']\n",
    ),
    Hostile(
        "26",
        "writable mounts",
        "print([m.split()[1] for m in open('/proc/mounts') if m.split()[3].startswith('rw') and m.split()[2] in"
        " ('ext4', 'overlay', 'xfs', 'btrfs')])",
        "ok",
        "[]\n",
    ),
    Hostile(
        "27",
        "devices",
        "import os; print(sorted(set(os.listdir('/dev')) - {'null', 'zero', 'full', 'random', 'urandom', 'tty', 'ptmx',"
        " 'pts', 'fd', 'stdin', 'stdout', 'stderr', 'core', 'mqueue'}))",
        "ok",
        "[]\n",
    ),
    Hostile(
        "28",
        "make a block device",
        ATTEMPT + "attempt(lambda: os.mknod('/tmp/b', 0o060600, os.makedev(254, 0)))",
        "ok",
        "EPERM\n",
    ),
    Hostile(
        "29",
        "core pattern",
        "print(__import__('os').access('/proc/sys/kernel/core_pattern', 2))",
        "ok",
        "False\n",
    ),
    Hostile(
        "30",
        "kernel memory",
        "def can(p, m):\n    try: return bool(open(p, m).read(1)) or m == 'wb'\n"
        "    except (OSError, ValueError): return False\n"
        "print([p for p, m in (('/proc/sysrq-trigger', 'wb'), ('/proc/kcore', 'rb'), ('/dev/kmem', 'rb'),"
        " ('/dev/mem', 'rb'))"
        " if can(p, m)])",
        "ok",
        "[]\n",
    ),
    Hostile(
        "31",
        "cgroup files",
        "import glob, os; print([p for p in glob.glob('/sys/fs/cgroup/**', recursive=True) if os.access(p, os.W_OK)])",
        "ok",
        "[]\n",
    ),
    Hostile("32", "unshare", ATTEMPT + "call(272, 0x10000000)", "ok", "EPERM\n"),
    Hostile("33", "clone with a namespace flag", ATTEMPT + "call(56, 0x10000011, 0, 0, 0, 0)", "ok", "EPERM\n"),
    Hostile("34", "mount", ATTEMPT + "call(165, b'none', b'/tmp', b'tmpfs', 0, 0)", "ok", "EPERM\n"),
    Hostile(
        "35",
        "trace process 1",
        ATTEMPT
        + "call(101, 16, 1, 0, 0)\ncall(310, 1, 0, 0, 0, 0, 0)\nattempt(lambda: open('/proc/1/environ').read())",
        "ok",
        "EPERM\nEPERM\nEACCES\n",
    ),
    Hostile("36", "bpf", ATTEMPT + "call(321, 5, 0, 0)", "ok", "EPERM\n"),
    Hostile("37", "performance counters", ATTEMPT + "call(298, 0, 0, -1, -1, 0)", "ok", "EPERM\n"),
    Hostile("38", "userfaultfd", ATTEMPT + "call(323, 1)", "ok", "EPERM\n"),
    Hostile("39", "io_uring", ATTEMPT + "call(425, 4, ctypes.create_string_buffer(256))", "ok", "EPERM\n"),
    Hostile("40", "key ring", ATTEMPT + "call(250, 0, -3, 1)\ncall(248, 0, 0, 0, 0, -3)", "ok", "EPERM\nEPERM\n"),
    Hostile(
        "41",
        "kernel modules",
        ATTEMPT + "call(246, 0, 0, 0, 0)\ncall(175, 0, 0, 0)\ncall(313, 0, 0, 0)",
        "ok",
        "EPERM\n" * 3,
    ),
    Hostile("42", "open by handle", ATTEMPT + "call(304, 0, 0, 0)", "ok", "EPERM\n"),
    Hostile(
        "43",
        "other namespaces and roots",
        ATTEMPT + "call(308, 0, 0)\ncall(161, b'/tmp')\ncall(155, 0, 0)",
        "ok",
        "EPERM\n" * 3,
    ),
    Hostile(
        "44",
        "reboot, clock, swap",
        ATTEMPT + "call(169, 0, 0, 0)\ncall(164, 0, 0)\ncall(167, 0, 0)",
        "ok",
        "EPERM\n" * 3,
    ),
    Hostile("45", "personality", ATTEMPT + "call(135, 0x0040000)", "ok", "EPERM\n"),
    Hostile(
        "46",
        "network addresses",
        ATTEMPT + "for a in ('169.254.169.254', '10.0.0.1', '172.17.0.1', '192.0.2.1'):\n"
        "    attempt(lambda: socket.create_connection((a, 80), timeout=5))",
        "ok",
        "EPERM\n" * 4,
    ),
    Hostile(
        "47",
        "names",
        "import socket\ntry: socket.getaddrinfo('example.org', 80)\nexcept OSError: print('no name')",
        "ok",
        "no name\n",
    ),
    *(
        Hostile(
            row,
            f"socket family {family}",
            ATTEMPT + f"attempt(lambda: socket.socket({family}, {kind}))",
            "ok",
            "EPERM\n",
        )
        for row, family, kind in (("48", 17, 3), ("48b", 2, 3), ("49", 40, 1), ("50", 38, 5), ("51", 16, 3))
    ),
    Hostile(
        "52",
        "abstract sockets of the engine",
        "import socket\nprint([line for line in open('/proc/net/unix').read().splitlines()[1:] if '@' in line])",
        "ok",
        "[]\n",
    ),
    Hostile("53", "kernel log", ATTEMPT + "call(103, 2, 0, 0)", "ok", "EPERM\n"),
    Hostile(
        "54",
        "other processes",
        "import os; print(sorted(int(n) for n in os.listdir('/proc') if n.isdigit()) == [1, os.getpid()])",
        "ok",
        "True\n",
    ),
    Hostile(
        "55",
        "kill process 1",
        "import os, signal\nfor n in (2, 9, 15, 19): os.kill(1, n)\nprint('sent')",
        "ok",
        "sent\n",
    ),
    Hostile(
        "69",
        "priorities",
        ATTEMPT + "attempt(lambda: os.nice(-10))\ncall(151, 3)\ncall(144, 0, 1, 0)",
        "ok",
        "EPERM\n" * 3,
    ),
]
ODD = [
    Hostile(
        "7",
        "daemon that outlives its parent",
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(10**6)\n"
        "    os._exit(0)\nos.wait()\nprint('gone')",
        "ok",
        "gone\n",
    ),
    Hostile("18", "bytes that are no text", "import os; os.write(1, b'a\\x00\\xff\\x1b[31m\\xed\\xa0\\x80')", "ok"),
    Hostile("18b", "lone surrogate", "print('\\ud800')", "ok", "\\ud800\n"),
    Hostile("58", "close every descriptor", "import os\nos.closerange(0, 256)\nos._exit(3)", "error"),
    Hostile(
        "59",
        "endless recursion",
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
        "oom",
    ),
    Hostile("60", "segmentation fault", "import ctypes; ctypes.string_at(0)", "error"),
    Hostile("61", "abort", "import os; os.abort()", "error"),
    Hostile("64", "nesting", "exec('(' * 100000)", "error"),
    Hostile("75a", "empty program", "", "ok", ""),
    Hostile("75b", "NUL in the program", "print(1)\0", "error"),
    Hostile("75c", "lone surrogate in the program", "x = '\ud800'", "error"),
    Hostile("75d", "byte order mark and CRLF", "\ufeffx = 1\r\nprint(x)\r\n", "error"),
]


ALL = [*ENDLESS, *GREEDY, *REACHING, *ODD]

IN_BATCH: dict[str, tuple[set[str], str | None]] = {
    **{row: ({"error"}, None) for row in ("10", "12", "13", "21", "55")},
    # Where a function has a cgroup of its own it may have a few processes; else it may not fork at all.
    **{row: ({"error", "pids_limit"}, None) for row in ("5", "6")},
    "7": ({"error", "ok"}, "gone\n"),
    "9": ({"error", "ok"}, "9\n"),
    # Its standard streams lead nowhere, so a flood of what is caught ends by memory, and the other by the clock.
    **{row: ({"oom"}, None) for row in ("15", "17")},
    "16": ({"timeout", "oom"}, None),
    # There is no /proc to read.
    **{row: ({"error"}, None) for row in ("23", "26", "52")},
    "35": ({"ok"}, "EPERM\nEPERM\nENOENT\n"),
    "54": ({"ok"}, "False\n"),
    "18b": ({"error"}, None),
    # Whichever comes first on a busy machine: its address space, its stack, or its clock.
    "59": ({"oom", "error", "timeout"}, None),
}
"""Where a function of a batch ends otherwise than a program of tier A: the statuses, and what it then answers."""

NOT_IN_BATCH = {"18": "writes to its standard output, which a function of a batch has not"}

CATCHING = """
def attack(source):
    import io, sys
    said = sys.stdout = io.StringIO()
    exec(source, {"__name__": "__main__"})
    return said.getvalue()
"""
"""A function that runs a program and answers what it printed."""
