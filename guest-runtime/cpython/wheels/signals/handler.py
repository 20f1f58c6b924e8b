"""Signals to itself: handlers, alarms, interrupts, wake-ups, masks; and what faulthandler prints."""

import faulthandler
import os
import signal
import tempfile
import threading
import time


def handler(event, context):
    checks = (itself, alarm, interval, interrupt, interrupted_sleep, wake_up, masked, waited, ignored, dumped, dumped_later)
    return {check.__name__: check() for check in checks}


def itself():
    got = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: got.append([number, frame is not None]))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR1)
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)
    return got


def alarm():
    class Rang(Exception):
        pass

    def ring(*_):
        raise Rang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        while True:
            pass
    except Rang:
        left = signal.alarm(100)
        return [left, signal.alarm(0) > 90]
    finally:
        signal.signal(signal.SIGALRM, before)


def interval():
    got = []
    before = signal.signal(signal.SIGALRM, lambda *_: got.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    while len(got) < 3:
        time.sleep(0.001)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    return "rang"


def interrupt():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        return "KeyboardInterrupt"
    finally:
        signal.signal(signal.SIGINT, before)


def interrupted_sleep():
    """A signal's handler that raises ends a wait; one that does not, does not."""
    got = []
    before = signal.signal(signal.SIGALRM, lambda *_: got.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    started = time.monotonic()
    time.sleep(0.04)
    signal.signal(signal.SIGALRM, before)
    return [got, time.monotonic() - started >= 0.04]


def wake_up():
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    old = signal.set_wakeup_fd(writable)
    os.kill(os.getpid(), signal.SIGUSR2)
    got = os.read(readable, 10)
    signal.set_wakeup_fd(old)
    signal.signal(signal.SIGUSR2, before)
    os.close(readable)
    os.close(writable)
    return [*got] == [signal.SIGUSR2]


def masked():
    got = []
    before = signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    os.kill(os.getpid(), signal.SIGUSR1)
    answer = [list(got), signal.SIGUSR1 in signal.sigpending()]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
    signal.signal(signal.SIGUSR1, before)
    return [*answer, got]


def waited():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    os.kill(os.getpid(), signal.SIGUSR1)
    number = signal.sigwait([signal.SIGUSR1])
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
    return number == signal.SIGUSR1


def ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.kill(os.getpid(), signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)
    return "survived"


def dumped():
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return "in dumped" in file.read()


def dumped_later():
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback_later(0.01, file=file)
        text = ""
        # Its thread, and its last line, come when they come; if they never do, the invocation times out.
        while "in dumped_later" not in text:
            time.sleep(0.01)
            # Not by seeking: it shares the place where the thread writes.
            text = os.pread(file.fileno(), 1 << 20, 0).decode()
        faulthandler.cancel_dump_traceback_later()
    return "Timeout (" in text
