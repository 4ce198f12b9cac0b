"""The clients of clients/, each against a live daemon."""

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import grpc
import pytest
from daemon import GENERATED, ROOT, Daemon
from test_tls import Authority

CLIENTS = ROOT / "clients"
COMMON_PROTOS = "googleapis-common-protos==1.70.0"


def clean(**more):
    return {k: v for k, v in os.environ.items() if not k.startswith(("INFERD_", "PYTHON"))} | more


def wait_for(condition, timeout=10):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


# ---- Python ----


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package as pip builds it, in a folder of its own."""
    work = tmp_path_factory.mktemp("python-client")
    source = shutil.copytree(CLIENTS / "python", work / "source")
    # The build's own dependencies are those of the tests: no second environment is made.
    made = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--target", str(work / "site"), str(source), COMMON_PROTOS],
        capture_output=True, text=True, env=clean(INFERD_PROTO_DIR=str(ROOT / "proto")), check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    return work / "site"


def python(installed, code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120,
                          env=clean(PYTHONPATH=str(installed)), check=False)


def test_python_is_typed(installed):
    assert (installed / "inferd_client/py.typed").exists()
    assert (installed / "inferd/v1/chat_pb2.pyi").exists()


def test_python_chat_stream_and_errors(installed, shared_daemon):
    code = """
import sys
from inferd_client import ApiError, Client
with Client(sys.argv[1], timeout=60) as client:
    assert client.models() == ["demo"], client.models()
    assert client.server_info().version
    assert client.tokenize("Hello")
    whole = client.chat("What is 2+3?", temperature=0)
    text = "".join(chunk.text for chunk in client.stream_chat("What is 2+3?", temperature=0))
    assert text == whole.choices[0].message.content and "5" in text, text
    pairs = [("system", "Be brief."), ("user", "Hello")]
    assert client.chat(pairs, temperature=0, max_completion_tokens=4).usage.completion_tokens <= 4
    try:
        client.chat("Hello", temperature=-1)
    except ApiError as error:
        assert (error.reason, error.field) == ("INVALID_PARAMETER", "temperature"), error
        assert error.retry_after is None
    else:
        raise AssertionError("not refused")
    try:
        client.chat("Tell me a story.", timeout=0.01, max_completion_tokens=200, ignore_eos=True)
    except ApiError as error:
        assert error.code.name == "DEADLINE_EXCEEDED", error
    else:
        raise AssertionError("no deadline")
    try:
        client.chat([("robot", "Hello")])
    except ValueError as error:
        assert "robot" in str(error)
"""
    result = python(installed, code, shared_daemon.address)
    assert result.returncode == 0, result.stderr


def test_python_cancels(installed, shared_daemon):
    before = shared_daemon.metric("inferd_requests_ended_total", outcome="cancelled")
    code = """
import sys
from inferd_client import Client
with Client(sys.argv[1]) as client:
    with client.stream_chat("Tell me a story.", max_completion_tokens=400, ignore_eos=True) as stream:
        next(iter(stream))
"""
    result = python(installed, code, shared_daemon.address)
    assert result.returncode == 0, result.stderr
    wait_for(lambda: shared_daemon.metric("inferd_requests_ended_total", outcome="cancelled") > before)
    wait_for(lambda: shared_daemon.metric("inferd_num_requests_running") == 0)


class Refusing:
    """A server whose first `refusals` answers are UNAVAILABLE; then it answers "5"."""

    def __init__(self, refusals):
        from inferd.v1 import chat_pb2, chat_pb2_grpc
        self.calls = 0

        class Chat(chat_pb2_grpc.ChatServiceServicer):
            def CreateChatCompletion(inner, request, context):  # noqa: N805
                self.calls += 1
                if self.calls <= refusals:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "loading")
                answer = chat_pb2.ChatCompletion()
                answer.choices.add().message.content = "5"
                return answer

        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        chat_pb2_grpc.add_ChatServiceServicer_to_server(Chat(), self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()


@pytest.mark.parametrize("attempts, answered", [(3, True), (2, False), (1, False)])
def test_python_retries(installed, attempts, answered):
    code = """
import sys
from inferd_client import Client
with Client(sys.argv[1], timeout=60, attempts=int(sys.argv[2])) as client:
    print(client.chat("What is 2+3?").choices[0].message.content)
"""
    refusing = Refusing(2)
    result = python(installed, code, refusing.address, str(attempts))
    refusing.server.stop(None)
    assert (result.returncode == 0 and result.stdout == "5\n") == answered, result.stderr
    assert refusing.calls == attempts


def test_python_openai_shape(installed, shared_daemon):
    code = """
