"""Threads: pools, queues, locks, conditions, timers; and a busy one that must not starve another."""

import concurrent.futures
import queue
import threading
import time


def handler(event, context):
    return {
        "pipeline": pipeline(event["items"]),
        "pool": pool(event["items"]),
        "counter": counter(),
        "barrier": barrier(),
        "timer": timer(),
        "timeouts": timeouts(),
        "busy": busy(),
        "local": local(),
        "many": many(),
        "exception": exception(),
        "left": threading.active_count() - len([t for t in threading.enumerate() if t.daemon]),
    }


def pipeline(items):
    work, done = queue.Queue(4), queue.SimpleQueue()

    def worker():
        while (item := work.get()) is not None:
            done.put(item * item)

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for item in range(items):
        work.put(item)
    for _ in threads:
        work.put(None)
    for thread in threads:
        thread.join()
    return sum(done.get() for _ in range(items))


def pool(items):
    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        futures = [executor.submit(pow, 2, n) for n in range(items)]
        return sum(future.result() for future in concurrent.futures.as_completed(futures)) == 2**items - 1


def counter():
    lock, total = threading.Lock(), 0

    def add():
        nonlocal total
        for _ in range(1000):
            with lock:
                total += 1

    run(add, 8)
    return total


def barrier():
    gate, order = threading.Barrier(3), []

    def pass_through():
        order.append("before")
        gate.wait()
        order.append("after")

    run(pass_through, 3)
    return order


def timer():
    fired = threading.Event()
    threading.Timer(0.01, fired.set).start()
    return fired.wait(10)


def timeouts():
    lock = threading.Lock()
    lock.acquire()
    started = time.monotonic()
    answers = [lock.acquire(timeout=0.02), threading.Event().wait(0.02), threading.Condition(lock).wait(0.02)]
    return [*answers, time.monotonic() - started >= 0.06]


def busy():
    """The main thread gets on while another one never waits."""
    stop = False

    def spin():
        while not stop:
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    for _ in range(5):
        time.sleep(0.001)
    stop = True
    thread.join()
    return "stopped"


def local():
    own, seen = threading.local(), []
    own.value = "main"

    def set_own():
        seen.append(hasattr(own, "value"))
        own.value = "other"

    run(set_own, 2)
    return [own.value, *seen]


def many():
    running = threading.Semaphore(0)
    go = threading.Event()

    def wait():
        running.release()
        go.wait()

    threads = [threading.Thread(target=wait) for _ in range(50)]
    for thread in threads:
        thread.start()
    for _ in threads:
        running.acquire()
    go.set()
    for thread in threads:
        thread.join()
    return len(threads)


def exception():
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        try:
            executor.submit(int, "x").result()
        except ValueError as error:
            return str(error)


def run(target, count):
    threads = [threading.Thread(target=target) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
