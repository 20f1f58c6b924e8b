"""Lambda's Runtime API on loopback, served from the event device, for clients that bring an event loop of their own.

A function asks for it by the environment variable MAYFLY_RUNTIME_INTERFACE, which names a module in its package or layers:
`awslambdaric`, AWS's client as it is on PyPI, or whatever else speaks this API. The module is run on the main thread, as
`python -m NAME HANDLER` would; a thread beside it serves.

```text
                 GET next: INIT_OK              read: an event
 initializing ───────────────────► waiting ──────────────────► invoking
      │                               ▲                            │
      │ POST init/error: ERROR        └────────────────────────────┘
      ▼                                GET next, after POST response or error
   failed: every event is answered with it
```

The first `next` is what tells that INIT is done: its answer is written then, and the `read` after it is where the machine is
snapshotted, with the client in the middle of its request.
"""

import gc
import http.server
import importlib.util
import json
import os
import re
import runpy
import signal
import sys
import threading

import _mayfly
from _mayfly import errors, handler, restore
from _mayfly_cpython import marshalling
from _mayfly_cpython.device import ERROR, INIT_OK, PAYLOAD_BYTES_MAX, RESPONSE, TOO_LARGE

_PREFIX = "/2018-06-01/runtime/"
# Of what comes with an event: a header each, where there is something to say.
_HEADERS = (
    ("Lambda-Runtime-Aws-Request-Id", "request_id"),
    ("Lambda-Runtime-Deadline-Ms", "deadline_ms"),
    ("Lambda-Runtime-Invoked-Function-Arn", "invoked_function_arn"),
    ("Lambda-Runtime-Trace-Id", "trace_id"),
    ("Lambda-Runtime-Client-Context", "client_context"),
    ("Lambda-Runtime-Cognito-Identity", "identity"),
    ("Lambda-Runtime-Aws-Tenant-Id", "tenant_id"),
)


def prepare(name, meta, restored):
    """Readies the process for the module. Raises a Fault if it is not there."""
    handler.prepare(meta, restored)
    try:
        if importlib.util.find_spec(name):
            return
    except (ImportError, ValueError):
        pass
    message = f"Unable to import module '{name}', the runtime interface: it is in neither the package nor the layers"
    raise errors.Fault("Runtime.ImportModuleError", message)


def run(name, device, meta):
    """Runs the module until it ends, which ends the process."""
    server = _Server(device)
    os.environ["AWS_LAMBDA_RUNTIME_API"] = "127.0.0.1:%d" % server.server_port
    # A signal for the process is the function's: none may end up with a thread that it does not know of.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    threading.Thread(target=server.serve_forever, name="mayfly-runtime-api", daemon=True).start()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if importlib.util.find_spec("runtime_client"):
        _unlock_posts(server)
    sys.argv = [name, meta["handler"]]
    runpy.run_module(name, run_name="__main__", alter_sys=True)
    sys.exit()


def _unlock_posts(server):
    """Has the posts of AWS's native client made by calls.

    It lets go of the interpreter's lock while it waits for an event, and holds it while it posts an answer: no server in the
    same process could ever take that. Everything else of the client is left as it is.
    """
    import runtime_client

    def post(kind, request_id, data):
        if not server.answer(kind, request_id, data.encode() if isinstance(data, str) else data):
            raise RuntimeError("Failed to post invocation response")

    runtime_client.post_invocation_result = lambda request_id, data, *_: post(RESPONSE, request_id, data)
    runtime_client.post_error = lambda request_id, data, *_: post(ERROR, request_id, data)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, device):
        super().__init__(("127.0.0.1", 0), _Request)
        self._device = device
        # Held from a request's check of the state to its end, a wait for an event included.
        self._lock = threading.Lock()
        self._is_initializing = True
        self._request_id = None

    def next(self):
        """The next event's meta and payload; None if one is being handled."""
        with self._lock:
            if self._request_id is not None:
                return None
            if self._is_initializing:
                self._complete_initialization()
            while True:
                event = self._receive()
                meta = marshalling.decode(event.meta)
                try:
                    _mayfly.begin(meta, event.is_restored)
                except Exception as exception:
                    # Of a callback for restores. The client never hears of the event.
                    error = _mayfly.describe(exception, meta["request_id"], False)
                    self._device.send(ERROR, marshalling.encode(error))
                    continue
                self._request_id = meta["request_id"]
                return meta, bytes(event.payload)

    def answer(self, kind, request_id, payload):
        """Takes the answer to the event being handled. Whether there is one, and it is this."""
        with self._lock:
            if request_id != self._request_id:
                return False
            if len(payload) > PAYLOAD_BYTES_MAX:
                kind, payload = ERROR, TOO_LARGE
            self._device.send(kind, payload)
            self._request_id = None
            return True

    def fail(self, error):
        """Takes the error of INIT, and answers it to every event. Returns only if this was the wrong moment."""
        with self._lock:
            if not self._is_initializing:
                return
            # The client means to end the process once it is answered. The platform wants an instance that tells its error.
            while True:
                self._device.send(ERROR, error)
                self._receive()

    def _complete_initialization(self):
        restore.prepare()
        gc.collect()
        gc.freeze()
        self._device.send(INIT_OK)
        self._is_initializing = False

    def _receive(self):
        event = self._device.next()
        if event is None:
            os._exit(0)
        return event

    def handle_error(self, request, client_address):
        # A client that went away. What is wrong with the device must end the process.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            sys.excepthook(*sys.exc_info())
            os._exit(1)


class _Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one piece.
    wbufsize = -1

    def do_GET(self):
        if self.path != _PREFIX + "invocation/next":
            return self._refuse(404, "ResourceNotFound", f"There is no {self.path}")
        event = self.server.next()
        if event is None:
            return self._refuse(403, "InvalidStateTransition", "State transition from Running to Ready is not allowed")
        meta, payload = event
        headers = [("Content-Type", "application/json")]
        for name, key in _HEADERS:
            value = meta.get(key)
            if value is not None:
                headers.append((name, value if isinstance(value, str) else json.dumps(value)))
        self._send(200, headers, payload)

    def do_POST(self):
        body = self._body()
        if self.path == _PREFIX + "init/error":
            self.server.fail(body)
            return self._refuse(403, "InvalidStateTransition", "Initialization is over")
        match = re.fullmatch(re.escape(_PREFIX) + "invocation/([^/]+)/(response|error)", self.path)
        if match is None:
            return self._refuse(404, "ResourceNotFound", f"There is no {self.path}")
        if not self.server.answer(RESPONSE if match[2] == "response" else ERROR, match[1], body):
            return self._refuse(400, "InvalidRequestID", "Invalid request ID")
        if len(body) > PAYLOAD_BYTES_MAX:
            return self._refuse(413, "RequestEntityTooLarge", "Exceeded maximum allowed payload size (6291556 bytes).")
        self._send(202, [("Content-Type", "application/json")], b'{"status":"OK"}\n')

    def _body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return bytes(body)

    def _refuse(self, status, kind, message):
        body = json.dumps({"errorMessage": message, "errorType": kind}).encode()
        self._send(status, [("Content-Type", "application/json")], body)

    def _send(self, status, headers, body):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """The log is the function's."""
