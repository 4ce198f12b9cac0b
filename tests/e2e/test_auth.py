"""API keys, with the real binary: made, checked, asked for, and never shown."""

import http.client
import pathlib
import re

import grpc
import pytest
from client import Client, error_details
from daemon import Daemon, run
from inferd.v1 import services_pb2


def new_key(*flags):
    """(secret, lines for the file)"""
    result = run("key", "new", *flags)
    assert result.returncode == 0, result.stderr
    secret, _, lines = result.stdout.partition("\n")
    assert re.fullmatch(r"sk-inferd-[A-Za-z0-9_-]{43}", secret)
    assert secret not in lines
    return secret, lines


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A key file and the secrets by id."""
    path = tmp_path_factory.mktemp("auth") / "keys.yaml"
    secrets, text = {}, "keys:\n"
    for name, flags in {"alice": [], "bob": ["--models", "other"],
                        "carol": ["--rpm", "1", "--tenant", "team"]}.items():
        secrets[name], lines = new_key("--id", name, *flags)
        text += lines
    path.write_text(text)
    return path, secrets


@pytest.fixture(scope="module")
def locked(keys):
    with Daemon(f"--api-keys-file={keys[0]}") as daemon:
        yield daemon


class WithKey(grpc.UnaryUnaryClientInterceptor):
    def __init__(self, secret):
        self.metadata = [("authorization", f"Bearer {secret}")] if secret else []

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(details._replace(metadata=self.metadata), request)


def client_with(daemon, secret):
    return Client(grpc.intercept_channel(daemon.channel(), WithKey(secret)))


def refusal(daemon, secret):
    with pytest.raises(grpc.RpcError) as caught:
        client_with(daemon, secret).text("hi", max_tokens=4)
    return caught.value


def test_keys_open_the_door(locked, keys):
    _, secrets = keys
    assert client_with(locked, secrets["alice"]).text("hi", max_tokens=4, temperature=0)
    for wrong in ("", "sk-inferd-wrong", secrets["alice"][:-1]):
        assert refusal(locked, wrong).code() == grpc.StatusCode.UNAUTHENTICATED
    assert refusal(locked, secrets["bob"]).code() == grpc.StatusCode.PERMISSION_DENIED
    assert run("health", "--addr", locked.address).stdout == "SERVING\n"


def test_a_key_without_the_model_sees_none(locked, keys):
    _, secrets = keys
    alice, bob = (client_with(locked, secrets[name]) for name in ("alice", "bob"))
    alice.load()
    with pytest.raises(grpc.RpcError) as caught:
        bob.load()
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
    request = services_pb2.GetServerInfoRequest()
    seen, hidden = (client.server.GetServerInfo(request, timeout=10) for client in (alice, bob))
    assert seen.version == hidden.version and seen.state == hidden.state
    assert seen.max_model_len > 0 and seen.devices and seen.total_kv_blocks > 0
    assert hidden.max_model_len == 0 and not hidden.devices and hidden.total_kv_blocks == 0


def test_the_subcommands_show_a_key(locked, keys, tmp_path):
    secret = keys[1]["alice"]
    assert run("models", "--addr", locked.address).returncode == 1
    listed = run("models", "--addr", locked.address, env={"INFERD_API_KEY": secret})
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.startswith("demo")
    path = tmp_path / "secret"
    path.write_text(secret + "\n")
    asked = run("chat", "--addr", locked.address, "--once", "hi", "--max-tokens=4",
                "--api-key-file", path)
    assert asked.returncode == 0, asked.stderr
    assert run("models", "--addr", locked.address, "--api-key-file",
               tmp_path / "missing").returncode == 2


def test_rate_limit(locked, keys):
    _, secrets = keys
    client_with(locked, secrets["carol"]).text("hi", max_tokens=4)
    error = refusal(locked, secrets["carol"])
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    info, _, retry = error_details(error)
    assert info.reason == "RATE_LIMITED"
    assert 30 <= retry.retry_delay.seconds <= 60


def http_get(daemon, path, headers=None):
    """(status, headers, body) of a GET on the main port"""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
    try:
        connection.request("GET", path, headers=headers or {})
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read().decode()
    finally:
        connection.close()


def test_http_is_denied_too(locked, keys):
    key = {"authorization": f"Bearer {keys[1]['alice']}"}
    for path in ("/healthz", "/readyz", "/health"):
        assert http_get(locked, path)[0] == 200
    for path in ("/v1/models", "/v1/models/demo", "/metrics", "/version", "/v1/chat/completions",
                 "/no/such/route", "/v1/../metrics", "/METRICS", "//metrics"):
        status, headers, body = http_get(locked, path)
        assert status == 401, path
        assert headers["www-authenticate"] == "Bearer"
        assert "demo" not in body
        assert http_get(locked, path, {"x-api-key": "wrong"})[0] == 401
    assert http_get(locked, "/v1/models", key)[0] == 200
    assert http_get(locked, "/v1/models", {"x-api-key": keys[1]["alice"]})[0] == 200
    assert http_get(locked, "/no/such/route", key)[0] == 404
    bob = {"authorization": f"Bearer {keys[1]['bob']}"}
    assert '"data":[]' in http_get(locked, "/v1/models", bob)[2].replace(" ", "")
    some = http_get(locked, "/metrics?name[]=inferd_requests_live&name%5B%5D=vllm:lora_requests_info",
                    key)[2]
    assert [line.split()[2] for line in some.splitlines() if line.startswith("# TYPE")] == [
        "inferd_requests_live", "vllm:lora_requests_info"]


def test_http_rate_limit(keys, tmp_path):
    secret, lines = new_key("--id", "dave", "--rpm", "1")
    path = tmp_path / "keys.yaml"
    path.write_text("keys:\n" + lines)
    with Daemon(f"--api-keys-file={path}", "--metrics.require_key=false") as daemon:
        def post():
            connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
            connection.request("POST", "/v1/completions",
                               body='{"model": "demo", "prompt": "hi", "max_tokens": 2}',
                               headers={"content-type": "application/json",
                                        "authorization": f"Bearer {secret}"})
            reply = connection.getresponse()
            body = reply.read().decode()
            connection.close()
            return reply.status, reply.headers, body

        assert post()[0] == 200
        status, headers, body = post()
        assert status == 429, body
        assert 30 <= int(headers["retry-after"]) <= 60
        assert http_get(daemon, "/metrics")[0] == 200


def test_secrets_are_nowhere(locked, keys):
    _, secrets = keys
    client_with(locked, secrets["alice"]).text("hi", max_tokens=4)
    locked.wait_log(r'key_id="alice"')
    process = pathlib.Path(f"/proc/{locked.process.pid}")
    places = [locked.log(), (process / "cmdline").read_text(), (process / "environ").read_text(),
              locked.http("/metrics")[1],
              run("serve", "--model=x", f"--api-keys-file={keys[0]}", "--print-config").stdout]
    for secret in secrets.values():
        for place in places:
            assert secret not in place
    # Nor the ids, where anybody who scrapes could make series of them.
    assert "alice" not in places[3]


def test_no_core_file_unless_asked_for(locked):
    limits = pathlib.Path(f"/proc/{locked.process.pid}/limits").read_text()
    assert re.search(r"Max core file size\s+0\s", limits)
    with Daemon("--server.core_dumps") as daemon:
        limits = pathlib.Path(f"/proc/{daemon.process.pid}/limits").read_text()
        own = pathlib.Path("/proc/self/limits").read_text()
        wanted = re.search(r"Max core file size\s+(\S+)", own)[1]
        assert re.search(r"Max core file size\s+(\S+)", limits)[1] == wanted


def test_bad_key_files_are_refused(tmp_path):
    secret, lines = new_key("--id", "alice")
    path = tmp_path / "keys.yaml"
    path.write_text("keys:\n" + lines)
    assert run("key", "check", path).stdout == "1 key, no errors\n"
    path.write_text("keys:\n" + lines + lines + f"  - id: {secret}!\n")
    for command in (["key", "check", path],
                    ["serve", "--model=x", f"--api-keys-file={path}", "--check-config"],
                    ["serve", "--model=x", f"--api-keys-file={path}"]):
        result = run(*command)
        assert result.returncode == 78, result.stderr
        assert "id: alice is there twice" in result.stderr
        assert secret not in result.stdout + result.stderr
    assert run("key", "check", tmp_path / "missing").returncode == 78


def test_open_addresses_need_keys(keys):
    refused = run("serve", "--model=x", "--host=0.0.0.0")
    assert refused.returncode == 78
    assert "server.api_keys_file" in refused.stderr
    assert run("serve", "--model=x", "--host=0.0.0.0", f"--api-keys-file={keys[0]}",
               "--check-config").returncode == 0
