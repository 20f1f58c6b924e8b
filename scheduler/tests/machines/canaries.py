"""Leaves a canary in each place that it can reach, and tells in which of them it finds something else than there was at first."""

import builtins
import json
import os
import re
import signal
import sys
import threading
import time

# RustPython's cannot run code in memory.
NATIVE = sys.implementation.name == "cpython"
if NATIVE:
    import ctypes
    import mmap

CANARY = re.compile(rb"canary-[0-9a-f]{16}")
HEAP_BYTES = 40_000
PIECE_BYTES = 1 << 20

left = []


class Nest:
    canary = None


def default_argument(canary=None, seen=[]):
    if canary:
        seen.append(canary)
    return list(seen)


class Registers:
    """Those that outlive Python's own code: MXCSR, the control word of the x87 unit, the base of GS, and the last of the sixteen XMM."""

    PEEK = bytes.fromhex(
        "0fae1f"  # stmxcsr [rdi]
        "d97f04"  # fnstcw [rdi + 4]
        "f3480faec8"  # rdgsbase rax
        "48894708"  # mov [rdi + 8], rax
        "440f117f10"  # movups [rdi + 16], xmm15
        "c3"
    )
    POKE = bytes.fromhex(
        "0fae17"  # ldmxcsr [rdi]
        "d96f04"  # fldcw [rdi + 4]
        "488b4708"  # mov rax, [rdi + 8]
        "f3480faed8"  # wrgsbase rax
        "440f107f10"  # movups xmm15, [rdi + 16]
        "c3"
    )
    # Of MXCSR what is set, not what has happened.
    MXCSR_CONTROL = 0xFFC0

    def __init__(self):
        self.code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self.code.write(self.PEEK + self.POKE)
        at = ctypes.addressof(ctypes.c_char.from_buffer(self.code))
        function = ctypes.CFUNCTYPE(None, ctypes.c_char_p)
        self.peek, self.poke = function(at), function(at + len(self.PEEK))

    def look(self):
        area = ctypes.create_string_buffer(32)
        self.peek(ctypes.cast(area, ctypes.c_char_p))
        word = lambda at, length: int.from_bytes(area.raw[at : at + length], "little")
        return {
            "mxcsr": word(0, 4) & self.MXCSR_CONTROL,
            "x87": word(4, 2),
            "gs": word(8, 8),
            "xmm": b"canary" in area.raw[16:],
        }

    def leave(self, canary):
        words = [(0x9FC0, 4), (0x027F, 4), (0x1A9A_0000_0000, 8)]
        area = b"".join(value.to_bytes(length, "little") for value, length in words)
        self.poke(ctypes.create_string_buffer(area + canary.encode()[:16], 32).raw)


registers = NATIVE and Registers()


def lowest_descriptor():
    descriptor = os.open("/dev/null", os.O_RDONLY)
    os.close(descriptor)
    return descriptor


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def unused_heap():
    """What is in a block that was given back: whether there is a canary."""
    function = ctypes.pythonapi.PyBytes_FromStringAndSize
    function.restype, function.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_ssize_t]
    return CANARY.search(function(None, HEAP_BYTES)) is not None


def places():
    """What there is in each."""
    found = {
        "globals": list(left),
        "class": Nest.canary,
        "default": default_argument(),
        "builtins": hasattr(builtins, "canary"),
        "modules": "canary" in sys.modules,
        "path": len(sys.path),
        "recursion": sys.getrecursionlimit(),
        "environment": os.environ.get("CANARY"),
        "directory": os.getcwd(),
        "tmp": os.listdir("/tmp"),
        "descriptor": lowest_descriptor(),
        "umask": umask(),
        "threads": threading.active_count(),
        "handler": str(signal.getsignal(signal.SIGUSR1)),
        "timer": signal.getitimer(signal.ITIMER_REAL)[0] > 0,
    }
    if NATIVE:
        found["heap"] = unused_heap()
        found.update(registers.look())
    return found


def anywhere(canary):
    """Canaries in all memory that can be written, but this one."""
    others = set()
    with open("/proc/self/maps") as maps:
        for line in maps:
            bounds, protection = line.split()[:2]
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            while "w" in protection and start < end:
                length = min(end - start, PIECE_BYTES)
                others.update(CANARY.findall(ctypes.string_at(start, length)))
                start += length
    return [other.decode() for other in others if other != canary.encode()]


def keep_on(canary):
    while True:
        left.append(canary)
        time.sleep(0.001)


def leave(canary):
    left.append(canary)
    Nest.canary = canary
    default_argument(canary)
    builtins.canary = canary
    sys.modules["canary"] = sys
    sys.path.append(canary)
    sys.setrecursionlimit(777)
    os.environ["CANARY"] = canary
    with open("/tmp/canary", "w") as file:
        file.write(canary)
    os.open("/tmp/canary", os.O_RDONLY)
    os.chdir("/tmp")
    os.umask(0o007)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 3600)
    threading.Thread(target=keep_on, args=(canary,), daemon=True).start()
    if NATIVE:
        bytes(HEAP_BYTES // len(canary)).replace(b"\0", canary.encode())
        registers.leave(canary)


FIRST = places()


def handler(event, context):
    now = places()
    found = [name for name in FIRST if now[name] != FIRST[name]]
    if NATIVE and event.get("search"):
        found += anywhere(event["canary"])
    leave(event["canary"])
    if event["how"] == "raise":
        raise ValueError(json.dumps(found))
    if event["how"] == "exit":
        os._exit(3)
    if event["how"] == "sleep":
        time.sleep(60)
    return {"found": found, "left": event["canary"] * event.get("times", 1)}
