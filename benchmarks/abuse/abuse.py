#!/usr/bin/env python3
"""What each abuse of the main port costs the others, and the daemon's memory.

Starts a daemon with API keys, lets eight clients chat over gRPC and HTTP, and attacks it without
a key: each abuse in turn, for some seconds, between two stretches in which the same attacker is
busy with a server of his own that only closes (he costs processor time wherever he attacks), several times over.
Prints for each the others' p99 (median over the rounds of the ratio to the stretches around
it), the growth of the resident memory, and how long after the end a new client is served. Writes
a dated record; exits with 1 if p99 more than doubles, memory grows by more than 8 MiB, a client
sees an error, or a new one waits longer than a second. Attacks from ever new addresses are told,
not judged.

    INFERD_BINARY=build/release/bin/inferd build/venv/bin/python benchmarks/abuse/abuse.py

Clients, attacker and daemon share the machine, so it must be idle otherwise.
"""

import argparse
import asyncio
import datetime
import json
import multiprocessing
import pathlib
import random
import statistics
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "benchmarks"), str(pathlib.Path(__file__).parent)]

import daemon as daemon_module  # noqa: E402

daemon_module.generate_protos()

import attacks  # noqa: E402
import client as client_module  # noqa: E402
import grpc  # noqa: E402
import record  # noqa: E402

MAX_RATIO = 2.0
MAX_GROWTH_MIB = 8.0
MAX_BACK_SECONDS = 1.0
DESCRIPTORS = 1024
ANSWER_TOKENS = 8


