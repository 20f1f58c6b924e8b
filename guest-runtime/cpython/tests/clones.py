"""Prints what two clones of a process draw from every generator: `clones.py RUNTIME_FOLDER [renew]`, with numpy and cryptography.

A clone of a machine has the memory of the other and does not know that it is one. So the C library's fork is called past
Python, which would reseed `random`, and the process id stays the same (see `same_process_id.c`), for OpenSSL would reseed too.
"""

import ctypes
import json
import os
import random
import ssl
import sys
import tempfile
import uuid

sys.path.insert(0, sys.argv[1])
from _mayfly import restore  # noqa: E402

import numpy  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402

own = numpy.random.default_rng()


@restore.callbacks.append
def renew_own():
    global own
    own = numpy.random.default_rng()


def draw():
    with tempfile.NamedTemporaryFile() as file:
        return {
            "random": random.getrandbits(64),
            "tempfile": os.path.basename(file.name),
            "uuid1": str(uuid.uuid1())[19:],
            "ssl": ssl.RAND_bytes(16).hex(),
            "cryptography": ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value,
            "numpy.random": numpy.random.random(),
            "numpy.random, own": own.random(),
        }


draw()
results = []
for _ in range(2):
    readable, writable = os.pipe()
    if ctypes.CDLL(None).fork() == 0:
        if "renew" in sys.argv:
            restore.renew()
        os.write(writable, json.dumps(draw()).encode())
        os._exit(0)
    os.close(writable)
    with open(readable) as file:
        results.append(json.load(file))
print(json.dumps(results))
