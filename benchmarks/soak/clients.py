"""The clients of the soak: chats over gRPC and HTTP that read well, slowly, or go away.

One asyncio loop holds them all. Each client asks, reads as it is made to, notes how that
ended, and asks again until the time is up.
"""

import asyncio
import collections
import dataclasses
import json
import random

import grpc

GOOD, SLOW, LEAVER = "good", "slow", "leaver"
# Channels of gRPC hold at most 128 calls; one client address at most 256 connections.
CALLS_PER_CHANNEL = 100
CONNECTIONS_PER_ADDRESS = 200


@dataclasses.dataclass
class Plan:
    """What one client is like."""
    number: int
    protocol: str  # grpc or http
    manner: str
    seed: int


def plan_clients(streams, http_share, slow_share, leaver_share, seed):
    rng = random.Random(seed)
    plans = []
    for number in range(streams):
        kind = rng.random()
        manner = SLOW if kind < slow_share else LEAVER if kind < slow_share + leaver_share else GOOD
        protocol = "http" if rng.random() < http_share else "grpc"
        plans.append(Plan(number, protocol, manner, rng.randrange(2**31)))
    return plans


class Tally:
    """Counts of how requests ended, and the first errors in words."""

    def __init__(self):
        self.ended = collections.Counter()
        self.tokens = 0
        self.errors = collections.Counter()

    def error(self, plan, text):
        self.ended["error"] += 1
        if len(self.errors) < 50 or text in self.errors:
            self.errors[f"{plan.protocol} {plan.manner}: {text}"] += 1


def body(rng, max_tokens):
    question = f"What is {rng.randrange(100)}+{rng.randrange(100)}?"
    return question, rng.randrange(max_tokens // 4, max_tokens + 1), rng.randrange(2**31)


class GrpcSide:
    """Chats over a few channels."""

    def __init__(self, address, streams):
        from client import Client, request
        self.request = request
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        count = max(1, -(-streams // CALLS_PER_CHANNEL))
        self.channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(count)]
        self.stubs = [Client(channel).chat for channel in self.channels]

    async def chat(self, plan, rng, max_tokens, pause):
        """(tokens, whether the answer was complete)"""
        question, tokens, seed = body(rng, max_tokens)
        message = self.request(question, max_completion_tokens=tokens, ignore_eos=True, seed=seed)
        call = self.stubs[plan.number % len(self.stubs)].StreamChatCompletion(message, timeout=1800)
        leave_after = rng.randrange(1, 6)
        chunks, usage = 0, 0
        async for chunk in call:
            chunks += 1
            if chunk.HasField("usage"):
                usage = chunk.usage.completion_tokens
            if plan.manner == LEAVER and chunks >= leave_after:
                call.cancel()
                return 0, False
            if plan.manner == SLOW:
                await asyncio.sleep(pause())
        if usage != tokens:
            raise ValueError(f"{usage} tokens instead of {tokens}")
        return usage, True

    async def close(self):
        for channel in self.channels:
            await channel.close()


class HttpSide:
    """Chats over one connection each, as server-sent events."""

    def __init__(self, address):
        self.host, _, port = address.rpartition(":")
        self.port = int(port)

    async def chat(self, plan, rng, max_tokens, pause):
        question, tokens, seed = body(rng, max_tokens)
        text = json.dumps({"messages": [{"role": "user", "content": question}], "stream": True,
                           "max_completion_tokens": tokens, "ignore_eos": True, "seed": seed,
                           "stream_options": {"include_usage": True}})
        source = f"127.0.0.{2 + plan.number // CONNECTIONS_PER_ADDRESS}"
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=1 << 16,
                                                       local_addr=(source, 0))
        try:
            writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self.host}\r\n"
                         f"Content-Type: application/json\r\nConnection: close\r\n"
                         f"Content-Length: {len(text)}\r\n\r\n{text}".encode())
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise ValueError(head.partition(b"\r\n")[0].decode() + " " +
                                 (await reader.read(300)).decode(errors="replace"))
            leave_after = rng.randrange(1, 6)
            events, usage, done = 0, 0, False
            async for line in reader:
                if not line.startswith(b"data: "):
                    if line.startswith(b"event: error"):
                        raise ValueError((await reader.readline()).decode(errors="replace"))
                    continue
                events += 1
                if line.startswith(b"data: [DONE]"):
                    done = True
                    continue
                counts = json.loads(line[6:]).get("usage")
                usage = counts["completion_tokens"] if counts else usage
                if plan.manner == LEAVER and events >= leave_after:
                    return 0, False
                if plan.manner == SLOW:
                    await asyncio.sleep(pause())
            if not done or usage != tokens:
                raise ValueError(f"ended early: {usage} tokens instead of {tokens}, done {done}")
            return usage, True
        finally:
            writer.transport.abort() if plan.manner == LEAVER else writer.close()

    async def close(self):
        pass


async def run_client(plan, side, tally, max_tokens, stop):
    rng = random.Random(plan.seed)

    def pause():
        return rng.uniform(0.05, 1.0)

    await asyncio.sleep(rng.uniform(0, 5))  # not all in one moment
    while not stop.is_set():
        try:
            tokens, complete = await side.chat(plan, rng, max_tokens, pause)
            tally.tokens += tokens
            tally.ended["answered" if complete else "left"] += 1
        except grpc.aio.AioRpcError as error:
            tally.error(plan, f"{error.code().name} {error.details()}")
            await asyncio.sleep(1)
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            tally.error(plan, f"{type(error).__name__} {error}")
            await asyncio.sleep(1)
