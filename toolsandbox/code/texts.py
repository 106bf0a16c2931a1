"""What the policy reads of an answer."""

from toolsandbox.contract import CodeAnswer, TestsAnswer


def write_text(answer: CodeAnswer) -> str:
    """Its output, and one line for anything but a program that ended well."""
    parts = [answer.stdout, answer.stderr]
    if answer.status == "timeout":
        parts.append(f"[stopped: the {answer.limit or 'wall'} time limit was reached]")
    elif answer.status == "oom":
        parts.append("[stopped: out of memory]")
    elif answer.status == "output_limit":
        parts.append("[stopped: too much output; what came before the limit is shown]")
    elif answer.status == "disk_limit":
        parts.append("[the disk is full]")
    elif answer.status == "pids_limit":
        parts.append("[too many processes]")
    elif answer.signal is not None:
        parts.append(f"[ended by signal {answer.signal}]")
    if answer.message:
        parts.append(f"[{answer.message}]")
    if answer.session_reset or answer.session_lost:
        parts.append("[variables of earlier calls are lost]")
    return "\n".join(part.rstrip("\n") for part in parts if part)


def write_tests_text(answer: TestsAnswer) -> str:
    if answer.status != "ok":
        return answer.message
    lines = [f"{answer.passed} of {answer.total} tests passed"]
    lines += [f"failed: {case.test} ({case.detail})" for case in answer.cases if not case.passed]
    return "\n".join(lines)
