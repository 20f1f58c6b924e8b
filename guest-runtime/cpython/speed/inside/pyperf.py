"""Stands in for `pyperf`, which runs benchmarks in many processes: here they run where they are, and the best time counts."""

import argparse
import asyncio
import json
import sys
from time import perf_counter

# A value is measured over at least so long, and so often.
VALUE_S = 0.1
VALUES = 5


def python_implementation():
    return sys.implementation.name


class Runner:
    def __init__(self, **_settings):
        self.metadata = {}
        self.argparser = argparse.ArgumentParser()
        self.args = None

    def parse_args(self, args=None):
        if self.args is None:
            self.args = self.argparser.parse_args(args)
        return self.args

    def bench_func(self, name, function, *arguments, inner_loops=1, **_settings):
        def timed(loops):
            repeat = range(loops)
            started = perf_counter()
            for _ in repeat:
                function(*arguments)
            return perf_counter() - started

        self._measure(name, timed, inner_loops)

    def bench_time_func(self, name, function, *arguments, inner_loops=1, **_settings):
        self._measure(name, lambda loops: function(loops, *arguments), inner_loops)

    def bench_async_func(self, name, function, *arguments, inner_loops=1, **_settings):
        async def timed(loops):
            started = perf_counter()
            for _ in range(loops):
                await function(*arguments)
            return perf_counter() - started

        self._measure(name, lambda loops: asyncio.run(timed(loops)), inner_loops)

    def bench_command(self, name, *_arguments):
        raise NotImplementedError(f"{name} needs a second process")

    def _measure(self, name, timed, inner_loops):
        loops = 1
        while (elapsed := timed(loops)) < VALUE_S:
            loops = max(loops * 2, int(loops * VALUE_S / elapsed) if elapsed > 0 else 0)
        best = min(timed(loops) for _ in range(VALUES))
        print("RESULT " + json.dumps({"name": name, "seconds": best / loops / inner_loops}), flush=True)
