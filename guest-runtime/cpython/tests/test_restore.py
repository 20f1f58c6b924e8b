"""Nothing random repeats in a clone, and functions take part in it."""

import json
import os
import pathlib
import subprocess
import tempfile

import packages
from driver import PYTHON, RESTORED, TestCase, frame, install

REQUIREMENTS = b"cryptography==45.0.6\nnumpy==2.2.6\n"
TESTS = pathlib.Path(__file__).parent


class Clones(TestCase):
    def clones(self, *arguments):
        """What two clones drew."""
        with tempfile.TemporaryDirectory() as folder:
            library = os.path.join(folder, "same_process_id.so")
            subprocess.run(["cc", "-shared", "-fPIC", "-o", library, TESTS / "same_process_id.c"], check=True)
            runtime = install(pathlib.Path(folder) / "runtime").parent
            command = [PYTHON, "-B", str(TESTS / "clones.py"), str(runtime), *arguments]
            variables = {"LD_PRELOAD": library, "PYTHONPATH": str(packages.installed(REQUIREMENTS))}
            output = subprocess.run(command, env=variables, check=True, stdout=subprocess.PIPE).stdout
        return json.loads(output)

    def test_clones_repeat_each_other_unless_renewed(self):
        one, other = self.clones()
        self.assertEqual(one, other, "or the next test proves nothing")
        self.assertGreaterEqual(len(one), 7)

    def test_renewed_clones_differ(self):
        one, other = self.clones("renew")
        for name in one:
            self.assertNotEqual(one[name], other[name], name)


class Restore(TestCase):
    def test_initialization_after_a_restore_is_random_too(self):
        source = "import random\nfirst = random.getrandbits(64)\ndef handler(*_): return first"
        numbers = set()
        for _ in range(2):
            program = self.start({"app.py": source})
            program.init(flags=RESTORED)
            numbers.add(program.invoke({}))
        self.assertEqual(len(numbers), 2)

    def test_generators_are_renewed_before_the_handler(self):
        program = self.function(
            "import random\ndef handler(event, context):\n"
            "    number = random.getrandbits(64)\n"
            "    random.seed(1)\n"
            "    return number"
        )
        program.invoke({})
        unchanged = program.invoke({})
        self.assertEqual(program.invoke({}), unchanged, "the states are really the same")
        restored = [program.invoke({}, flags=RESTORED) for _ in range(2)]
        self.assertEqual(len({unchanged, *restored}), 3)

    def test_what_the_machine_is_called_changes_with_it(self):
        program = self.function(
            "import os\ndef handler(event, context):\n"
            "    return [os.environ['KEY'], os.environ['TZ'], context.log_stream_name]",
            environment={"KEY": "old"},
        )
        renamed = {"environment": {"KEY": "new"}, "log_stream_name": "after"}
        self.assertEqual(program.invoke({}, RESTORED, restore=renamed), ["new", ":UTC", "after"])
        self.assertEqual(program.invoke({}), ["new", ":UTC", "after"])

    def test_callbacks_are_called_after_a_restore_and_only_then(self):
        program = self.function(
            "import mayfly, os, random\n"
            "calls = []\n"
            "random.seed(1)\n"
            "known = random.random()\n"
            "random.seed(1)\n"
            "@mayfly.on_restore\n"
            "def first(): calls.append(['first', random.random() == known])\n"
            "mayfly.on_restore(lambda: calls.append(['second', os.environ.get('KEY')]))\n"
            "def handler(*_): return [callable(first), *calls]",
        )
        self.assertEqual(program.invoke({}), [True])
        expected = [True, ["first", False], ["second", "new"]]
        self.assertEqual(program.invoke({}, RESTORED, restore={"environment": {"KEY": "new"}}), expected)
        self.assertEqual(program.invoke({}), expected)

    def test_a_callback_that_fails_is_called_again_before_any_other_event(self):
        program = self.function(
            "import mayfly\n"
            "calls = 0\n"
            "@mayfly.on_restore\n"
            "def renew():\n"
            "    global calls\n"
            "    calls += 1\n"
            "    if calls < 3: raise OSError('not yet')\n"
            "def handler(*_): return calls"
        )
        for flags in (RESTORED, 0):
            error = program.error({}, flags=flags)
            self.assertEqual((error["errorType"], error["errorMessage"]), ("OSError", "not yet"))
            expected = [frame(program, 7, "renew", "if calls < 3: raise OSError('not yet')")]
            self.assertEqual(error["stackTrace"], expected)
        self.assertEqual([program.invoke({}) for _ in range(2)], [3, 3])

    def test_snap_start_hooks_are_called(self):
        hooks = (
            "before, after = [], []\n"
            "def get_before_snapshot(): return before\n"
            "def get_after_restore(): return after\n"
            "def register_before_snapshot(function, *args, **kwargs): before.append((function, args, kwargs))\n"
            "def register_after_restore(function, *args, **kwargs): after.append((function, args, kwargs))\n"
        )
        source = (
            "from snapshot_restore_py import *\n"
            "calls = []\n"
            "for number in (1, 2): register_before_snapshot(calls.append, number)\n"
            "register_after_restore(calls.insert, 0, 'after')\n"
            "def handler(*_): return calls"
        )
        program = self.start({"app.py": source, "snapshot_restore_py.py": hooks})
        program.init()
        self.assertEqual(program.invoke({}), [2, 1])
        for expected in (["after", 2, 1], ["after", "after", 2, 1]):
            self.assertEqual(program.invoke({}, RESTORED), expected)

    def test_mayfly_is_importable_and_silent_elsewhere(self):
        with tempfile.TemporaryDirectory() as folder:
            install(pathlib.Path(folder))
            code = "import mayfly\n@mayfly.on_restore\ndef renew(): raise SystemExit(1)\nprint(mayfly.__doc__ != '')"
            alone = pathlib.Path(folder) / "alone"
            alone.mkdir()
            (alone / "mayfly.py").write_text((pathlib.Path(folder) / "mayfly.py").read_text())
            result = subprocess.run([PYTHON, "-B", "-c", code], cwd=alone, check=True, stdout=subprocess.PIPE)
        self.assertEqual(result.stdout, b"True\n")

    def test_randomness_is_the_kernels(self):
        program = self.function(
            "import os, secrets, uuid, random\ndef handler(*_):\n"
            "    os.urandom(8), secrets.token_hex(8), uuid.uuid4(), random.seed()\n"
            "    paths = ['/proc/self/fd/' + name for name in os.listdir('/proc/self/fd')]\n"
            "    return [os.readlink(path) for path in paths if os.path.lexists(path)]"
        )
        self.assertNotIn("random", str(program.invoke({})), "a device is kept open to be read instead")
