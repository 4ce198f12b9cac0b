"""What is measured. Each case runs once on one side and answers {figure: value}.

The names of figures say their unit after the last space.
"""

import json
import tempfile
import time

import processes

BATCHES = (8, 16, 32)
PROMPTS = (128, 512)
REQUESTS = {1: 3, 4: 8, 16: 32, 32: 64}  # of one served run, by concurrency
SYSTEM_PROMPT = 512
GROWTH_ROUNDS = 6


class Context:
    """What a case needs to know: the side, its file, the load client, limits."""

    def __init__(self, side, model, shape, client, work, timeout, concurrency, threads):
        self.side, self.model, self.shape = side, model, shape
        self.client, self.work, self.timeout = client, work, timeout
        self.concurrency, self.threads = concurrency, threads
        self.seed = 1

    def server(self, **sizes):
        return self.side.serve(self.model, self.shape, self.work / f"{self.side.name}.log", self.timeout,
                               **sizes)

    def load(self, address, concurrency, requests, shared=0, unique=128, output=64):
        """One closed loop by the load client: its JSON summary. New prompts every time."""
        self.seed += 1
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            processes.run([self.client, "--protocol", self.side.protocol, "--addr", address,
                           "--concurrency", concurrency, "--requests", requests,
                           "--prompt-tokens", shared + unique, "--shared-prefix", shared,
                           "--output-tokens", output, "--temperature", 0, "--seed", self.seed,
                           "--timeout", self.timeout, "--json", file.name], self.timeout)
            summary = json.load(file)
        if summary["errors"]:
            raise processes.Failed(f"{self.side.name}: requests failed: {summary['errors']}")
        expected = requests * output
        got = round(summary["output_tokens_per_second"] * summary["seconds"])
        if got != expected:
            raise processes.Failed(f"{self.side.name}: {got} tokens instead of {expected}")
        return summary


def decode(context):
    rates, peak = context.side.decode(context.model, [1], context.timeout)
    return {"decode, 1 stream tok/s": rates[1], "peak memory, decode MiB": peak / 2**20}


def prefill(context):
    rates, _ = context.side.prefill(context.model, PROMPTS, context.timeout)
    return {f"prefill {length} tok/s": rates[length] for length in PROMPTS}


def batch(context):
    rates, peak = context.side.decode(context.model, list(BATCHES), context.timeout)
    figures = {f"decode, {streams} streams tok/s": rates[streams] for streams in BATCHES}
    return {**figures, "peak memory, batched decode MiB": peak / 2**20}


def _served(context, shared):
    figures = {}
    name = f"served, {shared} of {shared + 128} shared" if shared else "served"
    with context.server() as (server, address):
        for concurrency in context.concurrency:
            context.load(address, min(concurrency, 2), 2, output=4)  # warm
            requests = REQUESTS.get(concurrency, 2 * concurrency)
            s = context.load(address, concurrency, requests, shared)
            at = f"{name}, {concurrency} concurrent"
            figures[f"{at} tok/s"] = s["output_tokens_per_second"]
            figures[f"{at}, TTFT p50 ms"] = s["ttft_ms"]["p50"]
            figures[f"{at}, TTFT p99 ms"] = s["ttft_ms"]["p99"]
            figures[f"{at}, time per token p50 ms"] = s["tpot_ms"]["p50"]
            figures[f"{at}, ITL p99 ms"] = s["itl_ms"]["p99"]
            if shared:
                figures[f"{at}, prompt from cache %"] = 100 * s["cached_share"]
        figures[f"peak memory, {name} MiB"] = processes.status_bytes(server.pid, "VmHWM") / 2**20
    return figures


def serve(context):
    return _served(context, 0)


def shared(context):
    return _served(context, SYSTEM_PROMPT)


def _first_token(context, settle=False):
    """Seconds from starting the server to the first token of a 16-token prompt."""
    with context.server() as (server, address):
        context.load(address, 1, 1, unique=16, output=1)
        times = time.monotonic() - server.begun, server.ready_after
        if settle:
            context.side.settle(context.timeout)
        return times


def start(context):
    # Now the files are in the page cache, and what is kept for later starts is kept.
    _first_token(context, settle=True)
    warm, warm_ready = _first_token(context)
    resident = processes.drop_page_cache([context.model, *context.side.kept_files()])
    cold, _ = _first_token(context)
    figures = {"start to first token, warm s": warm, "start to ready, warm s": warm_ready}
    # Where the kernel would not let go of the files there is no cold start to time.
    if resident < 0.05:
        figures["start to first token, cold s"] = cold
    return figures


def neighbour(context):
    rates, _ = context.side.decode(context.model, [1], context.timeout)
    with processes.busy_neighbour(core=context.threads - 1):
        beside, _ = context.side.decode(context.model, [1], context.timeout)
    return {"decode beside a busy neighbour tok/s": beside[1],
            "of the rate without it %": 100 * beside[1] / rates[1]}


def growth(context):
    """With a KV cache so small that the first round has written all of it."""
    slots, tokens = 4, 256
    with context.server(slots=slots, context=tokens) as (server, address):
        def resident():
            return processes.status_bytes(server.pid, "VmRSS") / 2**20

        def load():
            context.load(address, slots, 3 * slots, output=16)
        before = resident()
        load()
        first = resident()
        for _ in range(GROWTH_ROUNDS):
            load()
        return {"memory when ready MiB": before, "memory after the first round MiB": first,
                f"growth over {GROWTH_ROUNDS} more rounds MiB": resident() - first}


CASES = {"decode": decode, "prefill": prefill, "batch": batch, "serve": serve, "shared": shared,
         "start": start, "neighbour": neighbour, "growth": growth}
NEEDS_SERVER = {"serve", "shared", "start", "growth"}
LESS_IS_BETTER = {"ms", "s", "MiB"}  # units
