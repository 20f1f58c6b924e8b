"""asyncio: a server and many clients on loopback, timers, cancellation, queues, threads, and a handler for a Unix socket."""

import asyncio
import os
import tempfile


def handler(event, context):
    return asyncio.run(main(event["clients"]))


async def main(clients):
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        echoes = await asyncio.gather(*(ask(port, n) for n in range(clients)))
    return {
        "echoes": sum(echoes),
        "unix": await unix(),
        "timeout": await timeout(),
        "order": await timers(),
        "queue": await queue(),
        "thread": await asyncio.to_thread(sum, range(1000)),
        "executor": await asyncio.get_running_loop().run_in_executor(None, len, "abc"),
    }


async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()


async def ask(port, n):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    total = 0
    for i in range(10):
        writer.write(b"%d a\n" % (n * i))
        number, letter = (await reader.readline()).split()
        assert letter == b"A"
        total += int(number)
    writer.close()
    await writer.wait_closed()
    return total


async def unix():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        async with await asyncio.start_unix_server(serve, path, limit=1 << 20):
            reader, writer = await asyncio.open_unix_connection(path, limit=1 << 20)
            writer.write(b"x" * 100_000 + b"\n")
            answer = await reader.readexactly(100_001)
            writer.close()
    return len(answer)


async def timeout():
    event = asyncio.Event()
    try:
        await asyncio.wait_for(event.wait(), 0.01)
    except asyncio.TimeoutError:
        return "timed out"


async def timers():
    order = []
    loop = asyncio.get_running_loop()
    for delay in (0.03, 0.01, 0.02):
        loop.call_later(delay, order.append, delay)
    await asyncio.sleep(0.06)
    return order


async def queue():
    things = asyncio.Queue(2)

    async def put():
        for i in range(100):
            await things.put(i)
        await things.put(None)

    task = asyncio.create_task(put())
    total = 0
    while (thing := await things.get()) is not None:
        total += thing
    await task
    return total
