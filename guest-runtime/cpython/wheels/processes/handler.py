"""There is one process. Every way to a second one fails at once, with an error that a Python programmer understands."""

import asyncio
import concurrent.futures
import multiprocessing
import os
import subprocess


def handler(event, context):
    ways = (fork, run, shell, popen, spawn, worker, forked_worker, process_pool, in_asyncio, replace)
    return {**{way.__name__: attempt(way) for way in ways}, "self": itself()}


def attempt(way):
    try:
        way()
    except OSError as error:
        return "OSError" if error.errno else repr(error)
    except concurrent.futures.process.BrokenProcessPool:
        return "BrokenProcessPool"
    return "worked"


def fork():
    if os.fork() == 0:
        os._exit(0)
    os.wait()


def run():
    subprocess.run(["/bin/true"], check=True)


def shell():
    subprocess.check_output("echo hello", shell=True)


def popen():
    with os.popen("true") as pipe:
        pipe.read()


def spawn():
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


def worker():
    join(multiprocessing.get_context("spawn").Process(target=print))


def forked_worker():
    join(multiprocessing.get_context("fork").Process(target=print))


def join(process):
    process.start()
    process.join()


def process_pool():
    with concurrent.futures.ProcessPoolExecutor(1) as executor:
        executor.submit(len, "abc").result()


def in_asyncio():
    async def start():
        process = await asyncio.create_subprocess_exec("/bin/true")
        await process.wait()

    asyncio.run(start())


def replace():
    # Something that cannot be executed anywhere, so that the test survives where programs can be.
    os.execv("/dev/null", ["null"])


def itself():
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return [os.getpid() > 0, os.getppid() >= 0, os.getpgrp() >= 0]
