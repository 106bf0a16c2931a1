"""Limits, paths and the profile of system calls, without any engine."""

import math

import pytest
from pydantic import ValidationError

from toolsandbox.code.engine import Engine, EngineError
from toolsandbox.code.hardening import USERS, build_spec, digest_policy, find_softness
from toolsandbox.code.seccomp import allowed_names, build_profile
from toolsandbox.code.settings import CallLimits, CodeSettings
from toolsandbox.code.workshop import CallRefused, Workshop, check_path


@pytest.mark.parametrize("wall_s", [0, -1, math.nan, math.inf, 1e308, 10**9, True])
def test_a_timeout_that_is_none_is_refused(wall_s):
    with pytest.raises(CallRefused, match=r"timeout: .* is not between 0 and 60 seconds"):
        Workshop(CodeSettings()).choose_limits(wall_s=wall_s)


@pytest.mark.parametrize("field", ["wall_s", "cpu_s", "output_bytes"])
def test_zero_never_means_no_limit(field):
    with pytest.raises(ValidationError):
        CallLimits.model_validate({field: 0})


def test_a_wall_limit_above_the_usual_brings_its_cpu_time():
    assert Workshop(CodeSettings()).choose_limits(wall_s=40).cpu_s == 40


def test_who_asks_for_nothing_gets_the_settings_own_limits():
    usual = CallLimits(wall_s=250, cpu_s=2, output_bytes=10)
    assert Workshop(CodeSettings(limits=usual)).choose_limits() == usual


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "./a",
        "a/",
        "a\0b",
        "a\nb",
        "x" * 4096,
        "/".join("a" * 17),
        "\ud800",
    ],
)
def test_a_path_that_is_not_plain_is_refused(path):
    with pytest.raises((CallRefused, UnicodeEncodeError)):
        check_path(path)


def test_plain_paths_pass():
    for path in ("a", "a/b.txt", "ก/ข", ".hidden"):
        check_path(path)


DANGEROUS = [
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "userfaultfd",
    "keyctl",
    "add_key",
    "request_key",
    "bpf",
    "perf_event_open",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_getfd",
    "unshare",
    "setns",
    "fsopen",
    "fsmount",
    "open_tree",
    "move_mount",
    "mount_setattr",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "name_to_handle_at",
    "open_by_handle_at",
    "personality",
    "kexec_load",
    "init_module",
    "finit_module",
    "quotactl",
    "acct",
    "swapon",
    "swapoff",
    "settimeofday",
    "clock_settime",
    "reboot",
    "syslog",
    "vmsplice",
    "modify_ldt",
    "iopl",
    "ioperm",
]


def test_no_dangerous_call_is_on_the_list():
    assert set(allowed_names()) & set(DANGEROUS) == set()


def test_everything_unnamed_is_refused_and_threads_still_start():
    profile = build_profile()
    by_name = {name: rule for rule in profile["syscalls"] for name in rule["names"]}
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert len(profile["architectures"]) == 1
    assert (by_name["clone3"]["action"], by_name["clone3"]["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert by_name["clone"]["args"][0]["op"] == "SCMP_CMP_MASKED_EQ"
    assert by_name["socket"]["args"] == [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]


def inspected(settings: CodeSettings) -> dict:
    """What an engine would answer for a container made as asked."""
    spec = build_spec(settings, image="sha256:0", program=["true"], life_s=60)
    defaults = {"CapAdd": None, "Binds": None, "PidMode": "", "UTSMode": "", "Devices": []}
    return {
        # The workshop gives each container its own.
        "Config": {**spec, "User": f"{USERS[0]}:{USERS[0]}"},
        "HostConfig": {**defaults, **spec["HostConfig"]},
        "NetworkSettings": {"Networks": {"none": {}}},
    }


def test_a_container_as_asked_lacks_nothing():
    assert find_softness(inspected(CodeSettings()), CodeSettings()) == []


@pytest.mark.parametrize("user", ["", "0:0", "65534:65534", f"{USERS[0]}:0", f"{USERS[-1] + 1}:{USERS[-1] + 1}"])
def test_a_user_that_others_have_too_is_named(user):
    soft = inspected(CodeSettings())
    soft["Config"]["User"] = user
    assert find_softness(soft, CodeSettings()) == ["runs as a user of its own"]


@pytest.mark.parametrize(
    ("field", "value", "lack"),
    [
        ("Privileged", True, "is not privileged"),
        ("CapAdd", ["SYS_ADMIN"], "has no capabilities"),
        ("NetworkMode", "bridge", "has no network"),
        ("ReadonlyRootfs", False, "has a read-only root"),
        ("SecurityOpt", ["no-new-privileges:true"], "has a seccomp profile"),
        ("MemorySwap", -1, "has no swap"),
        ("PidsLimit", 0, "has a process limit"),
        ("Binds", ["/:/host"], "has no bind"),
        ("LogConfig", {"Type": "json-file"}, "has no log"),
        ("Tmpfs", {"/tmp": "rw,size=64m"}, "has a limit on files"),  # noqa: S108
    ],
)
def test_each_flag_that_the_engine_dropped_is_named(field, value, lack):
    soft = inspected(CodeSettings())
    soft["HostConfig"][field] = value
    assert lack in find_softness(soft, CodeSettings())


def test_the_policy_digest_changes_with_every_limit():
    assert digest_policy(CodeSettings()) != digest_policy(CodeSettings(memory_bytes=64 << 20))
    assert digest_policy(CodeSettings()) == digest_policy(CodeSettings())


async def test_no_engine_is_said_in_one_sentence(tmp_path):
    with pytest.raises(EngineError, match=r"no container engine at .*; start it or name its socket"):
        await Engine(tmp_path / "none.sock").ping()
