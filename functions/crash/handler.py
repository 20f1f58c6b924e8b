"""Fails in the way the event asks for. Whatever it is, only this invocation may notice."""

import ctypes
import json
import os
import sys
import threading
import time


def handler(event, context):
    how = event.get("how", "none")
    print(f"about to: {how}")
    return WAYS[how](event)


def survive(event):
    return {"survived": True}


def raise_exception(event):
    raise RuntimeError(event.get("message", "asked to fail"))


def return_set(event):
    return {"not": {"serializable"}}


def exit_cleanly(event):
    sys.exit()


def exit_with_code(event):
    sys.exit(event.get("code", 3))


def exit_at_once(event):
    """Without unwinding, flushing or asking Python."""
    os._exit(event.get("code", 3))


def abort(event):
    os.abort()


def recurse(event):
    """Up to Python's own limit: a RecursionError."""
    return recurse(event)


def overflow_stack(event):
    """Past it: the interpreter's stack ends before Python's patience does."""
    sys.setrecursionlimit(2**30)
    return recurse(event)


def nest_deeply(event):
    """Where the interpreter's own code recurses without counting: its stack overflows for real."""
    return {"read": len(json.loads("[" * 1_000_000 + "]" * 1_000_000))}


def exhaust_memory(event):
    """Touches every page, so that it is really needed."""
    held = []
    while True:
        held.append(bytearray(b"x") * (1 << 20))


def loop(event):
    """Busy until the deadline and past it."""
    while True:
        pass


def sleep_forever(event):
    while True:
        time.sleep(3600)


def wild_read(event):
    return {"read": ctypes.c_long.from_address(event.get("address", 8)).value}


def wild_write(event):
    ctypes.c_long.from_address(event.get("address", 8)).value = -1
    return {"wrote": True}


def wild_call(event):
    """Jumps there, where the runtime can call addresses at all."""
    ctypes.CFUNCTYPE(None)(event.get("address", 8))()
    return {"called": True}


def overwrite_code(event):
    """Writes over the interpreter itself, from one of its objects towards lower addresses."""
    address = id(handler)
    while True:
        address -= 8
        ctypes.c_long.from_address(address).value = -1


def flood_log(event):
    for number in range(event.get("lines", 100_000)):
        print(f"line {number:>8} of far too many")
    return {"survived": True}


def fill_disk(event):
    with open("/tmp/full", "wb") as file:
        while True:
            file.write(b"x" * (1 << 20))


def start_threads(event):
    for _ in range(event.get("threads", 10_000)):
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    return {"survived": True}


WAYS = {
    "none": survive,
    "exception": raise_exception,
    "unserializable": return_set,
    "exit": exit_cleanly,
    "exit_code": exit_with_code,
    "hard_exit": exit_at_once,
    "abort": abort,
    "recursion": recurse,
    "stack": overflow_stack,
    "deep_json": nest_deeply,
    "memory": exhaust_memory,
    "loop": loop,
    "sleep": sleep_forever,
    "wild_pointer": wild_write,
    "wild_read": wild_read,
    "wild_call": wild_call,
    "overwrite": overwrite_code,
    "logs": flood_log,
    "disk": fill_disk,
    "threads": start_threads,
}
