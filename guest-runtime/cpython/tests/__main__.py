"""All tests of the Python side: `python3 guest-runtime/cpython/tests [-v] [NAME…]`.

They run the program on the host, as it runs in a guest, with the Python that runs them, or MAYFLY_TEST_PYTHON.
"""

import pathlib
import sys
import unittest

if __name__ == "__main__":
    sys.dont_write_bytecode = True
    folder = pathlib.Path(__file__).parent
    sys.path.insert(0, str(folder))
    names = sorted(path.stem for path in folder.glob("test_*.py"))
    chosen = any(not argument.startswith("-") for argument in sys.argv[1:])
    unittest.main(module=None, argv=[*sys.argv, *([] if chosen else names)])
