"""One module of tests, in a process of the host or in a guest, and what came of it."""

import os
import pathlib
import re
import resource
import signal
import subprocess
import tempfile
import time

HOST, HOST_ALONE, GUEST = PLACES = ("host", "host-alone", "guest")
# Outcomes. A module whose every test is skipped says nothing about anything.
PASSED, FAILED, SKIPPED, CRASHED, TIMED_OUT = "passed", "failed", "skipped", "crashed", "timed out"

# What the runner of a guest leaves to it for its own end, once the tests have had their time.
GRACE_S = 30
# Status of `mayfly runtime run` for a program whose time was up.
RUNNERS_TIME_OUT = 124
# A test that goes astray on the host must not take it along.
HOST_MEMORY_BYTES = 4 << 30
# Lines kept of a problem's description.
REASONS_MAX = 5


class Runner:
    """Runs modules with one interpreter."""

    def __init__(self, python, work, timeout_s):
        self._python = python
        self._work = work
        self._timeout_s = timeout_s
        work.mkdir(parents=True, exist_ok=True)
        self._library = work / "no_processes.so"
        source = pathlib.Path(__file__).with_name("no_processes.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O", "-o", self._library, source], check=True)

    def version(self):
        return self._output("-c", "import sys; print(sys.version.split()[0])").strip()

    def modules(self):
        return self._output("-m", "test", "--list-tests").split()

    def on_host(self, module):
        return self._on_host(module, {})

    def on_host_alone(self, module):
        return self._on_host(module, {"LD_PRELOAD": str(self._library)})

    def in_guest(self, module, command):
        """`command` is what runs the interpreter of a runtime with arguments."""
        return run([*command, "-m", "test", "-v", module], self._timeout_s + GRACE_S)

    def _on_host(self, module, variables):
        with tempfile.TemporaryDirectory() as folder:
            environment = {"PATH": os.environ["PATH"], "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", **variables}
            return run([self._python, "-m", "test", "-v", module], self._timeout_s, environment, folder, HOST_MEMORY_BYTES)

    def _output(self, *arguments):
        return subprocess.run([self._python, *arguments], check=True, capture_output=True, text=True).stdout


def run(command, timeout_s, environment=None, folder=None, memory_bytes=None):
    started = time.monotonic()
    with tempfile.TemporaryFile() as output:
        # A session of its own: what a test leaves behind ends with it.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=folder,
            start_new_session=True,
            preexec_fn=lambda: _start(memory_bytes),
        )
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        output.seek(0)
        text = output.read().decode(errors="replace")
    return {"seconds": round(time.monotonic() - started, 1), "status": status, **judge(status, text)}


def _start(memory_bytes):
    # A shell's background job ignores it, and so would the tests of it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def judge(status, text):
    """The outcome, the tests that failed, and what was said of them."""
    failed = sorted(set(re.findall(r"^(?:ERROR|FAIL): (.+?)(?: \[.*| \(.*=.*\))?$", text, re.MULTILINE)))
    if status in (None, RUNNERS_TIME_OUT):
        outcome = TIMED_OUT
    elif re.search(r"^1 test (?:skipped|run no tests)", text, re.MULTILINE) and not failed:
        outcome = SKIPPED
    elif status == 0:
        outcome = PASSED
    elif re.search(r"^1 test (?:failed|altered)|Tests? result: FAILURE|^Result: FAILURE", text, re.MULTILINE):
        outcome = FAILED
    else:
        outcome = CRASHED
    result = {"outcome": outcome}
    if outcome not in (PASSED, SKIPPED):
        result["tests"] = failed
        result["reasons"] = reasons(text, outcome)
    return result


def reasons(text, outcome):
    """The most frequent last lines of tracebacks; and what the guest's kernel said, or the end of what was printed."""
    counts = {}
    for line in re.findall(r"^[A-Za-z_.]*(?:Error|Exception|Exit|Interrupt|Warning|[a-z]Failed)\b.*$", text, re.MULTILINE):
        line = line[:160]
        counts[line] = counts.get(line, 0) + 1
    lines = sorted(counts, key=lambda line: -counts[line])[:REASONS_MAX]
    lines += sorted(set(re.findall(r"^\[mayfly\] .*", text, re.MULTILINE)))[:REASONS_MAX]
    if outcome in (CRASHED, TIMED_OUT) or not lines:
        lines += [line[:160] for line in text.strip().splitlines()[-REASONS_MAX:]]
    return lines
