"""The process that does one errand.

    python -m chanote.errands.process ERRAND FENCE

It outlives the worker that started it, in a session of its own. SIGTERM makes it leave: the errand is queued again.
"""

import os
import signal
import sys
import threading

import django


def main(arguments: list[str]) -> int:
    leaving = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leaving.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    errand_id, fence = (int(argument) for argument in arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chanote.settings")
    django.setup()
    from chanote.errands.doing import do_errand
    from chanote.errands.models import Errand

    errand = Errand.objects.select_related("project", "created_by").get(pk=errand_id)
    do_errand(errand, fence, leaving=leaving)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
