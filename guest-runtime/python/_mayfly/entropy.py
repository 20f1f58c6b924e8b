"""Makes everything that would repeat across clones of one snapshot differ again.

Every machine restored from a snapshot starts with the same memory, so a generator that was seeded before it would give
every one of them the same numbers. `os.urandom`, and with it `secrets`, `uuid.uuid4` and `random.SystemRandom`, asks the
kernel each time and needs nothing. The secret of hash randomisation stays the same on purpose: dicts and sets are built on
it, and what an attacker can learn from one machine about the order of its own sets is of no use against another invocation's.

Generators that a function made itself, with `random.Random()` for one, are its own to reseed: see `mayfly.on_restore`.
"""

import os
import sys


def renew():
    """To be called after a restore, before any code of the function runs. Imports nothing that is not there already."""
    for name, renew_module in _RENEWALS:
        module = sys.modules.get(name)
        if module is not None:
            renew_module(module)


def _random(random):
    # The generator behind `random.random()` and the others; without an argument it is seeded by the kernel.
    random.seed()


def _tempfile(tempfile):
    # The names it makes come from a generator of its own, created at first use and only renewed after a fork.
    tempfile._name_sequence = None


def _uuid(uuid):
    # The node of uuid1 is kept; a machine has no network card to take it from, so it is random. The last times given
    # out are kept too.
    uuid._node = uuid._random_getnode()
    for name in ("_last_timestamp", "_last_timestamp_v6", "_last_timestamp_v7"):
        setattr(uuid, name, None)
    # The native uuid1 (libuuid's, RustPython's) keeps a random node and a clock sequence where nothing can renew them;
    # without it, the generic code is used.
    uuid._generate_time_safe = None


def _numpy_random(numpy_random):
    # The legacy generator behind `numpy.random.rand()` and the others, seeded by the kernel as above.
    numpy_random.seed()


def _cryptography(rust):
    # Its wheels bring an OpenSSL of their own.
    openssl = getattr(getattr(rust, "_openssl", None), "lib", None)
    if hasattr(openssl, "RAND_add"):
        openssl.RAND_add(os.urandom(32), 32, 32.0)


def _ssl(ssl):
    # OpenSSL seeds a generator per thread once and reseeds it after a fork, which it notices by the process id, or 2**16
    # requests. Adding to the primary generator has it take a seed from the kernel, too, and all others follow it at their
    # next request (EVP_RAND_reseed(3), crypto/rand/rand_lib.c and providers/implementations/rands/drbg.c).
    ssl.RAND_add(os.urandom(32), 32.0)


_RENEWALS = (
    ("random", _random),
    ("tempfile", _tempfile),
    ("uuid", _uuid),
    # The one that has `seed`; `numpy.random` may be half imported or a lazy stand-in.
    ("numpy.random.mtrand", _numpy_random),
    ("_ssl", _ssl),
    ("cryptography.hazmat.bindings._rust", _cryptography),
)