class Chats:
    """Clients that ask one short question after the other; notes how long each took."""

    def __init__(self, address, secret):
        self.address, self.secret = address, secret
        self.times = []  # (end, seconds)
        self.errors = []
        self.stop = False

    async def over_grpc(self, number):
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(self.address, options=options) as channel:
            chat = client_module.Client(channel).chat
            metadata = [("authorization", f"Bearer {self.secret}")]

            async def ask(seed):
                request = client_module.request("What is 2+3?", max_completion_tokens=ANSWER_TOKENS,
                                                ignore_eos=True, seed=seed)
                await chat.CreateChatCompletion(request, metadata=metadata, timeout=60)
            await self.loop(ask, number)

    async def over_http(self, number):
        host, _, port = self.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))

        async def ask(seed):
            body = json.dumps({"messages": [{"role": "user", "content": "What is 2+3?"}], "ignore_eos": True,
                               "max_completion_tokens": ANSWER_TOKENS, "seed": seed})
            writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                         f"Authorization: Bearer {self.secret}\r\nContent-Type: application/json\r\n"
                         f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise ValueError(head.partition(b"\r\n")[0].decode())
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
        await self.loop(ask, number)
        writer.close()

    async def loop(self, ask, number):
        rng = random.Random(number)
        while not self.stop:
            # Below what the machine can do: what is asked is the latency, not the throughput.
            await asyncio.sleep(rng.uniform(0, 0.1))
            begin = time.monotonic()
            try:
                await ask(rng.randrange(2**31))
            except (grpc.RpcError, OSError, ValueError, asyncio.IncompleteReadError) as error:
                self.errors.append(f"{type(error).__name__} {error}"[:200])
                return
            end = time.monotonic()
            self.times.append((end, end - begin))

    def p99_ms(self, begin, end):
        times = sorted(seconds for at, seconds in self.times if begin <= at < end)
        return 1e3 * times[len(times) * 99 // 100] if times else float("inf"), len(times)


def served_again(address):
    """Seconds until a new client gets an answer."""
    begin = time.monotonic()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() - begin < 30:
        try:
            with opener.open(f"http://{address}/health", timeout=1) as answer:
                if answer.status == 200:
                    break
        except OSError:
            pass
        time.sleep(0.005)
    return time.monotonic() - begin


async def attack(name, running, nice, seconds, port=None):
    """(begin, end, most resident bytes, connections, bytes sent, seconds until served again)"""
    context = multiprocessing.get_context("spawn")
    stop, sent = context.Event(), context.Array("q", 2)
    host, _, own_port = running.address.rpartition(":")
    port = port or own_port
    process = context.Process(target=attacks.run, args=(name, nice, host, int(port), stop, sent))
    process.start()
    while sent[0] == 0 and process.is_alive():  # its start is not what is measured
        await asyncio.sleep(0.01)
    begin = time.monotonic()
    most = 0
    while time.monotonic() - begin < seconds:
        await asyncio.sleep(0.1)
        most = max(most, running.rss_bytes())
    end = time.monotonic()
    stop.set()
    back = await asyncio.to_thread(served_again, running.address)
    await asyncio.to_thread(process.join, 30)
    return begin, end, most, sent[0], sent[1], back


async def measure(running, secret, options):
    chats = Chats(running.address, secret)
    work = [asyncio.create_task(chats.over_grpc(i)) for i in range(4)]
    work += [asyncio.create_task(chats.over_http(4 + i)) for i in range(4)]
    await asyncio.sleep(2)
    for name in options.only:  # allocates once what it will ever need
        await attack(name, running, options.nice, 1)
    rows = {name: {"ratios": [], "quiet": [], "abused": [], "growth": [], "back": [], "connections": 0,
                   "bytes": 0, "seconds": 0.0, "samples": 0} for name in options.only}

    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    sink = context.Process(target=attacks.sink, args=(options.nice, queue), daemon=True)
    sink.start()
    sink_port = queue.get()

    async def beside(name):
        begin, end, *_ = await attack(name, running, options.nice, options.seconds, sink_port)
        return chats.p99_ms(begin, end)[0]

    for round_number in range(options.rounds):
        for name in options.only:
            before = await beside(name)
            rss = running.rss_bytes()
            begin, end, most, connections, sent, back = await attack(name, running, options.nice, options.seconds)
            abused, samples = chats.p99_ms(begin, end)
            await asyncio.sleep(0.5)
            after = await beside(name)
            row = rows[name]
            row["ratios"].append(abused / ((before + after) / 2))
            row["quiet"].append((before + after) / 2)
            row["abused"].append(abused)
            row["growth"].append((most - rss) / 2**20)
            row["back"].append(back)
            row["connections"] += connections
            row["bytes"] += sent
            row["seconds"] += end - begin
            row["samples"] += samples
            print(f"round {round_number + 1} {name}: p99 {abused:.1f} ms, beside it {row['quiet'][-1]:.1f} ms, "
                  f"{row['growth'][-1]:+.1f} MiB, served again after {1e3 * back:.0f} ms", file=sys.stderr)
    sink.kill()
    chats.stop = True
    await asyncio.gather(*work)
    return rows, chats.errors


def report(rows, errors, options):
    problems = [f"a client saw an error: {text}" for text in errors]
    lines = [f"# Abuse, {datetime.date.today()}", "", f"- device: {record.cpu_model()}",
             f"- commit: {record.commit()}",
             f"- eight clients ask for {ANSWER_TOKENS} tokens of the demo model again and again, half over gRPC, half over"
             f" HTTP; one attacker without a key; {options.rounds} rounds of {options.seconds:g} s each, each between"
             " two in which he attacks a server of his own; medians over the rounds", "",
             "| abuse | sent a second: connections, MB | p99 beside it, ms | p99 abused, ms | ratio | most memory, MiB"
             " | served again, ms |", "|---|---:|---:|---:|---:|---:|---:|"]
    for name, row in rows.items():
        ratio, growth = statistics.median(row["ratios"]), statistics.median(row["growth"])
        back = max(row["back"])
        lines.append(f"| {name} | {row['connections'] / row['seconds']:,.0f}, {row['bytes'] / row['seconds'] / 1e6:,.1f} |"
                     f" {statistics.median(row['quiet']):.1f} | {statistics.median(row['abused']):.1f} | {ratio:.2f} |"
                     f" {growth:+.1f} | {1e3 * back:.0f} |")
        if name in attacks.BEYOND:
            continue
        if ratio > MAX_RATIO:
            problems.append(f"{name}: p99 at {ratio:.2f} times")
        if growth > MAX_GROWTH_MIB:
            problems.append(f"{name}: memory grew by {growth:.1f} MiB")
        if back > MAX_BACK_SECONDS:
            problems.append(f"{name}: a new client waited for {back:.1f} s")
    lines += ["", "Holds." if not problems else "Does not hold:\n\n" + "\n".join(f"- {p}" for p in problems), ""]
    return "\n".join(lines), problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--nice", type=int, default=19, help="of the attacker, who has a machine of his own in earnest")
    parser.add_argument("--only", nargs="+", choices=attacks.NAMES + attacks.BEYOND,
                        default=attacks.NAMES + attacks.BEYOND, metavar="ABUSE")
    parser.add_argument("--out", type=pathlib.Path, help="a folder for the record; default: only printed")
    options = parser.parse_args()
    made = daemon_module.run("key", "new", "--id", "client")
    secret, lines = made.stdout.split("\n", 1)
    with tempfile.TemporaryDirectory() as folder:
        keys = pathlib.Path(folder) / "keys.yaml"
        keys.write_text("keys:\n" + lines)
        # Fewer descriptors than connections are allowed, so that they can run out.
        flags = ["--api-keys-file", str(keys), "--server.max_connections=65535", "--kv-cache-size=64MiB"]
        with daemon_module.Daemon(*flags, prefix=["prlimit", f"--nofile={DESCRIPTORS}"]) as running:
            rows, errors = asyncio.run(measure(running, secret, options))
            if running.process.poll() is not None:
                errors.append("the daemon ended")
    text, problems = report(rows, errors, options)
    print(text)
    if options.out:
        (options.out / f"{datetime.date.today()}-abuse.md").write_text(text)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
