"""Starts the program with a function and talks to it through a Unix socket in place of the event device."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

INIT, INVOKE = 1, 2
INIT_OK, RESPONSE, ERROR = 1, 2, 3
RESTORED = 1

GUEST_RUNTIME = pathlib.Path(__file__).resolve().parents[2]
# Both go to /opt/mayfly/python of an image.
SOURCES = (GUEST_RUNTIME / "cpython/python", GUEST_RUNTIME / "python")
PYTHON = os.environ.get("MAYFLY_TEST_PYTHON", sys.executable)
# Nothing here takes as long; a test that does hangs.
PATIENCE_S = 60
REQUEST_ID = "00000000-0000-4000-8000-000000000001"
_HEADER = struct.Struct("<4I")


class Gone(Exception):
    """The program ended instead of answering."""


class FunctionError(Exception):
    """The answer was an error; its only argument is the error object."""


def install(folder):
    """Puts the files of the runtime where an image has them."""
    for source in SOURCES:
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "bootstrap.py"


class Program:
    """A running program with `files` in its task root, or with that of a package. It waits for its first event."""

    def __init__(self, files, variables=(), task_root=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-cpython-"))
        self.task_root = task_root or self.folder / "task"
        self.task_root.mkdir(exist_ok=True)
        for name, content in files.items():
            path = self.task_root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        bootstrap = install(self.folder / "runtime")
        with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
            listener.bind(str(self.folder / "device"))
            listener.listen()
            outputs = [stack.enter_context(open(self.folder / name, "wb")) for name in ("stdout", "stderr")]
            self.process = subprocess.Popen(
                [PYTHON, "-E", "-s", "-B", "-X", "utf8", str(bootstrap)],
                env={"MAYFLY_EVENT_DEVICE": str(self.folder / "device"), **dict(variables)},
                stdin=subprocess.DEVNULL,
                stdout=outputs[0],
                stderr=outputs[1],
            )
            listener.settimeout(PATIENCE_S)
            try:
                self.device = listener.accept()[0]
            except TimeoutError:
                raise AssertionError(f"the program does not connect: {self.stderr()}") from None
        self.device.settimeout(PATIENCE_S)

    def init_meta(self, handler, environment=()):
        variables = {"LAMBDA_TASK_ROOT": str(self.task_root), "TZ": ":UTC", "AWS_LAMBDA_FUNCTION_NAME": "f"}
        return {
            "handler": handler,
            "environment": {**variables, **dict(environment)},
            "function_name": "f",
            "function_version": "7",
            "memory_limit_in_mb": "128",
            "log_group_name": "/aws/lambda/f",
            "log_stream_name": "before",
        }

    def init(self, handler="app.handler", environment=(), flags=0):
        return self.send(INIT, self.init_meta(handler, environment), flags=flags)

    def invoke(self, event, flags=0, **meta):
        return json.loads(self.invoke_bytes(json.dumps(event).encode(), flags, **meta))

    def invoke_bytes(self, payload, flags=0, **meta):
        return self.send(INVOKE, {**invocation_meta(), **meta}, payload, flags)

    def error(self, event, **meta):
        """The error object that answers the event."""
        return error_of(self.invoke, event, **meta)

    def send(self, kind, meta, payload=b"", flags=0):
        """Sends a record and waits for the answer: its payload if it is one of success."""
        text = json.dumps(meta).encode()
        self.device.sendall(_HEADER.pack(kind, flags, len(text), len(payload)) + text + payload)
        answer, flags, meta_bytes, payload_bytes = _HEADER.unpack(self._receive(_HEADER.size))
        if (flags, meta_bytes) != (0, 0):
            raise AssertionError(f"an answer with flags {flags} and {meta_bytes} bytes of meta")
        payload = self._receive(payload_bytes)
        if answer == ERROR:
            raise FunctionError(json.loads(payload))
        if answer != {INIT: INIT_OK, INVOKE: RESPONSE}[kind]:
            raise AssertionError(f"answer {answer} to {kind}")
        return payload

    def _receive(self, count):
        data = bytearray()
        while len(data) < count:
            try:
                part = self.device.recv(min(count - len(data), 1 << 20))
            except ConnectionResetError:
                part = b""
            if not part:
                raise Gone
            data += part
        return bytes(data)

    def stdout(self):
        return (self.folder / "stdout").read_text()

    def stderr(self):
        return (self.folder / "stderr").read_text()

    def exit_status(self):
        """Waits for the end of the program, which must have a reason to end."""
        return self.process.wait(PATIENCE_S)

    def close(self):
        self.device.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)


def invocation_meta():
    """The meta of an ordinary invocation."""
    return {
        "request_id": REQUEST_ID,
        "deadline_ms": int(time.time() * 1000) + 3_000,
        "invoked_function_arn": "arn:aws:lambda:us-east-1:123456789012:function:f",
        "client_context": None,
        "identity": None,
        "trace_id": None,
        "tenant_id": None,
    }


def error_of(call, *arguments, **keywords):
    """The error object with which the call is answered."""
    try:
        answer = call(*arguments, **keywords)
    except FunctionError as error:
        return error.args[0]
    raise AssertionError(f"no error but {answer!r}")


class TestCase(unittest.TestCase):
    """A test that starts programs, and stops them at its end."""

    maxDiff = None

    def start(self, files, **more):
        program = Program(files, **more)
        self.addCleanup(program.close)
        return program

    def function(self, source, environment=(), **more):
        """A program with this `app.py`, initialized."""
        program = self.start({"app.py": source}, **more)
        program.init(environment=environment)
        return program


def frame(program, line, function, source):
    """The frame of a stack trace in `app.py`."""
    return f'  File "{program.task_root}/app.py", line {line}, in {function}\n    {source}\n'
