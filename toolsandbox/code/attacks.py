"""Attacks that a sandbox must not fall for. Each prints one line: what it reached, or `held` with the reason.

The start-up probe runs them in a container made exactly as for calls, and the service does not serve where one
succeeds. They try harmlessly: what would succeed is undone or touches only the container.
"""

from dataclasses import dataclass

PREAMBLE = """
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    return result, ctypes.get_errno()
def told(result, code):
    print("REACHED" if result != -1 else "held " + errno.errorcode.get(code, str(code)))
def attempt(action):
    try:
        found = action()
    except OSError as refused:
        print("held", errno.errorcode.get(refused.errno, refused.errno))
    else:
        print("REACHED", repr(found)[:200])
"""


@dataclass(frozen=True)
class Attack:
    name: str
    source: str
    in_batches: bool = True
    """Also tried from a function of a batch; not where it needs /proc or threads, which are not there."""


def _syscall(name: str, arguments: str) -> Attack:
    """An attack by system call; numbers are those of x86_64 and, above 424, of every architecture."""
    return Attack(name, f"told(*call({arguments}))")


ATTACKS = [
    _syscall("create an io_uring queue", "425, 4, ctypes.create_string_buffer(256)"),
    Attack("open a vsock socket", "attempt(lambda: socket.socket(40, socket.SOCK_STREAM))"),
    Attack("open a netlink socket", "attempt(lambda: socket.socket(16, socket.SOCK_RAW))"),
    Attack("open a kernel crypto socket", "attempt(lambda: socket.socket(38, socket.SOCK_SEQPACKET))"),
    Attack("open a packet socket", "attempt(lambda: socket.socket(17, socket.SOCK_RAW))"),
    Attack(
        "connect to the cloud's metadata address",
        "attempt(lambda: socket.create_connection(('169.254.169.254', 80), timeout=1))",
    ),
    Attack("connect to the public network", "attempt(lambda: socket.create_connection(('192.0.2.1', 53), timeout=1))"),
    Attack("make a user namespace", "told(libc.unshare(0x10000000), ctypes.get_errno())"),
    Attack(
        "make a user namespace by clone",
        """
result, code = call(56, 0x10000000 | 17, 0, 0, 0, 0)
if result == 0:
    os._exit(0)
told(result, code)
""",
    ),
    Attack("mount a file system", "told(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None), ctypes.get_errno())"),
    _syscall("open a file system by the new mount calls", "430, ctypes.c_char_p(b'tmpfs'), 0"),
    Attack("trace process 1", "told(libc.ptrace(16, 1, 0, 0), ctypes.get_errno())"),
    Attack("read the memory of process 1", "attempt(lambda: open('/proc/1/mem', 'rb').read(1))"),
    Attack("write to the output of process 1", "attempt(lambda: os.open('/proc/1/fd/1', os.O_WRONLY))"),
    Attack("load a bpf program", "told(*call({'x86_64': 321}.get(os.uname().machine, 280), 5, 0, 0))"),
    Attack("open a performance counter", "told(*call({'x86_64': 298}.get(os.uname().machine, 241), 0, 0, -1, -1, 0))"),
    Attack("handle page faults", "told(*call({'x86_64': 323}.get(os.uname().machine, 282), 1))"),
    Attack("use the kernel's key ring", "told(*call({'x86_64': 250}.get(os.uname().machine, 219), 0, -3, 1))"),
    Attack("become root", "attempt(lambda: os.setuid(0))"),
    Attack("write to the root", "attempt(lambda: os.open('/usr/planted', os.O_CREAT | os.O_WRONLY))"),
    Attack("make a message queue", "attempt(lambda: os.open('/dev/mqueue/planted', os.O_CREAT | os.O_WRONLY))"),
    Attack(
        "share a user with other programs of the host",
        "print('held its own' if 30000 <= os.getuid() < 60000 and os.getgid() == os.getuid() else 'REACHED')",
    ),
    Attack("write a kernel setting", "attempt(lambda: os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY))"),
    Attack("make a device", "attempt(lambda: os.mknod('/tmp/disk', 0o060600, os.makedev(254, 0)))"),
    Attack(
        "write to a cgroup",
        """
import glob
open_ones = [path for path in glob.glob('/sys/fs/cgroup/**', recursive=True) if os.access(path, os.W_OK)]
print('REACHED ' + ' '.join(open_ones[:3]) if open_ones else 'held none is writable')
""",
    ),
    Attack(
        "find the engine's socket",
        """
found = [path for path in ('/var/run/docker.sock', '/run/docker.sock', '/run/containerd/containerd.sock')
         if os.path.exists(path)]
print('REACHED ' + ' '.join(found) if found else 'held none is there')
""",
    ),
    Attack(
        "see other processes",
        """
others = [n for n in os.listdir('/proc') if n.isdigit() and int(n) not in (1, os.getpid())]
print('REACHED ' + ' '.join(others) if others else 'held only our own')
""",
    ),
    Attack(
        "keep a capability",
        """
lines = dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)
facts = [lines[name].strip() for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')]
kept = any(int(fact, 16) for fact in facts) or lines['NoNewPrivs'].strip() != '1' or lines['Seccomp'].strip() != '2'
print('REACHED ' + ' '.join(facts) if kept else 'held all zero')
""",
        in_batches=False,
    ),
    Attack(
        "find a secret in the environment",
        """
known = {'PATH', 'HOME', 'LANG', 'PYTHONHASHSEED', 'PYTHONDONTWRITEBYTECODE', 'OPENBLAS_NUM_THREADS',
         'OMP_NUM_THREADS', 'HOSTNAME', 'LC_CTYPE'}
others = sorted(set(os.environ) - known)
print('REACHED ' + ' '.join(others) if others else 'held only our own')
""",
    ),
    Attack(
        "start a thread",
        """
import threading
done = []
thread = threading.Thread(target=lambda: done.append(1)); thread.start(); thread.join()
print('held it works' if done else 'REACHED')
""",
        in_batches=False,
    ),
]
"""The last one is no attack: a profile that answers clone3 wrongly lets no program start a thread."""
