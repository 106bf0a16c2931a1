"""Several `chanote` commands in one process, which costs the start of one: `python -m tests.command_batch`.

Reads a JSON list of argument lists from standard input, writes the list of their standard outputs; the first command
that fails ends it with that command's code.
"""

import contextlib
import io
import json
import sys

from chanote import cli


def main() -> int:
    answers = []
    for arguments in json.load(sys.stdin):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            code = cli.main(arguments)
        if code:
            print(said.getvalue(), file=sys.stderr)
            return code
        answers.append(said.getvalue())
    print(json.dumps(answers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
