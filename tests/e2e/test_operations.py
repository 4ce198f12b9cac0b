"""What operators do while clients go on: change keys, restart one of two daemons, stop.

The books must agree to the request: what the clients count is what the daemons logged."""

import collections
import http.client
import json
import re
import signal
import socket
import threading
import time

import grpc
import pytest
from client import Client, list_models, request
from daemon import ROOT, Daemon, run

# What docs/api.md has for clients of several daemons.
[SERVICE_CONFIG] = [text for text in re.findall(r"```json\n(.*?)```", (ROOT / "docs/api.md").read_text(), re.S)
                    if "round_robin" in text]
HTTP_ATTEMPTS = 6


def finished(log):
    """{request id: times it was answered} and {key: requests answered} of a daemon's log."""
    ids, keys = collections.Counter(), collections.Counter()
    for line in log.splitlines():
        if 'code="OK"' in line and 'finish_reason="' in line:
            ids[re.search(r'request_id="([^"]*)"', line)[1]] += 1
            key = re.search(r'key_id="([^"]*)"', line)
            keys[key[1] if key else None] += 1
    return ids, keys


class Load:
    """Clients in threads, of gRPC (whole answers and streams) and HTTP, for the daemons at
    `ports`. Every request has an id of its own. `key()`: the secret to show, if any.
    `backoff_ms`: how long a channel waits before it connects again, at first and at most."""

    def __init__(self, ports, key=lambda: None, backoff_ms=(1000, 500)):
        self._ports, self._key, self._backoff_ms = ports, key, backoff_ms
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._number = 0
        self.answered = []  # ids
        self.failures = []
        self.rounds = [0] * 4
        work = [self._unary, self._stream, self._http, self._http]
        self._threads = [threading.Thread(target=self._run, args=(i, w)) for i, w in enumerate(work)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def everybody_asks(self, times=2, timeout=60):
        """Waits until each client has begun and ended that many more requests."""
        before, end = list(self.rounds), time.monotonic() + timeout
        while any(now < then + times + 1 for now, then in zip(self.rounds, before)):
            assert time.monotonic() < end and not self.failures, self.failures[:3]
            time.sleep(0.01)

    def _run(self, index, work):
        options = [("grpc.service_config", SERVICE_CONFIG), ("grpc.enable_http_proxy", 0),
                   ("grpc.use_local_subchannel_pool", 1),
                   ("grpc.initial_reconnect_backoff_ms", self._backoff_ms[0]),
                   ("grpc.max_reconnect_backoff_ms", self._backoff_ms[1])]
        target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in self._ports)
        with grpc.insecure_channel(target, options=options) as channel:
            client, connections = Client(channel), {}
            while not self._stop.is_set():
                with self._lock:
                    self._number += 1
                    name = f"op-{self._number}"
                try:
                    assert work(client, connections, name)
                    self.answered.append(name)
                except Exception as error:  # whatever it is, it is a lost request
                    self.failures.append((name, error))
                self.rounds[index] += 1

    def _metadata(self, name):
        key = self._key()
        return [("x-request-id", name)] + ([("authorization", f"Bearer {key}")] if key else [])

    def _request(self):
        return request("What is the KV cache?", max_completion_tokens=12, temperature=0)

    def _unary(self, client, _, name):
        return client.chat.CreateChatCompletion(self._request(), timeout=60,
                                                metadata=self._metadata(name)).choices[0].message.content

    def _stream(self, client, _, name):
        chunks = client.chat.StreamChatCompletion(self._request(), timeout=60,
                                                  metadata=self._metadata(name))
        return [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1]

    def _http(self, _, connections, name):
        """As OpenAI's clients: again after what says so and where no answer came; each time
        at the next daemon."""
        body = json.dumps({"messages": [{"role": "user", "content": "What is the KV cache?"}],
                           "max_tokens": 12, "temperature": 0})
        headers = dict(self._metadata(name), **{"content-type": "application/json"})
        number = int(name.removeprefix("op-"))
        for attempt in range(HTTP_ATTEMPTS):
            port = self._ports[(number + attempt) % len(self._ports)]
            connection = connections.setdefault(
                port, http.client.HTTPConnection("127.0.0.1", port, timeout=60))
            try:
                connection.request("POST", "/v1/chat/completions", body=body, headers=headers)
                reply = connection.getresponse()
                text = reply.read()
                if reply.status == 200:
                    return json.loads(text)["choices"][0]["message"]["content"]
                assert reply.headers["x-should-retry"] == "true", (reply.status, text)
            except (ConnectionError, http.client.BadStatusLine):
                connection.close()
            time.sleep(0.05 * 2**attempt)
        raise AssertionError(f"{name}: no answer in {HTTP_ATTEMPTS} attempts")


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


