"""The client subcommands against the real daemon."""

import os
import pty
import re
import select
import signal
import subprocess
import time

from daemon import BINARY, run

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


def test_terminal(shared_daemon):
    """Ctrl-C stops the answer, then only hints; Ctrl-D leaves."""
    terminal = Terminal("--addr", shared_daemon.address, "--temperature", "1.8", "--max-tokens", "900",
                        "--top-p", "1")
    terminal.read_until(r"> ")
    terminal.write("Tell me a long story.\n")
    terminal.read_until(r"story\.\r\n.")
    terminal.write("\x03")
    terminal.read_until(r"\[stopped\]|> ")
    terminal.write("\x03")
    terminal.read_until(r"Ctrl-D or /quit leaves")
    terminal.write("\x04")
    assert terminal.wait() == 0


def test_ctrl_c_ends_once(shared_daemon):
    child = subprocess.Popen([BINARY, "chat", "--addr", shared_daemon.address, "--once", "Tell me a story.",
                              "--temperature", "2", "--max-tokens", "900"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.read(1)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=20)
    assert child.returncode in (0, 130)
