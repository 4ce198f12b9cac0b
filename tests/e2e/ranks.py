"""The processes of a daemon's ranks, what can be done to them, and work for them meanwhile."""

import os
import pathlib
import resource
import signal

STREAMS = 8


def make_jobs():
    """Long answers, every other one greedy."""
    jobs = []
    for i in range(STREAMS):
        jobs.append((f"Tell me about the sea, the weather and the number {i}.",
                     {"max_tokens": 300 + 40 * i, "ignore_eos": True, "seed": 1000 + i,
                      "temperature": 0.0 if i % 2 == 0 else 1.0}))
    return jobs


def rank_processes(daemon):
    """{rank: pid} of the daemon's children, by their names."""
    found = {}
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
                found[int(name.removeprefix("inferd-rank"))] = int(pid)
    return found


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
