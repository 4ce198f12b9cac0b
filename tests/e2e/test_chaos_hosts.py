"""Faults of the link between two hosts, and of the ranks at its ends, while streams run.

As test_chaos.py, with INFERD_CHAOS_SEED and INFERD_CHAOS_HITS for longer runs.
"""

import os
import random
import time

import pytest
from client import Client, streamed_text
from daemon import Daemon
from links import Link, free_ports
from ranks import Streams, hurt, make_jobs, rank_processes, wait_running

SEED = int(os.environ.get("INFERD_CHAOS_SEED", "1"))
HITS = int(os.environ.get("INFERD_CHAOS_HITS", "5"))
PATIENT = ("--engine.step_timeout=300ms", "--parallel.max_backoff=200ms",
           "--engine.max_rank_losses=100", "--parallel.max_failed_starts=50")
EVERYTHING = 1_000_000
LINK_FAULTS = {
    "cut": {"loss": EVERYTHING},
    "slow": {"rate": 20_000},
    "lossy": {"loss": 100_000},
    "changed": {"swaps": EVERYTHING},
    "reset": {"resets": EVERYTHING},
}
RANK_FAULTS = ("kill", "segv", "stop", "memory")
SHAPES = ["--tp=2", "--pp=2"]


def plan_of(shape):
    """Faults for a shape: over all shapes each comes once before any comes twice."""
    faults = [*LINK_FAULTS, *RANK_FAULTS, "second leader"]
    rng, plan = random.Random(SEED), []
    while len(plan) < HITS * len(SHAPES):
        plan += rng.sample(faults, len(faults))
    return plan[SHAPES.index(shape)::len(SHAPES)][:HITS]


@pytest.fixture(scope="module")
def undisturbed(shared_daemon):
    with shared_daemon.channel() as channel:
        client = Client(channel)
        return [streamed_text(client.stream(text, **fields)) for text, fields in make_jobs()]


def key_file(directory, name, text):
    path = directory / name
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


class Hosts:
    """A leader, a worker, and what is done to them."""

    def __init__(self, link, leader, worker, flags, rng):
        self.link, self.leader, self.worker, self.flags, self.rng = link, leader, worker, flags, rng

    def losses(self):
        return self.leader.metric("inferd_rank_losses_total")

    def strike(self, fault):
        before = self.losses()
        if fault in LINK_FAULTS:
            self.link.make(**LINK_FAULTS[fault])
            # Long enough to be noticed, but for what only makes the link slower.
            end = time.monotonic() + (0.5 if fault in ("slow", "lossy") else 20)
            while self.losses() == before and time.monotonic() < end:
                time.sleep(0.01)
            self.link.make()
        elif fault == "second leader":
            second = Daemon(*self.flags, "--host-index=0", wait=False)
            assert second.wait_exit() == 1
            assert "listening for ranks" in second.log()
        else:
            victims = rank_processes(self.rng.choice([self.leader, self.worker]))
            if victims:
                hurt(self.rng.choice(sorted(victims.values())), fault)


@pytest.mark.parametrize("shape", SHAPES)
def test_streams_outlive_links_and_hosts(shape, undisturbed, tmp_path):
    rng = random.Random(f"{SEED} {shape}")
    plan = plan_of(shape)
    key = key_file(tmp_path, "key", "the secret of this deployment")
    other = key_file(tmp_path, "other", "the secret of another deployment")
    with Link(seed=SEED, delay=300, jitter=300, loss=1000) as link:
        port = free_ports(link.hosts[0], 8)

        def flags(secret):
            return (shape, f"--hosts={','.join(link.hosts)}", f"--parallel.key_file={secret}",
                    f"--parallel.port={port}", *PATIENT)

        # A stranger knocks all the while.
        with Daemon(*flags(other), "--host-index=1", wait=False, prefix=link.prefix) as stranger, \
                Daemon(*flags(key), "--host-index=1", wait=False, prefix=link.prefix) as worker, \
                Daemon(*flags(key), "--host-index=0") as leader, leader.channel() as channel:
            hosts = Hosts(link, leader, worker, flags(key), rng)
            client = Client(channel)
            with Streams(leader, undisturbed) as streams:
                for fault in plan:
                    # Anything may be under way: a prompt, answers, the start of the ranks.
                    time.sleep(rng.uniform(0, 0.3))
                    hosts.strike(fault)
                    if rng.random() < 0.8:
                        time.sleep(0.02)
                        wait_running(leader)
                wait_running(leader)
            print(f"{shape} {plan}: {streams.expect_none_lost(client)}")
            assert stranger.process.poll() is None and worker.process.poll() is None
            assert leader.stop() == 0
