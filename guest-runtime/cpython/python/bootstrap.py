"""The program of a CPython runtime: `python3 -s -B -X utf8 bootstrap.py`.

It imports what most functions use, opens the event device and reads: that first `read` is where the runtime snapshot is
taken. The first event brings the function (INIT), every later one an invocation; see `_mayfly_cpython/event_loop.py`.
"""

import os
import sys


def main():
    # Where this file is. Behind everything else it can hide no module of a function; `mayfly` must be found.
    sys.path.append(sys.path.pop(0))
    from _mayfly_cpython import event_loop
    from _mayfly_cpython.device import open_device

    # The variable names a Unix socket in place of the device. For tests on the host.
    event_loop.serve(open_device(os.environ.get("MAYFLY_EVENT_DEVICE", "/dev/mayfly")))


if __name__ == "__main__":
    main()