# Without a delay, clients learn of the end by refusals and GOAWAY alone. In a hurry, the second
# daemon goes as soon as the first is ready, when channels have not found that one again, and
# retries alone would be over before they do.
@pytest.mark.parametrize(("delay", "hurry"), [("1s", False), ("0s", False), ("1s", True)])
def test_a_rolling_restart_loses_no_request(delay, hurry, record_property):
    ports, books = free_ports(2), collections.Counter()
    flags = (f"--drain-delay={delay}", "--drain-timeout=60s")
    daemons = [Daemon(f"--port={port}", *flags) for port in ports]
    try:
        with Load(ports, backoff_ms=(4000, 4000) if hurry else (1000, 500)) as load:
            load.everybody_asks()
            for index in range(2):
                daemons[index].send(signal.SIGTERM)
                assert daemons[index].wait_exit() == 0
                assert "every request was answered" in daemons[index].log()
                books += finished(daemons[index].log())[0]
                load.everybody_asks()  # of the other one
                daemons[index] = Daemon(f"--port={ports[index]}", *flags)
                if hurry:
                    continue
                # It has its share again before the other one goes.
                daemons[index].wait_log(r'code="OK".*method="ChatService|method="ChatService.*code="OK"')
                load.everybody_asks()
    finally:
        for daemon in daemons:
            daemon.stop()
    for daemon in daemons:
        books += finished(daemon.log())[0]
    assert not load.failures, load.failures[:3]
    assert len(load.answered) == len(set(load.answered))
    assert books == collections.Counter(load.answered)
    record_property("requests", len(load.answered))
    print(f"{len(load.answered)} requests, each answered once")


def test_a_key_is_changed_under_load(tmp_path):
    made = {}
    for name in ("old", "new"):
        result = run("key", "new", "--id", name)
        assert result.returncode == 0, result.stderr
        secret, _, lines = result.stdout.partition("\n")
        made[name] = (secret, lines)
    path = tmp_path / "keys.yaml"

    def install(daemon, *names):
        fresh = tmp_path / "keys.new"
        fresh.write_text("keys:\n" + "".join(made[name][1] for name in names))
        fresh.rename(path)
        if daemon is not None:
            reloads = daemon.log().count("taken over")
            daemon.send(signal.SIGHUP)
            end = time.monotonic() + 30
            while daemon.log().count("taken over") == reloads and time.monotonic() < end:
                time.sleep(0.01)
            assert f"taken over: {len(names)} API keys" in daemon.log()

    def models(name):
        with daemon.channel() as channel:
            list_models(channel, made[name][0])

    shown = {"key": "old"}
    install(None, "old")
    with Daemon(f"--api-keys-file={path}") as daemon:
        with Load([daemon.port], lambda: made[shown["key"]][0]) as load, daemon.channel() as channel:
            load.everybody_asks()
            install(daemon, "old", "new")
            for name in ("old", "new"):
                models(name)
            load.everybody_asks()  # with the old key, which is still good
            shown["key"] = "new"
            load.everybody_asks()
            running = Client(channel).chat.StreamChatCompletion(
                request("Tell me a story.", max_completion_tokens=400, ignore_eos=True), timeout=60,
                metadata=[("authorization", f"Bearer {made['old'][0]}"), ("x-request-id", "op-last")])
            next(running)
            install(daemon, "new")
            with pytest.raises(grpc.RpcError) as refused:
                models("old")
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
            load.everybody_asks()
            assert sum(1 for _ in running) > 0  # ends with the rights it began with
        assert not load.failures, load.failures[:3]
        daemon.stop()
        ids, keys = finished(daemon.log())
        assert ids == collections.Counter([*load.answered, "op-last"])
        assert set(keys) == {"old", "new"} and sum(keys.values()) == len(load.answered) + 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_connections_that_do_nothing_do_not_hold_the_end_up(number):
    """Kept HTTP/1.1 connections, half a request, and gRPC channels that nobody looks at."""
    best = 99
    for _ in range(3):  # a busy machine may hold one of them up
        with Daemon() as daemon:
            kept = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=10)
            kept.request("GET", "/v1/models")
            assert kept.getresponse().read()
            half = socket.create_connection(("127.0.0.1", daemon.port))
            half.sendall(b"GET /v1/models HTTP/1.1\r\n")
            with daemon.channel() as channel:
                # Between calls Python's gRPC reads nothing, so it answers no farewell.
                assert Client(channel).text("hi", max_tokens=2)
                start = time.monotonic()
                daemon.send(number)
                assert daemon.wait_exit(30) == 0
                best = min(best, time.monotonic() - start)
            half.close()
            kept.close()
    assert best < 1.5


def test_watchers_that_leave_while_they_are_told_do_not_keep_the_daemon():
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    for _ in range(5):
        with Daemon() as daemon:
            channels = [daemon.channel() for _ in range(20)]
            watches = [health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
                       for channel in channels for _ in range(4)]
            for watch in watches:
                assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            daemon.send(signal.SIGTERM)
            for channel in channels:
                channel.close()
            assert daemon.wait_exit(20) == 0
