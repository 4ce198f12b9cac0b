#!/usr/bin/env python3
"""A thousand streams on the demo model for ten minutes, and what is left of them.

Starts a daemon, offers chats over gRPC and HTTP at once (some clients read slowly, some go away),
samples memory and the engine's books, and at the end holds them to what must be: no error, every
block returned, accepted = finished + failed + cancelled, memory flat. Writes a dated record; exits
with 1 when something does not hold.

    INFERD_BINARY=build/release/bin/inferd build/venv/bin/python benchmarks/soak/soak.py --minutes 10
"""

import argparse
import asyncio
import datetime
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "benchmarks"), str(pathlib.Path(__file__).parent)]

import daemon as daemon_module  # noqa: E402

daemon_module.generate_protos()

import clients  # noqa: E402
import record  # noqa: E402

SAMPLE_SECONDS = 5
# Of the resident memory, over the last two thirds of the run.
MAX_SLOPE_MIB_PER_MINUTE = 2.0


def slope(points):
    """Least squares of (minutes, MiB)."""
    n = len(points)
    mean_x = sum(x for x, _ in points) / n
    mean_y = sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def total(series, name, **labels):
    return sum(value for key, value in series.items()
               if key.partition("{")[0] == name and all(f'{k}="{v}"' in key for k, v in labels.items()))


async def sample(running, samples, stop, started):
    while not stop.is_set():
        series = await asyncio.to_thread(running.metrics)
        samples.append({
            "minutes": (time.monotonic() - started) / 60,
            "rss_mib": running.rss_bytes() / 2**20,
            "live": total(series, "inferd_requests_live"),
            "blocks_used": total(series, "inferd_kv_cache_blocks", state="used"),
            "fds": total(series, "process_open_fds"),
        })
        try:
            await asyncio.wait_for(stop.wait(), SAMPLE_SECONDS)
        except asyncio.TimeoutError:
            pass


async def offer(running, options):
    plans = clients.plan_clients(options.streams, options.http_share, options.slow_share,
                                 options.leaver_share, options.seed)
    num_grpc = sum(plan.protocol == "grpc" for plan in plans)
    sides = {"grpc": clients.GrpcSide(running.address, num_grpc),
             "http": clients.HttpSide(running.address)}
    tally, samples, stop = clients.Tally(), [], asyncio.Event()
    started = time.monotonic()
    work = [asyncio.create_task(clients.run_client(plan, sides[plan.protocol], tally,
                                                   options.max_tokens, stop)) for plan in plans]
    sampler = asyncio.create_task(sample(running, samples, stop, started))
    await asyncio.sleep(options.minutes * 60)
    stop.set()
    await asyncio.gather(sampler, *work)
    seconds = time.monotonic() - started
    for side in sides.values():
        await side.close()
    return plans, tally, samples, seconds


def settle(running):
    """The books once the last request is gone."""
    end = time.monotonic() + 30
    while True:
        series = running.metrics()
        if total(series, "inferd_requests_live") == 0 and \
                total(series, "inferd_kv_cache_blocks", state="used") == 0:
            return series
        if time.monotonic() > end:
            return series
        time.sleep(0.2)


def judge(tally, series, tail, alive):
    """What does not hold, in words."""
    accepted = total(series, "inferd_requests_accepted_total")
    ended = total(series, "inferd_requests_ended_total")
    live = total(series, "inferd_requests_live")
    used = total(series, "inferd_kv_cache_blocks", state="used")
    problems = []
    if not alive:
        problems.append("the daemon ended")
    if tally.ended["error"]:
        problems += [f"{count} x {text}" for text, count in tally.errors.most_common()]
    if accepted != ended + live:
        problems.append(f"{accepted:.0f} accepted, {ended:.0f} ended and {live:.0f} live")
    if live or used:
        problems.append(f"{live:.0f} requests and {used:.0f} blocks are left")
    growth = slope([(s["minutes"], s["rss_mib"]) for s in tail])
    if growth > MAX_SLOPE_MIB_PER_MINUTE:
        problems.append(f"memory grows by {growth:.2f} MiB a minute")
    return problems, growth


def report(options, plans, tally, samples, seconds, series, growth, problems):
    manners = {m: sum(p.manner == m for p in plans) for m in (clients.GOOD, clients.SLOW, clients.LEAVER)}
    http = sum(p.protocol == "http" for p in plans)
    first, last = samples[len(samples) // 3], samples[-1]
    lines = [
        f"# Soak, {datetime.date.today()}", "",
        f"- device: {record.cpu_model()}", f"- commit: {record.commit()}",
        f"- {len(plans)} streams ({http} over HTTP, {len(plans) - http} over gRPC; {manners['slow']} read"
        f" slowly, {manners['leaver']} go away after one to five pieces) for {seconds / 60:.1f} minutes,"
        " clients on the same cores", "",
        "| figure | value |", "|---|---|",
        f"| answered | {tally.ended['answered']:,} |",
        f"| left by their clients | {tally.ended['left']:,} |",
        f"| errors | {tally.ended['error']:,} |",
        f"| tokens/s read | {tally.tokens / seconds:,.0f} |",
        f"| accepted = finished + failed + cancelled | {total(series, 'inferd_requests_accepted_total'):,.0f} = "
        + " + ".join(f"{total(series, 'inferd_requests_ended_total', outcome=o):,.0f}"
                     for o in ("finished", "failed", "cancelled")) + " |",
        f"| blocks and requests left | {total(series, 'inferd_kv_cache_blocks', state='used'):.0f},"
        f" {total(series, 'inferd_requests_live'):.0f} |",
        f"| resident memory after a third, at the end | {first['rss_mib']:.0f}, {last['rss_mib']:.0f} MiB |",
        f"| slope of the last two thirds | {growth:+.2f} MiB a minute |",
        f"| open descriptors, most | {max(s['fds'] for s in samples):.0f} |",
        f"| preemptions | {total(series, 'inferd_preemptions_total'):,.0f} |", "",
        "Holds." if not problems else "Does not hold:\n\n" + "\n".join(f"- {p}" for p in problems), ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--http-share", type=float, default=0.5)
    parser.add_argument("--slow-share", type=float, default=0.1)
    parser.add_argument("--leaver-share", type=float, default=0.1)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, help="a folder for the record; default: only printed")
    options = parser.parse_args()
    # A cache that is full, and so all in memory, within the first minutes.
    flags = ["--max-queued-requests", str(2 * options.streams), "--max-running", "256",
             "--kv-cache-size", "128MiB"]
    with daemon_module.Daemon(*flags) as running:
        plans, tally, samples, seconds = asyncio.run(offer(running, options))
        alive = running.process.poll() is None
        series = settle(running) if alive else {}
        problems, growth = judge(tally, series, samples[len(samples) // 3:], alive)
        text = report(options, plans, tally, samples, seconds, series, growth, problems)
    print(text)
    if options.out:
        (options.out / f"{datetime.date.today()}-soak.md").write_text(text)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
