"""Which cgroups the service dares to touch, on a made-up root."""

from pathlib import Path

import pytest

from toolsandbox.code.cgroups import CgroupsUnavailable, find_call_cgroups

CONTAINER = "c0ffee"


def make_root(root: Path, *, cgroup: str, mounts: str, folders: list[str]) -> None:
    """Processes 100, 101 and 102 of the host, which are 1, 7 and 8 in the container."""
    for pid, inner in ((100, 1), (101, 7), (102, 8)):
        folder = root / "proc" / str(pid)
        folder.mkdir(parents=True)
        (folder / "cgroup").write_text(cgroup)
        (folder / "status").write_text(f"Name:\tpython3\nNSpid:\t{pid}\t{inner}\n")
    (root / "proc/self").mkdir()
    (root / "proc/self/mounts").write_text(mounts)
    for name in folders:
        folder = root / name
        folder.mkdir(parents=True)
        (folder / "cgroup.procs").write_text("100\n102\n101\n")


V1_MOUNTS = "".join(
    f"cgroup /sys/fs/cgroup/{name} cgroup rw,relatime,{name} 0 0\n" for name in ("memory", "pids", "cpuacct")
)
V1_PATHS = f"3:memory:/docker/{CONTAINER}\n2:pids:/docker/{CONTAINER}\n1:cpuacct:/docker/{CONTAINER}\n0::/\n"
V1_FOLDERS = [f"sys/fs/cgroup/{name}/docker/{CONTAINER}" for name in ("memory", "pids", "cpuacct")]


def test_a_container_of_version_1_has_its_workers_found(tmp_path):
    make_root(tmp_path, cgroup=V1_PATHS, mounts=V1_MOUNTS, folders=V1_FOLDERS)
    cgroups = find_call_cgroups(100, CONTAINER, [7, 8], root=tmp_path)
    assert cgroups._workers == [101, 102]
    assert set(cgroups._homes) == {"memory", "pids", "cpuacct"}


def test_in_version_2_the_first_processes_move_aside_before_limits_are_handed_down(tmp_path):
    home = f"sys/fs/cgroup/system.slice/docker-{CONTAINER}.scope"
    make_root(
        tmp_path,
        cgroup=f"0::/system.slice/docker-{CONTAINER}.scope\n",
        mounts="cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n",
        folders=[home, f"{home}/first"],
    )
    (tmp_path / home / "cgroup.subtree_control").write_text("")
    (tmp_path / home / "first/cgroup.procs").write_text("")
    cgroups = find_call_cgroups(100, CONTAINER, [8], root=tmp_path)
    assert (tmp_path / home / "cgroup.subtree_control").read_text() == "+memory +pids"
    assert (tmp_path / home / "first/cgroup.procs").read_text() in ("100", "101", "102")
    assert cgroups._workers == [102]


@pytest.mark.parametrize(
    ("container", "pid", "paths"),
    [
        ("other", 100, V1_PATHS),
        (CONTAINER, 999, V1_PATHS),
        (CONTAINER, 100, V1_PATHS.replace(f"/docker/{CONTAINER}", "/../..")),
    ],
)
def test_cgroups_that_are_not_the_containers_are_never_touched(tmp_path, container, pid, paths):
    make_root(tmp_path, cgroup=paths, mounts=V1_MOUNTS, folders=V1_FOLDERS)
    with pytest.raises(CgroupsUnavailable, match=r"share their container's cgroup .*run the service as root"):
        find_call_cgroups(pid, container, [7], root=tmp_path)


def test_a_worker_that_is_not_there_is_no_worker(tmp_path):
    make_root(tmp_path, cgroup=V1_PATHS, mounts=V1_MOUNTS, folders=V1_FOLDERS)
    with pytest.raises(CgroupsUnavailable):
        find_call_cgroups(100, CONTAINER, [7, 9], root=tmp_path)
