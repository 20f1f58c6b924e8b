"""Real wheels at real work: `python3 guest-runtime/cpython/wheels [--host] [--endpoint URL] [NAME…]`.

Each folder here is a function with an event and the answer to it. They are packaged with their requirements (pip, from PyPI),
and then answer on the host (`--host`: the same program and the same event loop, under the host's kernel), or in guests of a
running `mayfly serve`. Prints a table; ends with status 1 if an answer is not the expected one.

`expected.json` is as in `functions/README.md`; `expected-host.json`, where there is one, is for `--host`.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

import lambda_api  # noqa: E402
import package  # noqa: E402
import packages  # noqa: E402
from matching import differences  # noqa: E402


def main():
    options = parse()
    names = options.names or sorted(path.parent.name for path in HERE.glob("*/handler.py"))
    more = packages.AWS_CLIENT if options.interface == "awslambdaric" else b""
    builder = package.Builder(options.python, options.work, more)
    runtime = options.runtime or builder.runtime
    print(f"{runtime}, {'host' if options.host else options.endpoint}, {options.repeat} invocations each\n")
    print(f"{'function':<18}{'package':>10}{'deploy':>10}{'first':>10}{'others':>10}  result")
    failed = []
    for name in names:
        try:
            folder = builder.build(HERE / name)
            if options.host:
                row = on_host(name, folder, options)
            else:
                row = in_guest(name, folder, runtime, options)
        except Exception as error:
            row = {"problem": f"{type(error).__name__}: {error}"}
        if row.get("problem"):
            failed.append(name)
        print_row(name, row)
    print(f"\n{len(names) - len(failed)} of {len(names)} as expected" + (f"; not: {', '.join(failed)}" if failed else ""))
    if options.json:
        options.json.write_text(json.dumps({"runtime": runtime, "failed": failed, "functions": names}))
    return 1 if failed else 0


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    parser.add_argument("--host", action="store_true", help="on the host, without a guest")
    parser.add_argument("--endpoint", default=os.environ.get("MAYFLY_ENDPOINT", "http://127.0.0.1:9000"), help="address of `mayfly serve`")
    parser.add_argument("--python", default=sys.executable, help="the interpreter to package for")
    parser.add_argument("--runtime", help="name of the runtime (default: that of --python)")
    parser.add_argument("--state", choices=("reuse", "fresh"), default="reuse", help="tag mayfly:state")
    parser.add_argument("--memory", type=int, default=512, help="MemorySize")
    parser.add_argument("--repeat", type=int, default=3, help="invocations of each")
    parser.add_argument("--interface", help="MAYFLY_RUNTIME_INTERFACE of the functions: awslambdaric")
    parser.add_argument("--json", type=pathlib.Path, help="write names and failures there")
    parser.add_argument("--work", type=pathlib.Path, default=REPOSITORY / "target/wheels", help="where packages are kept")
    return parser.parse_args()


def on_host(name, folder, options):
    """The row of a function that the program of the runtime serves as an ordinary process."""
    import driver

    driver.PYTHON = options.python
    # As for a guest: LANG decides nothing, libraries find their temporary files, and no proxy of the host is in the way.
    program = driver.Program({}, task_root=folder, variables={"HOME": tempfile.gettempdir(), "PATH": os.environ["PATH"]})
    try:
        variables = {"MAYFLY_RUNTIME_INTERFACE": options.interface} if options.interface else {}
        _, deploy_ms = timed(program.init, "handler.handler", variables)
        return check(name, lambda event: program.invoke_bytes(event), options, deploy_ms, folder)
    finally:
        log = program.stdout() + program.stderr()
        program.close()
        if log:
            print(log, file=sys.stderr)


def in_guest(name, folder, runtime, options):
    """The row of a function that is deployed, invoked and deleted."""
    api = lambda_api.Client(options.endpoint)
    function = f"wheels-{name}"
    configuration = {
        "Runtime": runtime,
        "Handler": "handler.handler",
        "MemorySize": options.memory,
        "Timeout": 60,
        "Tags": {"mayfly:state": options.state},
    }
    if options.interface:
        configuration["Environment"] = {"Variables": {"MAYFLY_RUNTIME_INTERFACE": options.interface}}
    archive = package.archive(folder)
    api.delete(function)
    _, deploy_ms = timed(api.create, function, archive, configuration)
    row = check(name, lambda event: api.invoke(function, event), options, deploy_ms, folder)
    row["package_bytes"] = len(archive)
    api.delete(function)
    return row


def check(name, invoke, options, deploy_ms, folder):
    event = (HERE / name / "event.json").read_bytes()
    expected = HERE / name / "expected.json"
    if options.host and (HERE / name / "expected-host.json").exists():
        expected = HERE / name / "expected-host.json"
    expected = json.loads(expected.read_text())
    row = {"deploy_ms": deploy_ms, "package_bytes": package.size(folder), "times_ms": []}
    for _ in range(options.repeat):
        answer, elapsed_ms = timed(invoke, event)
        row["times_ms"].append(elapsed_ms)
        problems = differences(expected, json.loads(answer))
        if problems:
            row["problem"] = "\n".join(problems)
            break
    return row


def timed(function, *arguments):
    started = time.perf_counter()
    result = function(*arguments)
    return result, (time.perf_counter() - started) * 1000


def print_row(name, row):
    if "deploy_ms" not in row:
        print(f"{name:<58}  {row['problem']}")
        return
    first, *others = row["times_ms"]
    median = sorted(others)[len(others) // 2] if others else first
    figures = f"{row['package_bytes'] / 1e6:>7.1f} MB{row['deploy_ms']:>7.0f} ms{first:>7.1f} ms{median:>7.1f} ms"
    print(f"{name:<18}{figures}  {row.get('problem') or 'ok'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
