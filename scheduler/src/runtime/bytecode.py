"""Compiles the modules whose paths come on standard input, ended by zero bytes. For each: its length as eight bytes, and the
contents of its .pyc file; no byte at all if it is no Python.

The files say that their source need not be looked at: in an image nothing changes.
"""

import importlib._bootstrap_external as external
import importlib.util
import sys
import warnings


def compiled(path):
    try:
        with open(path, "rb") as file:
            source = file.read()
        code = compile(source, path.decode(), "exec", dont_inherit=True, optimize=0)
        return external._code_to_hash_pyc(code, importlib.util.source_hash(source), False)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return b""


def main():
    warnings.simplefilter("ignore")
    # All of it before the first answer: the other side writes first, and only then reads.
    paths = sys.stdin.buffer.read().split(b"\0")[:-1]
    out = sys.stdout.buffer
    for path in paths:
        module = compiled(path)
        out.write(len(module).to_bytes(8, "little"))
        out.write(module)
    out.flush()


main()
