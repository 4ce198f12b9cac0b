"""clients/shell/curl.sh against a live daemon."""

import json
import os
import subprocess

from daemon import ROOT


def environment_with(more):
    return {k: v for k, v in os.environ.items() if not k.startswith("INFERD_")} | more


def curl(daemon, *arguments, **environment):
    return subprocess.run([str(ROOT / "clients/shell/curl.sh"), *arguments], capture_output=True, text=True, timeout=60,
                          env=environment_with({"INFERD_URL": f"http://{daemon.address}", **environment}), check=False)


def test_curl_asks(shared_daemon):
    assert curl(shared_daemon, "ready").returncode == 0
    assert json.loads(curl(shared_daemon, "models").stdout)["data"][0]["id"] == "demo"
    answer = curl(shared_daemon, "chat", 'What is 2+3?')
    assert answer.returncode == 0, answer.stderr
    assert "5" in json.loads(answer.stdout)["choices"][0]["message"]["content"]
    assert "inferd_build_info" in curl(shared_daemon, "metrics").stdout


def test_curl_quotes_what_it_sends(shared_daemon):
    answer = curl(shared_daemon, "chat", 'say "hi" \\ and\na new line')
    assert answer.returncode == 0, answer.stdout


def test_curl_streams(shared_daemon):
    lines = [line for line in curl(shared_daemon, "stream", "What is 2+3?").stdout.splitlines() if line]
    assert all(line.startswith("data: ") for line in lines) and lines[-1] == "data: [DONE]"
    chunks = [json.loads(line[6:]) for line in lines[:-1]]
    assert "5" in "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])


def test_curl_shows_errors(shared_daemon):
    result = curl(shared_daemon, "models", INFERD_URL=f"http://{shared_daemon.address}/nothing")
    assert result.returncode == 22
