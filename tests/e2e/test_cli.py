"""The client subcommands against the real daemon."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time

import pytest
from daemon import BINARY, MODEL, Daemon, run

QUESTION = "What is the largest of 28, 74, 25, 41?"


def test_once(shared_daemon, client):
    result = run("chat", "--addr", shared_daemon.address, "--once", QUESTION, "--temperature", 0)
    assert result.returncode == 0, result.stderr
    assert result.stdout == client.text(QUESTION, temperature=0) + "\n"
    assert result.stderr == ""


def test_once_with_options(shared_daemon):
    result = run("chat", "--addr", shared_daemon.address, "--once", "Tell me a story.", "--seed", 5,
                 "--max-tokens", 6, "--system", "Be short and exact.", "--stats")
    assert result.returncode == 0, result.stderr
    assert re.search(r"\d+ prompt tokens, .* \d+ tokens; first after", result.stderr)


def test_conversation_from_a_pipe(shared_daemon):
    result = run("chat", "--addr", shared_daemon.address, "--temperature", 0, "--max-tokens", 24,
                 stdin=f"{QUESTION}\nAnd the smallest?\n/reset\n{QUESTION}\n/nonsense\n/quit\nnot asked\n")
    assert result.returncode == 0, result.stderr
    answers = result.stdout.splitlines()
    assert len(answers) == 3
    assert answers[0] == answers[2]
    assert "no such command" in result.stderr


def test_a_refused_question(shared_daemon):
    result = run("chat", "--addr", shared_daemon.address, "--once", "x", "--model", "other")
    assert result.returncode == 1
    assert result.stdout == ""
    assert "NOT_FOUND" in result.stderr


def test_no_daemon():
    for command in (["chat", "--once", "x"], ["health"], ["models"]):
        result = run(*command, "--addr", "127.0.0.1:1", "--timeout", 5)
        assert result.returncode == 1
        assert "UNAVAILABLE" in result.stderr


def test_health_and_models(shared_daemon):
    result = run("health", "--addr", shared_daemon.address, "--service", "inferd.v1.ChatService")
    assert (result.returncode, result.stdout) == (0, "SERVING\n")
    assert run("health", "--addr", shared_daemon.address, "--service", "no.Such").returncode == 1
    result = run("models", "--addr", shared_daemon.address)
    assert result.returncode == 0
    assert result.stdout.startswith("demo\tLlamaForCausalLM\t")


class Terminal:
    """`inferd chat` on a pseudo-terminal."""

    def __init__(self, *arguments):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(BINARY, [BINARY, "chat", *arguments])
        self.seen = ""

    def read_until(self, pattern, timeout=30):
        end = time.monotonic() + timeout
        while not re.search(pattern, self.seen):
            assert time.monotonic() < end, self.seen
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 4096).decode(errors="replace")
                except OSError:  # the other side is gone
                    break
        found = re.search(pattern, self.seen)
        assert found, self.seen
        self.seen = self.seen[found.end():]

    def write(self, text):
        os.write(self.fd, text.encode())

    def wait(self):
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def endless_daemon(tmp_path):
    """The demo model without an end token, on the slow backend: answers last."""
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    for file in ("config.json", "generation_config.json"):
        content = json.loads((model / file).read_text())
        content["eos_token_id"] = 2047
        (model / file).write_text(json.dumps(content))
    with Daemon("--backend=ref", "--kv-cache-size=64MiB", model=model) as daemon:
        yield daemon


def test_terminal(endless_daemon):
    """Ctrl-C stops the answer and not the program, then only hints; Ctrl-D leaves."""
    terminal = Terminal("--addr", endless_daemon.address)
    terminal.read_until(r"> ")
    for _ in range(2):
        terminal.write("What is the KV cache?\n")
        terminal.read_until(r"cache\?\r\n.*\w")
        terminal.write("\x03")
        terminal.read_until(r"\[stopped\]")
        terminal.read_until(r"> ")
    end = time.monotonic() + 10  # the client knows before the daemon
    while (cancelled := endless_daemon.metric("inferd_requests_total", code="CANCELLED",
                                              method="ChatService/StreamChatCompletion")) < 2:
        assert time.monotonic() < end, cancelled
        time.sleep(0.02)
    assert cancelled == 2
    terminal.write("\x03")
    terminal.read_until(r"Ctrl-D or /quit leaves")
    terminal.write("\x04")
    assert terminal.wait() == 0


def test_ctrl_c_ends_once(endless_daemon):
    child = subprocess.Popen([BINARY, "chat", "--addr", endless_daemon.address, "--once", "What is the KV cache?"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.read(1)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=20)
    assert (child.returncode, errors) == (130, b"[stopped]\n")
