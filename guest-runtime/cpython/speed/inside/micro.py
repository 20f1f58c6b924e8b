"""What is mostly system calls: answered in the guest, they should beat the host kernel's."""

import os
import queue
import socket
import tempfile
import threading
import time

import pyperf

ROUNDS = 100


def files(loops):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "f")
        with open(path, "wb") as file:
            file.write(bytes(4096))
        fd = os.open(path, os.O_RDWR)
        started = time.perf_counter()
        for _ in range(loops):
            for _ in range(ROUNDS):
                os.pread(fd, 4096, 0)
        elapsed = time.perf_counter() - started
        os.close(fd)
    return elapsed


def opened(loops):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "f")
        open(path, "w").close()
        started = time.perf_counter()
        for _ in range(loops):
            for _ in range(ROUNDS):
                os.close(os.open(path, os.O_RDONLY))
        return time.perf_counter() - started


def created(loops):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "f")
        started = time.perf_counter()
        for _ in range(loops):
            for _ in range(ROUNDS):
                with open(path, "w") as file:
                    file.write("text")
                os.unlink(path)
        return time.perf_counter() - started


def status(loops):
    started = time.perf_counter()
    for _ in range(loops):
        for _ in range(ROUNDS):
            os.stat("/tmp")
    return time.perf_counter() - started


def clock(loops):
    started = time.perf_counter()
    for _ in range(loops):
        for _ in range(ROUNDS):
            time.monotonic()
    return time.perf_counter() - started


def pipe(loops):
    readable, writable = os.pipe()
    started = time.perf_counter()
    for _ in range(loops):
        for _ in range(ROUNDS):
            os.write(writable, b"x")
            os.read(readable, 1)
    elapsed = time.perf_counter() - started
    os.close(readable)
    os.close(writable)
    return elapsed


def pair(loops):
    one, other = socket.socketpair()
    started = time.perf_counter()
    for _ in range(loops):
        for _ in range(ROUNDS):
            one.send(b"x")
            other.recv(1)
    elapsed = time.perf_counter() - started
    one.close()
    other.close()
    return elapsed


def hand_over(loops):
    """To another thread and back."""
    there, back = queue.SimpleQueue(), queue.SimpleQueue()

    def answer():
        while there.get() is not None:
            back.put(1)

    thread = threading.Thread(target=answer)
    thread.start()
    started = time.perf_counter()
    for _ in range(loops):
        for _ in range(ROUNDS):
            there.put(1)
            back.get()
    elapsed = time.perf_counter() - started
    there.put(None)
    thread.join()
    return elapsed


def started(loops):
    began = time.perf_counter()
    for _ in range(loops):
        for _ in range(ROUNDS):
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
    return time.perf_counter() - began


def random(loops):
    began = time.perf_counter()
    for _ in range(loops):
        for _ in range(ROUNDS):
            os.urandom(16)
    return time.perf_counter() - began


runner = pyperf.Runner()
for name, function in (
    ("4 KiB read from a file of /tmp", files),
    ("file of /tmp opened and closed", opened),
    ("file of /tmp written and removed", created),
    ("stat", status),
    ("clock", clock),
    ("byte through a pipe", pipe),
    ("byte through a socket pair", pair),
    ("lock hand-over to a thread and back", hand_over),
    ("thread started and joined", started),
    ("16 random bytes", random),
):
    runner.bench_time_func(name, function, inner_loops=ROUNDS)
