"""One tenant's flood beside another's few requests."""

import threading
import time

import grpc
import pytest
from client import error_details
from daemon import Daemon
from test_auth import client_with, new_key

FLOOD = 30


@pytest.fixture(scope="module")
def daemon_and_secrets(tmp_path_factory):
    path = tmp_path_factory.mktemp("tenants") / "keys.yaml"
    secrets, text = {}, "keys:\n"
    for name in ("flood", "quiet"):
        secrets[name], lines = new_key("--id", name)
        text += lines
    path.write_text(text)
    with Daemon(f"--api-keys-file={path}", "--max-running=2", "--max-queued-requests=16",
                "--server.max_connections_per_address=1000") as daemon:
        yield daemon, secrets


def wait_for(daemon, name, least):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if daemon.metric(name) >= least:
            return
        time.sleep(0.01)
    raise AssertionError(f"{name} stays below {least}")


def test_a_flood_is_passed_and_refused_before_others(daemon_and_secrets):
    daemon, secrets = daemon_and_secrets
    flood, quiet = (client_with(daemon, secrets[name]) for name in ("flood", "quiet"))
    ended, refused = [], []

    def ask():
        while True:
            try:
                flood.text("Say everything that you know.", max_tokens=300, min_tokens=300, temperature=1, seed=1)
                ended.append("flood")
                return
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
                refused.append(error)
                time.sleep(0.05)

    threads = [threading.Thread(target=ask) for _ in range(FLOOD)]
    for thread in threads:
        thread.start()
    # Half of the queue is all that one tenant gets while nobody else waits; two more run.
    wait_for(daemon, "inferd_num_requests_waiting", 8)
    before = len(ended)
    for _ in range(3):
        quiet.text("hi", max_tokens=2, temperature=0)  # not refused
    passed_by = len(ended) - before
    for thread in threads:
        thread.join(300)
    assert len(ended) == FLOOD and refused
    info, _, retry = error_details(refused[0])
    assert info.reason == "QUEUE_FULL" and info.metadata["tenant_requests"] == "8" and retry is not None
    # Each of the three waited for a slot at most, not for those in the queue.
    assert passed_by <= 9, passed_by
