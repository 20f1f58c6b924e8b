"""CPython's own regression tests, on the host and in guests: `python3 guest-runtime/cpython/regression [NAME…]`.

Each module of tests (`python -m test -v NAME`) runs in a process of the host and in a guest of its own, with the same interpreter.
Results are kept: a run that was stopped goes on where it was, and a test that failed is run again only with `--again`. The report is
`docs/cpython-compatibility.md`. Ends with status 1 if less than 95 % of the modules that count pass.

What counts is decided by the host: what passes there with every way to a second process closed (`no_processes.c`).
The network is never used, as is the tests' own default.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shlex
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))

import report  # noqa: E402
import running  # noqa: E402


def main():
    options = parse()
    results = Results(options.results, options.again)
    runner = running.Runner(options.python, options.work, options.timeout)
    modules = options.names or runner.modules()
    if options.subset:
        modules = [name for name in modules if name in (HERE / "subset.txt").read_text().split()]
    def passes(module, *places):
        return running.PASSED in results.outcomes(module, *places)

    def on_host_alone(module):
        results.add(module, running.HOST_ALONE, runner.on_host_alone)

    def on_host(module):
        if not passes(module, running.HOST_ALONE):
            results.add(module, running.HOST, runner.on_host)

    def in_guest(module):
        # What passes on no host tells nothing.
        if passes(module, running.HOST_ALONE, running.HOST):
            results.add(module, running.GUEST, lambda name: runner.in_guest(name, shlex.split(options.guest)))

    # What counts comes first.
    steps = [] if options.guest_only else [on_host_alone]
    steps += [in_guest] if options.guest else []
    steps += [] if options.guest_only else [on_host]
    steps += [in_guest] if options.guest else []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as executor:
        for step in steps:
            for _ in executor.map(step, modules):
                pass
    share = report.write(options.report, results.of(modules), runner.version())
    return 0 if share is None or share >= 0.95 else 1


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these modules (default: all)")
    parser.add_argument("--subset", action="store_true", help="only those of subset.txt: a few minutes")
    parser.add_argument("--python", default=sys.executable, help="the interpreter on the host; it must have the package `test`")
    parser.add_argument("--guest", help="the command that runs Python's arguments in a guest; without it, the host only")
    parser.add_argument("--guest-only", action="store_true", help="with the results of the host that are there")
    parser.add_argument("--again", metavar="PLACE", nargs="*", default=[], help="forget failures there: host, host-alone, guest")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="modules at the same time")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for a module")
    parser.add_argument("--work", type=pathlib.Path, default=REPOSITORY / "target/regression")
    parser.add_argument("--results", type=pathlib.Path, help="kept results (default: in --work)")
    parser.add_argument("--report", type=pathlib.Path, default=REPOSITORY / "docs/cpython-compatibility.md")
    options = parser.parse_args()
    options.results = options.results or options.work / "results.jsonl"
    return options


class Results:
    """One line of JSON per module and place; of several the last counts."""

    def __init__(self, path, again):
        self._path = path
        self._lock = threading.Lock()
        self._results = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        for line in path.read_text().splitlines() if path.exists() else ():
            result = json.loads(line)
            if not (result["place"] in again and result["outcome"] != running.PASSED):
                self._results[result["module"], result["place"]] = result
            else:
                self._results.pop((result["module"], result["place"]), None)

    def outcomes(self, module, *places):
        found = (self._results.get((module, place)) for place in places)
        return {result["outcome"] for result in found if result}

    def add(self, module, place, call):
        if (module, place) in self._results:
            return
        result = {"module": module, "place": place, **call(module)}
        with self._lock:
            self._results[module, place] = result
            with open(self._path, "a") as file:
                file.write(json.dumps(result) + "\n")
            print(f"{place:<11}{module:<32}{result['seconds']:>6.1f} s  {result['outcome']}", flush=True)

    def of(self, modules):
        """{module: {place: result}}"""
        return {
            module: {place: self._results[module, place] for place in running.PLACES if (module, place) in self._results}
            for module in modules
        }


if __name__ == "__main__":
    sys.exit(main())
