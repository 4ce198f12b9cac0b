"""Ranks that are killed, stopped and starved while streams run.

Every accepted request ends once, and with the text of an undisturbed run; nothing is left behind.
INFERD_CHAOS_SEED chooses other moments and victims, INFERD_CHAOS_HITS more of them than the few
that fit into every run.
"""

import os
import random
import time

import grpc
import pytest
from client import Client, error_details, streamed_text
from daemon import Daemon
from ranks import Streams, hurt, make_jobs, rank_processes, wait_running

SEED = int(os.environ.get("INFERD_CHAOS_SEED", "1"))
HITS = int(os.environ.get("INFERD_CHAOS_HITS", "5"))
PATIENT = ("--engine.step_timeout=300ms", "--parallel.max_backoff=200ms",
           "--engine.max_rank_losses=20", "--parallel.max_failed_starts=50")


@pytest.fixture(scope="module")
def undisturbed(shared_daemon):
    """The texts of the jobs, one after the other."""
    with shared_daemon.channel() as channel:
        client = Client(channel)
        return [streamed_text(client.stream(text, **fields)) for text, fields in make_jobs()]


@pytest.mark.parametrize("shape", [(), ("--tp=2",), ("--tp=2", "--pp=2")],
                         ids=["one", "tp2", "tp2pp2"])
def test_streams_outlive_their_ranks(shape, undisturbed):
    rng = random.Random(f"{SEED} {shape}")
    with Daemon(*shape, "--executor=process", *PATIENT) as daemon, daemon.channel() as channel:
        client = Client(channel)
        with Streams(daemon, undisturbed) as streams:
            for _ in range(HITS):
                # Anything may be under way: a prompt, answers, the start of the ranks.
                time.sleep(rng.uniform(0, 0.4))
                ranks = rank_processes(daemon)
                if ranks:
                    hurt(rng.choice(sorted(ranks.values())),
                         rng.choice(["kill", "kill", "segv", "stop", "memory"]))
                if rng.random() < 0.8:
                    time.sleep(0.02)
                    wait_running(daemon)
            wait_running(daemon)
        print(f"{shape}: {streams.expect_none_lost(client)}")
        assert daemon.stop() == 0
    assert not rank_processes(daemon)


def test_readiness_tells_the_truth(undisturbed):
    with Daemon("--executor=process") as daemon, daemon.channel() as channel:
        client = Client(channel)
        assert daemon.http("/readyz")[0] == 200
        # Ranks are missed when idle, too. Every loss doubles the wait for the next start, until
        # it is long enough to look around in.
        for losses in range(1, 6):
            hurt(rank_processes(daemon)[0], "kill")
            while daemon.metric("inferd_rank_losses_total") < losses:
                time.sleep(0.005)
            if losses == 5:
                assert daemon.http("/readyz")[0] == 503
                with pytest.raises(grpc.RpcError) as refused:
                    client.text("hello", max_tokens=1)
                info, _, retry = error_details(refused.value)
                assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
                assert info.reason == "RANKS_RESTARTING" and retry is not None
            wait_running(daemon)
        assert daemon.http("/readyz")[0] == 200
        text, fields = make_jobs()[0]
        assert streamed_text(client.stream(text, **fields)) == undisturbed[0]


def test_without_resume_streams_end(undisturbed):
    with Daemon("--executor=process", "--engine.resume=false") as daemon, \
            daemon.channel() as channel:
        client = Client(channel)
        text, fields = make_jobs()[1]
        stream = client.stream(text, **{**fields, "max_tokens": 900})
        got = [next(stream), next(stream)]
        os.kill(rank_processes(daemon)[0], 9)
        with pytest.raises(grpc.RpcError) as ended:
            for chunk in stream:
                got.append(chunk)
        info, _, retry = error_details(ended.value)
        assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
        assert info.reason == "RANKS_LOST" and retry is not None
        assert undisturbed[1][0].startswith(streamed_text(got)[0][:len(undisturbed[1][0])])
        wait_running(daemon)
        assert streamed_text(client.stream(text, **fields)) == undisturbed[1]


def test_ranks_that_never_come_back_end_the_daemon():
    with Daemon("--executor=process", "--parallel.max_backoff=100ms",
                "--parallel.max_failed_starts=2") as daemon:
        # Whoever comes up is killed before it has loaded.
        while daemon.process.poll() is None:
            for pid in rank_processes(daemon).values():
                hurt(pid, "kill")
        assert daemon.wait_exit() == 70
        assert "the ranks do not start" in daemon.log()


def test_ranks_end_with_the_daemon():
    with Daemon("--tp=2", "--executor=process") as daemon:
        pids = list(rank_processes(daemon).values())
        assert len(pids) == 2
        daemon.process.kill()
        daemon.process.wait()
        end = time.monotonic() + 10
        while any(os.path.exists(f"/proc/{pid}") and
                  " Z " not in open(f"/proc/{pid}/stat").read() for pid in pids):
            assert time.monotonic() < end, "a rank outlives the daemon"
            time.sleep(0.01)
