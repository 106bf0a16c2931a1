"""The programs that run inside, as a command line: the image knows nothing of them, so that it need not change."""

from importlib.resources import files

PACKAGE = "toolsandbox.code.inside"
PARTS = {
    "agent": ("frames", "program", "children", "counters", "files", "agent"),
    "batch": ("frames", "program", "counters", "function", "batch"),
}
"""Parts of each program in the order in which they need each other; the last one is run."""


def read_program(name: str) -> str:
    """Text of a part, as `agent.py`."""
    return (files(PACKAGE) / name).read_text(encoding="utf-8")


def write_command(name: str, *arguments: str) -> list[str]:
    """Command of the program's first process: every part as text, each under its own module name."""
    *shared, last = PARTS[name]
    steps = ["import sys, types"]
    for part in shared:
        steps += [
            f"part = sys.modules['{PACKAGE}.{part}'] = types.ModuleType('{PACKAGE}.{part}')",
            f"exec(compile({read_program(f'{part}.py')!r}, '{part}', 'exec'), part.__dict__)",
        ]
    steps.append(f"exec(compile({read_program(f'{last}.py')!r}, '{last}', 'exec'), {{'__name__': '__main__'}})")
    # -s, -P and -B: nothing from a home, nothing from the working folder, no compiled files.
    return ["/usr/bin/python3", "-s", "-P", "-B", "-c", "\n".join(steps), *arguments]
