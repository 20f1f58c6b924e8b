"""New objects lie at the beginning of pools of their own, whatever holes there were before."""

import json
import os
import subprocess
import unittest

from driver import PYTHON, SOURCES

# Leaves holes in pools of every size class; then asks where the next objects come to lie.
PROGRAM = """
import json, sys
from _mayfly_cpython import heap
sizes = range(48, 513, 16)
kept = [bytes(size - 33) for size in sizes for _ in range(1000)]
del kept[::2]
if "settle" in sys.argv:
    heap.settle()
new = [bytes(size - 33) for size in sizes]
first = sum(id(thing) % heap._POOL_BYTES == heap._FIRST_AT for thing in new)
print(json.dumps([first, len(new), sum(map(sys.getsizeof, heap._taken))]))
"""


class Heap(unittest.TestCase):
    def run_program(self, *arguments):
        command = [PYTHON, "-B", "-c", PROGRAM, *arguments]
        environment = {"PYTHONPATH": os.pathsep.join(map(str, SOURCES))}
        return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)

    def test_new_objects_fill_new_pools(self):
        first, count, taken_bytes = self.run_program("settle")
        # A few classes are those of the objects that the test itself makes.
        self.assertGreater(first, count * 0.8)
        self.assertLess(taken_bytes, 8 << 20)

    def test_without_settling_they_fill_holes(self):
        first, count, _ = self.run_program()
        self.assertLess(first, count * 0.2)

    def test_another_allocator_ends_it(self):
        command = [PYTHON, "-B", "-c", "from _mayfly_cpython import heap; heap.settle(); print('ended')"]
        environment = {"PYTHONPATH": os.pathsep.join(map(str, SOURCES)), "PYTHONMALLOC": "malloc"}
        self.assertEqual(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout, b"ended\n")
