"""AWS's own client, installed by pip once and kept."""

import os
import pathlib
import shutil
import subprocess
import sys

from driver import GUEST_RUNTIME, PYTHON, SOURCES

SOURCE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(GUEST_RUNTIME / "cpython/wheels"))
import package  # noqa: E402

REQUIREMENTS = b"awslambdaric==4.2.2\nsimplejson==4.3.0\nsnapshot-restore-py==1.0.0\n"


def folder():
    """Where it is, with all it needs."""
    return package.Builder(PYTHON, GUEST_RUNTIME.parent / "target/wheels").installed(REQUIREMENTS)


def install(task_root):
    """Puts it into a package."""
    shutil.copytree(folder(), task_root, dirs_exist_ok=True)


def run(command):
    """The output of a process that can import it and the runtime."""
    path = os.pathsep.join(map(str, (folder(), *SOURCES)))
    return subprocess.run(command, env={"PYTHONPATH": path}, check=True, stdout=subprocess.PIPE).stdout
