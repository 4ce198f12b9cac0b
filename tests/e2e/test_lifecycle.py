"""Start, stop, drain, exit codes, memory."""

import json
import math
import shutil
import signal
import socket
import threading
import time

import grpc
import pytest
from client import Client, error_details, streamed_text
from daemon import MODEL, ROOT, Daemon, run
from grpc_health.v1 import health_pb2, health_pb2_grpc

LONG = {"ignore_eos": True, "max_tokens": 400, "temperature": 0}


def serving(channel):
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10).status


def test_start_and_idle_memory(record_property):
    best = busy = 99
    for _ in range(3):
        with Daemon() as daemon:
            best = min(best, daemon.ready_seconds)
            busy = min(busy, daemon.cpu_seconds())
            time.sleep(0.3)
            rss = daemon.rss_bytes()
            assert daemon.http("/readyz")[0] == 200
    record_property("ready_seconds", best)
    record_property("idle_rss_mib", rss / 2**20)
    record_property("cpu_seconds", busy)
    print(f"ready after {best:.3f} s, {busy:.2f} s of processor time, idle RSS {rss / 2**20:.1f} MiB")
    # The aim is 0.3 s from start to ready. A shared machine lets it wait, so the
    # processor time is held to that, and the clock to ten times as much.
    assert busy < 0.3
    assert best < 3.0
    assert rss < 150 * 2**20


def test_sigterm_drains():
    """A running stream finishes, new requests are refused, the exit code is 0."""
    with Daemon("--drain-timeout=60s", "--drain-delay=1s") as daemon, daemon.channel() as channel:
        client = Client(channel)
        alone = streamed_text(client.stream("Tell me a story.", **LONG))
        stream = client.stream("Tell me a story.", **LONG)
        first = next(stream)
        daemon.send(signal.SIGTERM)
        daemon.wait_log("draining")
        assert serving(channel) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert daemon.http("/readyz")[0] == 503
        assert daemon.http("/healthz")[0] == 200
        # Within the delay requests are still served.
        assert client.ask("hello", max_tokens=1).usage.completion_tokens == 1
        assert streamed_text([first, *stream]) == alone
        assert daemon.wait_exit() == 0
        assert "every request was answered" in daemon.log()


def test_new_requests_are_refused_while_draining():
    with Daemon("--drain-timeout=60s") as daemon, daemon.channel() as channel:
        client = Client(channel)
        stream = client.stream("Tell me a story.", n=4, ignore_eos=True, max_tokens=900, temperature=1)
        next(stream)
        daemon.send(signal.SIGTERM)
        daemon.wait_log("draining")
        error = None
        for _ in range(200):
            try:
                client.ask("hello", max_tokens=1)
            except grpc.RpcError as caught:
                error = caught
                break
        assert error is not None and error.code() == grpc.StatusCode.UNAVAILABLE
        info = error_details(error)[0]
        assert info is None or info.reason == "DRAINING"
        streamed_text(stream)
        assert daemon.wait_exit() == 0


def test_a_second_sigterm_stops_at_once():
    with Daemon("--drain-timeout=600s") as daemon, daemon.channel() as channel:
        client = Client(channel)
        streams = [client.stream("Tell me a story.", n=8, ignore_eos=True, max_tokens=900) for _ in range(4)]
        for stream in streams:
            next(stream)
        daemon.send(signal.SIGTERM)
        daemon.wait_log("draining")
        daemon.send(signal.SIGTERM)
        start = time.monotonic()
        codes = set()
        for stream in streams:
            with pytest.raises(grpc.RpcError) as caught:
                list(stream)
            codes.add(caught.value.code())
        assert codes == {grpc.StatusCode.UNAVAILABLE}
        assert daemon.wait_exit(20) == 0
        assert time.monotonic() - start < 10