import sys
from inferd_client.openai import OpenAI
with OpenAI(target=sys.argv[1]) as client:
    assert [model.id for model in client.models.list()] == ["demo"]
    messages = [{"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "What is 2+3?"}]}]
    answer = client.chat.completions.create(model="demo", messages=messages, temperature=0, stop="zzz",
                                            extra_body={"top_k": 1})
    assert answer.object == "chat.completion" and answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    chunks = list(client.chat.completions.create(model="demo", messages=messages, temperature=0, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == answer.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    chunks = list(client.chat.completions.create(messages=messages, stream=True,
                                                 stream_options={"include_usage": True}))
    assert chunks[-1].usage.completion_tokens > 0 and not chunks[-1].choices
"""
    result = python(installed, code, shared_daemon.address)
    assert result.returncode == 0, result.stderr


def test_python_readme_runs(installed, shared_daemon):
    readme = (CLIENTS / "python/README.md").read_text()
    code = readme.partition("```python\n")[2].partition("```")[0].replace("localhost:50051", shared_daemon.address)
    result = python(installed, code)
    assert result.returncode == 0, result.stderr
    assert "['demo']" in result.stdout and "INVALID_PARAMETER temperature None" in result.stdout


# ---- C++ ----


@pytest.fixture(scope="module")
def ask():
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    build = pathlib.Path(GENERATED) / "client-cpp"
    subprocess.run(["cmake", "-S", str(CLIENTS / "cpp"), "-B", str(build), "-G", "Ninja"], check=True,
                   capture_output=True)
    made = subprocess.run(["cmake", "--build", str(build)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    assert "warning" not in made.stdout
    return str(build / "inferd_ask")


def test_cpp_streams(ask, shared_daemon):
    result = subprocess.run([ask, shared_daemon.address, "What is 2+3?"], capture_output=True, text=True,
                            timeout=60, env=clean(), check=False)
    assert result.returncode == 0, result.stderr
    assert "5" in result.stdout and "tokens" in result.stderr


def test_cpp_cancels(ask, shared_daemon):
    result = subprocess.run([ask, shared_daemon.address, "Tell me everything about paging.", "1"],
                            capture_output=True, text=True, timeout=60, env=clean(), check=False)
    assert result.returncode == 1, result.stderr  # CANCELLED
    wait_for(lambda: shared_daemon.metric("inferd_num_requests_running") == 0)


def test_cpp_without_a_daemon(ask):
    result = subprocess.run([ask, "127.0.0.1:1", "Hello"], capture_output=True, text=True, timeout=60,
                            env=clean(), check=False)
    assert result.returncode == 14  # UNAVAILABLE


# ---- shell ----


@pytest.fixture(scope="module")
def grpcurl_path(tmp_path_factory):
    """A PATH with grpcurl: the real one, or the part of it that the script uses."""
    if shutil.which("grpcurl") is not None:
        return os.environ["PATH"]
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "grpcurl"
    standin = pathlib.Path(__file__).with_name("grpcurl_standin.py")
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -B "{standin}" "$@"\n')
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def grpcurl(path, daemon, *arguments, key=None):
    environment = clean(INFERD_ADDR=daemon.address, PATH=path, **({"INFERD_API_KEY": key} if key else {}))
    return subprocess.run([str(CLIENTS / "shell/grpcurl.sh"), *arguments], capture_output=True, text=True,
                          timeout=60, env=environment, check=False)


def json_objects(text):
    decoder, objects, at = json.JSONDecoder(), [], 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        value, at = decoder.raw_decode(text, at)
        objects.append(value)
    return objects


def test_grpcurl(grpcurl_path, shared_daemon):
    def ask(*arguments):
        result = grpcurl(grpcurl_path, shared_daemon, *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert {"inferd.v1.ChatService", "grpc.health.v1.Health"} <= set(ask("list").split())
    assert json.loads(ask("health")) == {"status": "SERVING"}
    assert json.loads(ask("models"))["models"][0]["id"] == "demo"
    [answer] = json_objects(ask("chat", "What is 2+3?"))
    assert "5" in answer["choices"][0]["message"]["content"]
    chunks = json_objects(ask("stream", 'Say "hi"\nor C:\\'))
    text = "".join(choice.get("delta", {}).get("content", "") for chunk in chunks for choice in chunk.get("choices", []))
    assert len(chunks) > 2 and text


def test_grpcurl_shows_a_key(grpcurl_path, api_key):
    path, secret = api_key
    with Daemon(f"--api-keys-file={path}") as daemon:
        assert json.loads(grpcurl(grpcurl_path, daemon, "models", key=secret).stdout)["models"]
        refused = grpcurl(grpcurl_path, daemon, "models")
        assert refused.returncode != 0 and secret not in refused.stdout + refused.stderr


# ---- TLS ----


def test_tls_and_a_key(grpcurl_path, ask, api_key, tmp_path):
    path, secret = api_key
    certificate, key = Authority(tmp_path).sign("server")
    trusted = clean(INFERD_API_KEY=secret, INFERD_TLS_CA=str(tmp_path / "ca.pem"))
    with Daemon(f"--api-keys-file={path}", f"--tls-certificate={certificate}", f"--tls-key={key}") as daemon:
        calls = {
            "curl": ([str(CLIENTS / "shell/curl.sh"), "chat"], {"INFERD_URL": f"https://{daemon.address}"}),
            "grpcurl": ([str(CLIENTS / "shell/grpcurl.sh"), "chat"],
                        {"INFERD_ADDR": daemon.address, "PATH": grpcurl_path}),
            "inferd_ask": ([ask, daemon.address], {}),
        }
        for name, (command, more) in calls.items():
            result = subprocess.run([*command, "What is 2+3?"], capture_output=True, text=True, timeout=60,
                                    env=trusted | more, check=False)
            assert result.returncode == 0 and "5" in result.stdout, (name, result.stderr)
            strangers = {n: v for n, v in (trusted | more).items() if n != "INFERD_TLS_CA"}
            assert subprocess.run([*command, "What is 2+3?"], capture_output=True, timeout=60, env=strangers,
                                  check=False).returncode != 0, name
