"""The table of modules that do not pass, `docs/cpython-compatibility.md`."""

import pathlib

from running import FAILED, GUEST, HOST, HOST_ALONE, PASSED, SKIPPED

# Why a module fails in guests, as a sentence: "MODULE: REASON" a line. What is not in there is described by its errors.
REASONS = pathlib.Path(__file__).with_name("reasons.txt")


def write(path, results, version):
    """Writes the report; returns the share of the modules that count that pass in guests, None if none has been run."""
    groups = {"counts": [], "processes": [], "skipped": [], "host": []}
    for module, places in results.items():
        groups[_group(places)].append(module)
    run = [module for module in groups["counts"] if GUEST in results[module]]
    passed = [module for module in run if results[module][GUEST]["outcome"] in (PASSED, SKIPPED)]
    share = len(passed) / len(run) if run else None
    lines = _head(version, groups, run, passed)
    lines += _failing(results, [module for module in run if module not in passed])
    lines += _with_processes(results, groups["processes"])
    lines += _left_out(groups)
    path.write_text("\n".join(lines) + "\n")
    if share is not None:
        print(f"{len(passed)} of {len(run)} modules that count pass in guests: {share:.1%}")
    print(f"{len(groups['counts'])} count, of {len(results)}; see {path}")
    return share


def _group(places):
    outcomes = {place: result["outcome"] for place, result in places.items()}
    if PASSED == outcomes.get(HOST_ALONE):
        return "counts"
    if PASSED == outcomes.get(HOST):
        return "processes"
    return "skipped" if SKIPPED in (outcomes.get(HOST), outcomes.get(HOST_ALONE)) else "host"


def _head(version, groups, run, passed):
    total = sum(map(len, groups.values()))
    lines = [
        "# CPython's regression tests in a guest",
        "",
        "Written by `python3 guest-runtime/cpython/regression`; do not edit. Each module of tests ran as `python -m test -v MODULE`, on the",
        "host and in a guest of its own, with the same interpreter.",
        "",
        f"CPython {version}, {total} modules:",
        "",
        "| modules | |",
        "|---|---|",
        f"| **count**: pass on the host with neither a second process nor the network | {len(groups['counts'])} |",
    ]
    if run:
        lines.append(f"| of these, ran in guests | {len(run)} |")
        lines.append(f"| of these, **pass in guests** | {len(passed)}, {len(passed) / len(run):.1%} |")
    lines += [
        f"| need a second process (`fork`, `subprocess`, `multiprocessing`) for some of their tests | {len(groups['processes'])} |",
        f"| skipped on the host: another system, or a resource that is off, such as the network | {len(groups['skipped'])} |",
        f"| fail on this host | {len(groups['host'])} |",
        "",
    ]
    return lines


def _failing(results, modules):
    if not modules:
        return []
    lines = ["## Modules that fail in guests", "", "| module | in guests | tests that fail | why |", "|---|---|---|---|"]
    for module in modules:
        lines.append(_row(module, results[module][GUEST], set()))
    return [*lines, ""]


def _with_processes(results, modules):
    """Modules that partly need processes: what fails in guests and does not fail on the host for want of them."""
    run = [module for module in modules if GUEST in results[module]]
    if not run:
        return []
    rows, good = [], 0
    for module in run:
        guest, alone = results[module][GUEST], results[module].get(HOST_ALONE, {})
        known = set(alone.get("tests", ()))
        # A module that ends before its tests, or in the middle of them, on both.
        is_same = guest["outcome"] == alone.get("outcome") and guest["outcome"] != FAILED
        if guest["outcome"] in (PASSED, SKIPPED) or is_same or (
            guest["outcome"] == FAILED and known.issuperset(guest["tests"])
        ):
            good += 1
        else:
            rows.append(_row(module, guest, known))
    lines = [
        "## Modules that need processes for some of their tests",
        "",
        f"In {good} of {len(run)} no test fails in guests but those that fail on the host without processes. The others:",
        "",
    ]
    if rows:
        lines += ["| module | in guests | further tests that fail | why |", "|---|---|---|---|", *rows, ""]
    return lines


def _row(module, result, known):
    tests = list(dict.fromkeys(name.split(" ")[0] for name in result.get("tests", ()) if name not in known))
    shown = ", ".join(f"`{name}`" for name in tests[:6]) + (f" and {len(tests) - 6} more" if len(tests) > 6 else "")
    why = _known_reasons().get(module) or "; ".join(f"`{line}`" for line in result.get("reasons", ())[:3])
    return f"| `{module}` | {result['outcome']} | {shown} | {why.replace('|', chr(92) + '|')} |"


def _known_reasons():
    if not REASONS.exists():
        return {}
    pairs = (line.split(": ", 1) for line in REASONS.read_text().splitlines() if ": " in line)
    return {module: reason for module, reason in pairs}


def _left_out(groups):
    titles = {
        "processes": "Left out of the count: they need a second process",
        "skipped": "Left out: skipped on the host",
        "host": "Left out: they fail on this host, or are there for it to run out of something",
    }
    lines = []
    for group, title in titles.items():
        if groups[group]:
            lines += [f"## {title}", "", ", ".join(f"`{module}`" for module in groups[group]), ""]
    return lines
