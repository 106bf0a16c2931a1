"""The system calls a sandboxed program may make: an allow-list of our own, for every runtime and every engine version.

The engine's default profile depends on its age: version 20.10 still lets a program create io_uring queues and vsock
and netlink sockets. Here everything that is not named answers EPERM, with one exception: `clone3` answers ENOSYS,
because the C library falls back to `clone` on that answer only, and without it no thread starts.
"""

import platform
from typing import Any

ENOSYS = 38

NAMESPACE_FLAGS = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET: refused in the flags of `clone`."""

AF_UNIX = 1

FILES = """
access chdir chmod close close_range copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl
epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 faccessat faccessat2 fadvise64 fallocate fchdir fchmod fchmodat
fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fstat fstatfs fsync ftruncate futimesat getcwd getdents
getdents64 getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl lgetxattr link linkat
listxattr llistxattr lseek lstat memfd_create mkdir mkdirat mknod mknodat newfstatat open openat openat2 pipe pipe2
poll ppoll pread64 preadv preadv2 pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv rename
renameat renameat2 rmdir select sendfile splice stat statfs statx symlink symlinkat sync sync_file_range syncfs tee
truncate umask unlink unlinkat utime utimensat utimes write writev
"""
MEMORY = """
brk madvise membarrier mincore mlock mlock2 mmap mprotect mremap msync munlock munmap pkey_alloc pkey_free
pkey_mprotect
"""
PROCESSES = """
alarm arch_prctl capget clock_getres clock_gettime clock_nanosleep execve execveat exit exit_group fork futex
futex_waitv get_robust_list get_thread_area getcpu getegid geteuid getgid getgroups getitimer getpgid getpgrp getpid
getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid gettid gettimeofday getuid kill nanosleep
pause pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask
rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max
sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
sched_setaffinity sched_yield set_robust_list set_tid_address setgid setgroups setitimer setpgid setpriority setregid
setresgid setresuid setreuid setrlimit setsid setuid sigaltstack signalfd signalfd4 sysinfo tgkill time timer_create
timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill
uname vfork wait4 waitid
"""
LOCAL_SOCKETS = """
accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg sendto
setsockopt shutdown
"""
OF_CONTAINER_START = "capset fchownat"
"""The runtime itself still drops capabilities after the filter is on. A program without any gains nothing by it."""

NEW_NAMESPACES = "clone unshare mount umount2"
"""Only for the fork server of batches, which shuts them again in every child with its own filter."""


def allowed_names() -> list[str]:
    return sorted({*f"{FILES} {MEMORY} {PROCESSES} {LOCAL_SOCKETS} {OF_CONTAINER_START}".split()})


def build_profile(*, for_batches: bool = False) -> dict[str, Any]:
    """Profile in the engine's JSON form. With `for_batches` the outer container may make namespaces."""
    machine = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}.get(platform.machine())
    if machine is None:
        raise ValueError(f"no system call profile for {platform.machine()}; x86_64 and aarch64 have one")
    names = [*allowed_names(), *(NEW_NAMESPACES.split() if for_batches else [])]
    rules: list[dict[str, Any]] = [{"names": names, "action": "SCMP_ACT_ALLOW"}]
    if not for_batches:
        no_namespace = {"index": 0, "value": NAMESPACE_FLAGS, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
        rules.append({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [no_namespace]})
    local = {"index": 0, "value": AF_UNIX, "op": "SCMP_CMP_EQ"}
    rules.append({"names": ["socket", "socketpair"], "action": "SCMP_ACT_ALLOW", "args": [local]})
    rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS})
    # Only the machine's own architecture: 32-bit and x32 calls have other numbers and would pass by another door.
    return {"defaultAction": "SCMP_ACT_ERRNO", "architectures": [machine], "syscalls": rules}
