"""Speed inside: `python3 guest-runtime/cpython/speed --guest 'mayfly runtime run python3.11' [NAME…]`.

Benchmarks of pyperformance (PyPI) and micro benchmarks that are mostly system calls, on the host and in a guest with the same
interpreter, in turns. Of each the best of all rounds counts. Prints a table, the geometric mean of the ratios, and what is above the
bounds of `docs/spec.md`; `--json` writes them as data. It reports and never fails for a time.
"""

import argparse
import json
import math
import pathlib
import shlex
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
sys.dont_write_bytecode = True
PYPERFORMANCE = "pyperformance==1.14.0"
# Those that need nothing but the standard library, and no second process. A benchmark with arguments runs as each.
BENCHMARKS = {
    **dict.fromkeys(
        "async_generators base64 chaos comprehensions coroutines deepcopy deltablue fannkuch float gc_collect gc_traversal "
        "generators go hexiom json_dumps json_loads logging mdp meteor_contest nbody nqueens pathlib pidigits pprint pyflate "
        "raytrace regex_compile regex_dna regex_effbot regex_v8 richards scimark spectral_norm sqlite_synth telco "
        "typing_runtime_protocols unpack_sequence xml_etree".split(),
        ((),),
    ),
    "async_tree": (("none",), ("cpu_io_mixed",)),
    "pickle": (("pickle",), ("unpickle",), ("--pure-python", "pickle")),
}
MEAN_BOUND, ONE_BOUND = 1.05, 1.25


def main():
    options = parse()
    inside = assemble(options.work)
    guest = [*shlex.split(options.guest), "--mount", f"{inside}=/bench", "--"]
    best = {}
    for round_number in range(options.rounds):
        for label, script, arguments in chosen(options.names):
            for place, command in (("host", [options.python]), ("guest", guest)):
                folder = inside if place == "host" else pathlib.Path("/bench")
                for name, seconds in run([*command, "-s", "-B", str(folder / script), *arguments]):
                    times = best.setdefault(label if name is None else f"{label}: {name}", {})
                    times[place] = min(seconds, times.get(place, math.inf))
            print(f"round {round_number + 1} of {options.rounds}: {label}", file=sys.stderr, flush=True)
    report(best, options.json)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these benchmarks (`micro`: those of system calls)")
    parser.add_argument("--guest", required=True, help="the command that runs Python's arguments in a guest, without `--`")
    parser.add_argument("--python", default=sys.executable, help="the same interpreter on the host")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, default=REPOSITORY / "target/speed")
    return parser.parse_args()


def assemble(work):
    """A folder with everything that a benchmark needs, for the host and to be mounted."""
    inside = work / PYPERFORMANCE.replace("==", "-")
    if not inside.exists():
        making = work / "making"
        shutil.rmtree(making, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--target", making]
        subprocess.run([*pip, PYPERFORMANCE], check=True)
        (making / "pyperformance/data-files/benchmarks").rename(inside)
        shutil.rmtree(making)
    # Beside each script, for that is where it looks first.
    for folder in (inside, *inside.glob("bm_*")):
        shutil.copy(HERE / "inside/pyperf.py", folder)
    shutil.copy(HERE / "inside/micro.py", inside)
    return inside


def chosen(names):
    for name, variants in BENCHMARKS.items():
        if not names or name in names:
            for arguments in variants:
                yield " ".join((name, *arguments)), f"bm_{name}/run_benchmark.py", arguments
    if not names or "micro" in names:
        yield "micro", "micro.py", ()


def run(command):
    """(name, seconds) of each benchmark of a script; the name is None if it is the only one."""
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    lines = [line[len("RESULT ") :] for line in result.stdout.splitlines() if line.startswith("RESULT ")]
    if result.returncode != 0 or not lines:
        print(f"{shlex.join(command)}: status {result.returncode}\n{(result.stdout + result.stderr)[-2000:]}", file=sys.stderr)
    found = [json.loads(line) for line in lines]
    return [(one["name"] if len(found) > 1 else None, one["seconds"]) for one in found]


def report(best, path):
    rows = [(name, times["host"], times["guest"]) for name, times in best.items() if len(times) == 2]
    print("| benchmark | host | guest | guest / host |\n|---|---|---|---|")
    for name, host, guest in rows:
        print(f"| {name} | {scaled(host)} | {scaled(guest)} | {guest / host:.2f} |")
    whole = [(name, guest / host) for name, host, guest in rows if not name.startswith("micro")]
    for name in sorted(name for name, times in best.items() if len(times) < 2):
        print(f"\n{name}: ran only on {', '.join(best[name])}")
    if whole:
        mean = math.exp(sum(math.log(ratio) for _, ratio in whole) / len(whole))
        above = ", ".join(f"{name} {ratio:.2f}" for name, ratio in whole if ratio > ONE_BOUND)
        print(f"\ngeometric mean of {len(whole)}: {mean:.3f} (aim: {MEAN_BOUND}); above {ONE_BOUND}: {above or 'none'}")
    if path:
        path.write_text(json.dumps({name: {"host_s": host, "guest_s": guest} for name, host, guest in rows}, indent=2) + "\n")


def scaled(seconds):
    for unit, factor in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


if __name__ == "__main__":
    main()
