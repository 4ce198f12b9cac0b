"""The side port: probes, metrics, models."""

import json
import shutil
import subprocess

import pytest
from daemon import Daemon
from grpc_health.v1 import health_pb2, health_pb2_grpc


def test_probes(shared_daemon):
    assert shared_daemon.http("/healthz")[0] == 200
    assert shared_daemon.http("/readyz")[0] == 200
    assert shared_daemon.http("/nothing")[0] == 404
    status, text = shared_daemon.http("/version")
    assert status == 200
    assert json.loads(text)["version"]


def test_grpc_health(shared_daemon):
    with shared_daemon.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "inferd.v1.ChatService"):
            reply = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_metrics_are_well_formed(shared_daemon, client):
    client.ask("hello", max_tokens=2)
    status, text = shared_daemon.http("/metrics")
    assert status == 200
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                             text=True, check=False)
    complaints = [line for line in checked.stderr.splitlines() if "inferd_" in line]
    assert checked.returncode in (0, 3) and not complaints, checked.stderr


def test_counters_grow(shared_daemon, client):
    before = shared_daemon.metric("inferd_generation_tokens_total")
    answers = shared_daemon.metric("inferd_time_to_first_token_seconds_count")
    used = client.ask("Tell me a story.", max_tokens=9, ignore_eos=True).usage.completion_tokens
    assert used == 9
    assert shared_daemon.metric("inferd_generation_tokens_total") >= before + 9
    assert shared_daemon.metric("inferd_time_to_first_token_seconds_count") == answers + 1


def test_the_side_port_can_be_off():
    with Daemon("--http=false", wait=False) as daemon:
        daemon.wait_log(r"HTTP port 0")
        daemon.wait_log(r"ready after")


def test_buckets_are_configuration():
    with Daemon("--metrics.ttft_buckets=0.5,1.5") as daemon:
        text = daemon.http("/metrics")[1]
        assert 'le="1.5"' in text
        lines = [l for l in text.splitlines() if l.startswith("inferd_time_to_first_token_seconds_bucket")]
        assert len(lines) == 3
