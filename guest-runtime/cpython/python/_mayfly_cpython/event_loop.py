"""From an event to its answer.

```text
            INIT ok
 waiting ───────────► ready ──┐ INVOKE: call the handler
    │                   ▲─────┘
    └── INIT failed ─► failed   INVOKE: the error of INIT again
```

What is raised and is an `Exception` is answered. Anything else (`SystemExit`, `KeyboardInterrupt`) ends the process, as it
ends any Python program; the platform makes an answer of its status.
"""

import os
import sys

import _mayfly
from _mayfly import handler, logs, warming
from _mayfly_cpython import heap, marshalling
from _mayfly_cpython.device import (
    BUFFER_BYTES,
    ERROR,
    INIT,
    INIT_OK,
    INVOKE,
    PAYLOAD_BYTES_MAX,
    RESPONSE,
    TOO_LARGE,
    EventDevice,
    pack,
)

# Names a module that brings its own event loop, in the function's environment; see `runtime_api`.
_INTERFACE = "MAYFLY_RUNTIME_INTERFACE"


def serve(device):
    """Serves events until there are no more, or until something is raised that ends the process."""
    _warm()
    function = _Function(device)
    while _serve_one(device, function):
        pass


def _serve_one(device, function):
    event = device.next()
    if event is None:
        return False
    kind, payload = function.initialize(event) if event.kind == INIT else function.invoke(event)
    _flush_output()
    device.send(kind, payload)
    return True


class _Function:
    """What came of INIT: a handler or an error."""

    def __init__(self, device):
        self._device = device
        self._handler = None
        self._error = None

    def initialize(self, event):
        meta = marshalling.decode(event.meta)
        interface = meta["environment"].get(_INTERFACE)
        try:
            if interface:
                from _mayfly_cpython import runtime_api

                runtime_api.prepare(interface, meta, event.is_restored)
            else:
                self._handler = _mayfly.initialize(meta, event.is_restored)
        except Exception as exception:
            self._error = marshalling.encode(_mayfly.describe(exception, "", False))
            return ERROR, self._error
        if interface:
            runtime_api.run(interface, self._device, meta)
        return INIT_OK, b""

    def invoke(self, event):
        if self._error is not None:
            return ERROR, self._error
        meta = marshalling.decode(event.meta)
        is_marshalling = False
        try:
            context = _mayfly.begin(meta, event.is_restored)
            result = self._handler(marshalling.decode(event.payload), context)
            is_marshalling = True
            payload = marshalling.encode(result)
        except Exception as exception:
            return ERROR, marshalling.encode(_mayfly.describe(exception, meta["request_id"], is_marshalling))
        return (RESPONSE, payload) if len(payload) <= PAYLOAD_BYTES_MAX else (ERROR, TOO_LARGE)


def _flush_output():
    """Writes what is left of an unfinished line. A function may have replaced or closed its streams: no error of theirs may
    become one of the invocation."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


def _warm():
    """Serves events of no meaning, so that all code on the way to the handler and back is as it will be in the snapshot."""
    events, answers = os.pipe(), os.pipe()
    device = EventDevice(events[0], answers[1])
    function = _Function(device)
    function._handler = lambda event, context: event
    for _ in range(warming.ROUNDS):
        os.write(events[1], pack(INVOKE, 0, warming.META, b'{"a": [1, "b"]}'))
        _serve_one(device, function)
        os.read(answers[0], BUFFER_BYTES)
    for fd in (*events, *answers):
        os.close(fd)
    _warm_initialization()
    _mayfly.warm()
    heap.settle()


def _warm_initialization():
    """Initializes functions that do nothing, and leaves nothing of them."""
    variables, folder, path, seen = dict(os.environ), os.getcwd(), sys.path[:], set(sys.path_importer_cache)
    task_root = f"/tmp/mayfly-warming-{os.getpid()}"
    os.mkdir(task_root)
    names = [f"_mayfly_warming_{number}" for number in range(warming.ROUNDS)]
    for name in names:
        with open(f"{task_root}/{name}.py", "w") as file:
            file.write("import json\n\ndef handler(event, context):\n    return json.dumps({'a': f'{event}'})\n")
    for name in names:
        handler.prepare({"environment": {**variables, "LAMBDA_TASK_ROOT": task_root}}, False)
        logs.install(None, None)
        handler.find(f"{name}.handler")
        del sys.modules[name]
        os.unlink(f"{task_root}/{name}.py")
        sys.path[:] = path
    # Nor what was found in /opt/python: layers come later, and an empty directory can have the same date.
    for place in set(sys.path_importer_cache) - seen:
        del sys.path_importer_cache[place]
    handler.set_environment(variables)
    os.chdir(folder)
    os.rmdir(task_root)