def write_large_model(target):
    """A checkpoint of 800 MB of zeros, of which the disk holds nothing: it takes a while to load."""
    shutil.copytree(MODEL, target, ignore=shutil.ignore_patterns("*.safetensors"))
    hidden, ffn, layers = 1024, 4096, 24
    config = json.loads((MODEL / "config.json").read_text())
    config.update(hidden_size=hidden, intermediate_size=ffn, num_hidden_layers=layers, head_dim=64,
                  num_attention_heads=16, num_key_value_heads=16, torch_dtype="bfloat16")
    config["tie_word_embeddings"] = True
    (target / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens.weight": [config["vocab_size"], hidden], "model.norm.weight": [hidden]}
    for i in range(layers):
        prefix = f"model.layers.{i}."
        shapes.update({prefix + f"self_attn.{x}_proj.weight": [hidden, hidden] for x in "qkvo"})
        shapes.update({prefix + f"mlp.{x}_proj.weight": [ffn, hidden] for x in ("gate", "up")})
        shapes.update({prefix + f"{x}_layernorm.weight": [hidden] for x in ("input", "post_attention")})
        shapes[prefix + "mlp.down_proj.weight"] = [hidden, ffn]
    header, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    with open(target / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_loading_ends_it(tmp_path, number):
    write_large_model(tmp_path / "model")
    with Daemon(model=tmp_path / "model", wait=False) as daemon:
        daemon.wait_log("loading")
        daemon.process.send_signal(number)
        assert daemon.process.wait(timeout=30) == 0
        assert "stopped while loading" in daemon.log()
        assert "ready after" not in daemon.log()


def test_sigint_stops_at_once():
    with Daemon() as daemon, daemon.channel() as channel:
        stream = Client(channel).stream("Tell me a story.", n=8, ignore_eos=True, max_tokens=900)
        next(stream)
        daemon.send(signal.SIGINT)
        with pytest.raises(grpc.RpcError):
            list(stream)
        assert daemon.wait_exit(20) == 0


def test_sighup_reloads_the_log_level(tmp_path):
    config = tmp_path / "inferd.yaml"
    config.write_text("log: {level: info}\n")
    with Daemon("--config", str(config)) as daemon:
        config.write_text("log: {level: warn}\nengine: {depth: 3}\n")
        daemon.send(signal.SIGHUP)
        daemon.wait_log(r"need a restart: engine.depth")
        assert daemon.metric("inferd_config_last_reload_successful") == 1
        config.write_text("log: {level: loud}\n")
        daemon.send(signal.SIGHUP)
        daemon.wait_log(r"the configuration is bad")
        end = time.monotonic() + 10
        while daemon.metric("inferd_config_last_reload_successful") == 1 and time.monotonic() < end:
            time.sleep(0.01)
        assert daemon.metric("inferd_config_last_reload_successful") == 0
        assert daemon.process.poll() is None


def test_sigusr1_logs_the_state():
    with Daemon() as daemon:
        daemon.send(signal.SIGUSR1)
        daemon.wait_log(r"state: live requests 0, running 0, waiting 0, blocks 0/")


def test_a_port_in_use():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        result = run("serve", "--model", MODEL, f"--port={port}", "--http-port=0")
        assert result.returncode == 1
        assert str(port) in result.stderr


def test_exit_codes(tmp_path):
    assert run("serve", "--prot=1").returncode == 2
    assert "--port" in run("serve", "--prot=1").stderr
    assert run("serve", "--model", MODEL, "--depth=99").returncode == 2
    assert run("serve", "--config", tmp_path / "none.yaml").returncode == 78
    assert run("serve", env={"INFERD_ENGINE__DEPHT": "1"}).returncode == 78
    assert run("serve").returncode == 78
    assert run("serve", "--model", MODEL, "--host=0.0.0.0").returncode == 78
    assert run("--version").returncode == 0
    bad = tmp_path / "bad.yaml"
    bad.write_text("engine:\n  max_runing: 3\n")
    result = run("serve", "--config", bad, "--check-config")
    assert result.returncode == 78
    assert f"{bad}:2: unknown key engine.max_runing; did you mean engine.max_running?" in result.stderr
    good = run("serve", "--config", ROOT / "configs/inferd.yaml", "--check-config")
    assert (good.returncode, good.stdout) == (0, "the configuration is valid\n")


def test_print_config_round_trips(tmp_path):
    result = run("serve", "--config", ROOT / "configs/inferd.yaml", "--depth=1", "--print-config",
                 env={"INFERD_LOG__LEVEL": "debug"})
    assert "depth: 1" in result.stdout and "# flag --depth" in result.stdout
    assert "# env INFERD_LOG__LEVEL" in result.stdout
    copy = tmp_path / "copy.yaml"
    copy.write_text(result.stdout)
    again = run("serve", "--config", copy, "--print-config")
    strip = lambda text: [line.split("#")[0].rstrip() for line in text.splitlines()]
    assert strip(again.stdout) == strip(result.stdout)


def test_dry_run():
    result = run("serve", "--model", MODEL, "--dry-run")
    assert result.returncode == 0, result.stderr
    for word in ("weights", "KV cache", "workspace", "total", "context of 1024 tokens"):
        assert word in result.stdout


def test_json_log():
    with Daemon("--log-format=json") as daemon, daemon.channel() as channel:
        secret = "zanzibar"
        Client(channel).ask(f"Say {secret}.", max_tokens=4)
        daemon.wait_log(r'"method"')
        for line in daemon.log().splitlines():
            json.loads(line)
        access = [json.loads(line) for line in daemon.log().splitlines() if '"method"' in line]
        assert len(access) == 1
        assert access[0]["code"] == "OK"
        assert access[0]["completion_tokens"] >= 1
        assert secret not in daemon.log()


def test_overload_is_refused():
    """One slot and a queue of two: the rest is refused at once with retry information."""
    with Daemon("--max-running=1", "--max-queued-requests=2") as daemon, daemon.channel() as channel:
        client = Client(channel)
        outcomes = []
        lock = threading.Lock()

        def one():
            try:
                client.ask("Tell me a story.", ignore_eos=True, max_tokens=200)
                outcome = "OK"
            except grpc.RpcError as error:
                info, _, retry = error_details(error)
                assert retry is not None
                outcome = f"{error.code().name}/{info.reason}"
            with lock:
                outcomes.append(outcome)

        threads = [threading.Thread(target=one) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(outcomes) == {"OK", "RESOURCE_EXHAUSTED/QUEUE_FULL"}, outcomes
        assert outcomes.count("OK") >= 2
