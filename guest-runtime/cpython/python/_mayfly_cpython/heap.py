"""Python's small objects, arranged for snapshots.

A snapshot makes pages precious: each one that an invocation writes to is copied when the snapshot is bound, and again when the machine
is reset. What an invocation makes and drops should lie close together, and not in the holes that imports left all over memory.

CPython takes objects of up to 512 bytes from pools, each for objects of one size class, and of a pool that is new from its beginning to
its end (Objects/obmalloc.c).
"""

import sys

_CLASS_BYTES = 16
_LARGEST_BYTES = 512
_POOL_BYTES = (16 << 10) if sys.version_info >= (3, 10) else (4 << 10)
# Of its header: where the first object of a pool is.
_FIRST_AT = 48
# More would mean that there are no pools: the interpreter was built, or started, with another allocator.
_TAKEN_BYTES_MAX = 8 << 20

_taken = []


def settle():
    """Takes the free places in pools that are in use out of service, for good. Some 200 KiB after the imports of a runtime."""
    left = _TAKEN_BYTES_MAX
    for size in range(_CLASS_BYTES, _LARGEST_BYTES + 1, _CLASS_BYTES):
        while left > 0:
            thing = _object_of(size)
            if id(thing) % _POOL_BYTES == _FIRST_AT:
                # A pool that nothing else is in: dropped, it is free to be any class's.
                break
            _taken.append(thing)
            left -= size


def _object_of(size):
    """An object that is one allocation of that size class."""
    if size == 16:
        return object()
    if size == 32:
        # A float, and not one of the program's constants.
        return float(len(_taken)) + 0.5
    return bytes(size - bytes.__basicsize__)
