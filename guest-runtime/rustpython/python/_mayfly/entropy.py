"""Makes everything that would repeat across clones of one snapshot differ again.

Every machine restored from a snapshot starts with the same memory, so a generator that was seeded before it would give
every one of them the same numbers. `os.urandom`, and with it `secrets`, `uuid.uuid4` and `random.SystemRandom`, asks the
kernel each time and needs nothing. Hash randomisation is fixed on purpose (see `src/interpreter.rs`).

Generators that a function made itself with `random.Random()` are its own to reseed.
"""

import sys


def renew():
    """To be called after a restore, before any code of the function runs."""
    modules = sys.modules
    random = modules.get("random")
    if random is not None:
        # The generator behind `random.random()` and the others; without an argument it is seeded by the kernel.
        random.seed()
    tempfile = modules.get("tempfile")
    if tempfile is not None:
        # The names it makes come from a generator of its own, created at first use and only renewed after a fork.
        tempfile._name_sequence = None
    uuid = modules.get("uuid")
    if uuid is not None:
        # The node of uuid1 is kept; a machine has no network card to take it from, so it is random. The last times given
        # out are kept too.
        uuid._node = uuid._random_getnode()
        for name in ("_last_timestamp", "_last_timestamp_v6", "_last_timestamp_v7"):
            setattr(uuid, name, None)
        # RustPython's own uuid1 keeps a random node where nothing can renew it; without it, the generic code is used.
        uuid._generate_time_safe = None
