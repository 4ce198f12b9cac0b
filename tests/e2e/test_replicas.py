"""Replicas of the demo model answer as one does, and a prompt goes where its cache is."""

import concurrent.futures
import json
import time

import pytest
from client import Client
from daemon import ROOT, Daemon
from inferd.v1 import services_pb2
from ranks import hurt, ranks_of

CASES = [json.loads(line) for line in
         (ROOT / "tests" / "e2e" / "heldout_expected.jsonl").read_text().splitlines() if line.strip()]
LONG = "Tell me about the sea, the weather, a good friend and the KV cache. " * 3


@pytest.mark.parametrize("flags, ranks", [
    (("--dp=2",), 2), (("--dp=2", "--tp=2", "--executor=thread"), 4),
    (("--dp=2", "--executor=process"), 2)])
def test_answers_are_those_of_one_replica(flags, ranks):
    """The recorded greedy answers, of which one replica gives every one."""
    cases = CASES[:32]
    with Daemon(*flags) as daemon, daemon.channel() as channel:
        client = Client(channel)

        def ask(case):
            messages = [(m["role"], m["content"]) for m in case["messages"]]
            return client.text(messages, temperature=0, max_tokens=64).strip()

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, cases))
        info = client.server.GetServerInfo(services_pb2.GetServerInfoRequest(), timeout=10)
        assert len(info.devices) == ranks
        assert info.data_parallel_size == 2
        # One family: the replicas together.
        finished = [series for series in daemon.metrics() if series.startswith("inferd_kv_blocks")]
        assert not any("replica" in series for series in finished)
    wrong = [(case["transformers"], answer) for case, answer in zip(cases, answers)
             if answer != case["transformers"].strip()]
    assert not wrong, f"{len(wrong)} of {len(cases)} differ, first: {wrong[:3]}"


def test_a_prompt_goes_where_its_beginning_is_cached():
    with Daemon("--dp=2") as daemon, daemon.channel() as channel:
        client = Client(channel)
        cached = []
        for _ in range(6):
            usage = client.ask(LONG, temperature=0, max_tokens=4).usage
            cached.append(usage.prompt_tokens_details.cached_tokens)
            assert usage.prompt_tokens > 64
        assert cached[0] == 0
        # Taking turns would find nothing the second time.
        assert all(tokens >= 48 for tokens in cached[1:]), cached


@pytest.mark.parametrize("fault", ["kill", "stop"])
def test_only_the_replica_whose_ranks_are_lost_restarts(fault):
    """The other's ranks stay, and whoever asks meanwhile is answered by them."""
    with Daemon("--dp=2", "--executor=process", "--engine.step_timeout=300ms") as daemon, \
            daemon.channel() as channel:
        client = Client(channel)
        before = [pid for _, pid in ranks_of(daemon)]
        assert len(before) == 2
        hurt(before[0], fault)

        def ask(i):
            fields = {"temperature": 0, "max_tokens": 40, "ignore_eos": True}
            return client.ask(f"Tell me about the number {i}.", **fields).usage.completion_tokens
        # Nobody is refused, also not by the replica that has to find out.
        end = time.monotonic() + 60
        while daemon.metric("inferd_recovery_seconds_count") == 0 and time.monotonic() < end:
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                assert list(pool.map(ask, range(8))) == [40] * 8
            assert daemon.metric("inferd_engine_state", state="running") == 1
        assert daemon.metric("inferd_rank_losses_total") == 1
        after = [pid for _, pid in ranks_of(daemon)]
        assert len(after) == 2 and before[0] not in after and before[1] in after
