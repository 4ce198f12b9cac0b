"""The processes of a daemon's ranks, what can be done to them, and work for them meanwhile."""

import os
import pathlib
import resource
import signal
import threading
import time

import grpc
from client import Client, error_details, streamed_text

STREAMS = 8


def make_jobs():
    """Long answers, every other one greedy."""
    jobs = []
    for i in range(STREAMS):
        jobs.append((f"Tell me about the sea, the weather and the number {i}.",
                     {"max_tokens": 300 + 40 * i, "ignore_eos": True, "seed": 1000 + i,
                      "temperature": 0.0 if i % 2 == 0 else 1.0}))
    return jobs


def ranks_of(daemon):
    """(rank, pid) of the daemon's children, by their names; of replicas each has its rank 0."""
    for children in pathlib.Path(f"/proc/{daemon.process.pid}/task").glob("*/children"):
        try:
            pids = children.read_text().split()
        except OSError:
            continue
        for pid in pids:
            try:
                name = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
            except OSError:
                continue
            if name.startswith("inferd-rank"):
                yield int(name.removeprefix("inferd-rank")), int(pid)


def rank_processes(daemon):
    return dict(ranks_of(daemon))


def hurt(pid, how):
    """Does `how` to a process, which may be gone already."""
    try:
        if how == "kill":
            os.kill(pid, signal.SIGKILL)
        elif how == "segv":
            os.kill(pid, signal.SIGSEGV)
        elif how == "stop":
            os.kill(pid, signal.SIGSTOP)
        elif how == "memory":
            # No page more: the next allocation that needs one fails.
            resource.prlimit(pid, resource.RLIMIT_AS, (1 << 20, 1 << 20))
        else:
            raise ValueError(how)
    except ProcessLookupError:
        pass


class Streams:
    """Clients that ask for the jobs again and again until they are told to stop."""

    def __init__(self, daemon, expected):
        self.daemon, self.expected = daemon, expected
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.accepted = self.whole = self.refused = 0
        self.wrong, self.lost = [], []
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(STREAMS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(120)
            assert not thread.is_alive(), "a stream never ended"

    def run(self, i):
        text, fields = make_jobs()[i]
        with self.daemon.channel() as channel:
            client = Client(channel)
            while not self.stopping.is_set():
                got = []
                try:
                    for chunk in client.stream(text, **fields):
                        got.append(chunk)
                    answer = streamed_text(got)
                    with self.lock:
                        self.accepted += 1
                        self.whole += 1
                        if answer != self.expected[i]:
                            self.wrong.append((i, answer))
                except grpc.RpcError as error:
                    info, _, retry = error_details(error)
                    reason = info.reason if info else error.details()
                    with self.lock:
                        if reason == "RANKS_RESTARTING" and not got:
                            assert error.code() == grpc.StatusCode.UNAVAILABLE and retry is not None
                            self.refused += 1
                        else:
                            self.accepted += 1
                            self.lost.append((i, reason, streamed_text(got)[0]))
                    time.sleep(0.02)

    def expect_none_lost(self, client):
        """After the last stream: every request ended once and with the right text, ranks were lost,
        and nothing is left behind. What it came to, in words."""
        metric = self.daemon.metric
        assert self.wrong == []
        losses = metric("inferd_rank_losses_total")
        assert losses >= 1
        assert len(self.lost) <= 0.01 * self.accepted, self.lost
        wait_idle(self.daemon, client)
        assert metric("inferd_requests_accepted_total") == metric("inferd_requests_ended_total")
        count = metric("inferd_recovery_seconds_count")
        return (f"{losses:.0f} losses, {self.accepted} streams, {self.whole} whole, "
                f"{self.refused} refused, {metric('inferd_sequences_resumed_total'):.0f} resumed, "
                f"recovery {metric('inferd_recovery_seconds_sum') / count:.3f} s of {count:.0f}")


def wait_running(daemon):
    """Until requests are taken again."""
    end = time.monotonic() + 180  # a rank of another host may wait a minute for others
    while time.monotonic() < end:
        if daemon.metric("inferd_engine_state", state="running") == 1:
            return
        time.sleep(0.005)
    raise AssertionError("the ranks do not come back:\n" + daemon.log())


def wait_idle(daemon, client):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        load = client.load()
        if load.running_requests == load.waiting_requests == load.kv_used_blocks == 0:
            return
        time.sleep(0.01)
    raise AssertionError("something is left behind:\n" + daemon.log())
