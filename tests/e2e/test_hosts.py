"""One model on several hosts: a leader that serves, and workers whose ranks connect to it.

The hosts are loopback addresses, and in one test network namespaces joined by a cable, slow and
lossy where the kernel can do that (root and iproute2; skipped where they are missing).
"""

import os
import subprocess

import pytest
from client import Client, streamed_text
from daemon import BINARY, Daemon, run
from ranks import hurt, make_jobs, rank_processes

HOSTS = ("127.0.0.1", "127.0.0.2")


@pytest.fixture(scope="module")
def undisturbed(shared_daemon):
    with shared_daemon.channel() as channel:
        client = Client(channel)
        return [streamed_text(client.stream(text, **fields)) for text, fields in make_jobs()[:2]]


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text("a secret of this deployment\n")
    path.chmod(0o600)
    return path


def hosts_flags(key_file, port, hosts=HOSTS):
    return ("--tp=2", f"--hosts={','.join(hosts)}", f"--parallel.key_file={key_file}",
            f"--parallel.port={port}")


def ask_all(daemon, undisturbed):
    with daemon.channel() as channel:
        client = Client(channel)
        for (text, fields), expected in zip(make_jobs(), undisturbed):
            assert streamed_text(client.stream(text, **fields)) == expected


def test_two_hosts_answer_like_one(undisturbed, key_file):
    flags = hosts_flags(key_file, 29510)
    with Daemon(*flags, "--host-index=1", wait=False) as worker, \
            Daemon(*flags, "--host-index=0") as leader:
        ask_all(leader, undisturbed)
        # A rank of the other host dies under a stream, and then one of this host.
        for victim in (worker, leader):
            with leader.channel() as channel:
                text, fields = make_jobs()[1]
                stream = Client(channel).stream(text, **fields)
                got = [next(stream)]
                hurt(next(iter(rank_processes(victim).values())), "kill")
                got.extend(stream)
                assert streamed_text(got) == undisturbed[1]
        assert leader.metric("inferd_rank_losses_total") >= 2
        assert worker.process.poll() is None
        assert leader.stop() == 0
        # The worker waits for the next leader.
        with Daemon(*flags, "--host-index=0") as successor:
            ask_all(successor, undisturbed)
        assert worker.stop() == 0


@pytest.mark.parametrize("launcher", ["lws", "torchrun"])
def test_launchers_say_who_leads(undisturbed, key_file, launcher):
    def environment(index):
        if launcher == "lws":
            return {"LWS_LEADER_ADDRESS": "127.0.0.1", "LWS_GROUP_SIZE": "2",
                    "LWS_WORKER_INDEX": str(index)}
        return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29520", "WORLD_SIZE": "2",
                "RANK": str(index)}
    # Both hosts have one address here: they share the ports, which differ by stage.
    flags = ("--pp=2", f"--parallel.key_file={key_file}", "--parallel.port=29520")
    with Daemon(*flags, env=environment(1), wait=False) as worker:
        worker.wait_log("host 1 of 2 on 127.0.0.1, for the leader 127.0.0.1 port 29520")
        leader = Daemon(*flags, env=environment(0), wait=False)
        leader.wait_log("rank 1: on 127.0.0.1")
        leader.process.kill()
        leader.process.wait()


def test_what_does_not_fit_is_refused_with_one_line(key_file, tmp_path):
    flags = hosts_flags(key_file, 29530)
    other = tmp_path / "other"
    other.write_text("another secret, of another one\n")
    other.chmod(0o600)
    with Daemon(*hosts_flags(other, 29530), "--host-index=1", wait=False) as worker:
        leader = Daemon(*flags, "--host-index=0", "--parallel.start_timeout=2s", wait=False)
        assert leader.wait_exit() == 1
        assert "key" in leader.log().splitlines()[-1], leader.log()
        assert worker.process.poll() is None
    # Two leaders: the second finds the port taken.
    first = Daemon(*flags, "--host-index=0", wait=False)
    first.wait_log("waiting for 1 ranks")
    second = Daemon(*flags, "--host-index=0", wait=False)
    assert second.wait_exit() == 1
    assert "listening for ranks on 127.0.0.1:29530" in second.log()
    first.process.kill()
    first.process.wait()


@pytest.mark.parametrize("flags,line", [
    (("--tp=2", "--hosts=a,b"), "parallel.host_index: must say which"),
    (("--tp=2", "--hosts=a,b", "--host-index=0"), "parallel.key_file: needed"),
    (("--tp=3", "--hosts=a,b", "--host-index=0", "KEY"), "3 ranks cannot be shared out evenly"),
    (("--tp=2", "--hosts=a,b", "--host-index=0", "--executor=thread", "KEY"), "are processes"),
    (("--tp=2", "--hosts=a,b", "--host-index=0", "OPEN"), "anybody may read it")])
def test_bad_configurations(key_file, flags, line):
    if "OPEN" in flags:
        key_file.chmod(0o644)
    flags = [f"--parallel.key_file={key_file}" if flag in ("KEY", "OPEN") else flag for flag in flags]
    daemon = Daemon(*flags, wait=False)
    assert daemon.wait_exit() == 78
    assert line in daemon.log()


class Cable:
    """Two network namespaces and a cable; None where that is not allowed."""

    def __init__(self, name):
        self.names = (name + "a", name + "b")
        self.hosts = ("10.98.0.1", "10.98.0.2")

    def __enter__(self):
        a, b = self.names
        if not (self.run("ip", "netns", "add", a) and self.run("ip", "netns", "add", b) and
                self.run("ip", "-n", a, "link", "add", "cable", "type", "veth", "peer", "name",
                         "cable", "netns", b)):
            self.__exit__()
            pytest.skip("needs root, ip and network namespaces")
        for name, host in zip(self.names, self.hosts):
            assert self.run("ip", "-n", name, "addr", "add", host + "/24", "dev", "cable")
            assert self.run("ip", "-n", name, "link", "set", "lo", "up")
            assert self.run("ip", "-n", name, "link", "set", "cable", "up")
        return self

    def __exit__(self, *_):
        for name in self.names:
            self.run("ip", "netns", "del", name)

    @staticmethod
    def run(*command):
        try:
            return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0
        except FileNotFoundError:
            return False


def test_two_network_namespaces(shared_daemon, key_file):
    with Cable(f"inferd{os.getpid()}") as cable:
        # Not every kernel can be asked for a bad link; then it is a good one.
        bad = all(cable.run("tc", "-n", name, "qdisc", "add", "dev", "cable", "root", "netem",
                            "delay", "1ms", "loss", "0.5%") for name in cable.names)
        print("with" if bad else "without", "delay and loss")
        flags = hosts_flags(key_file, 29540, cable.hosts)
        prefixes = [("ip", "netns", "exec", name) for name in cable.names]
        with Daemon(*flags, "--host-index=1", wait=False, prefix=prefixes[1]) as worker, \
                Daemon(*flags, "--host-index=0", prefix=prefixes[0]) as leader:
            # The client is on the leader's host.
            for number in range(4):
                ask = ("--once", f"Write a poem about the number {number}.", "--max-tokens", "60",
                       "--temperature", str(number % 2), "--seed", str(number))
                expected = run("chat", "--addr", shared_daemon.address, *ask)
                got = subprocess.run([*prefixes[0], BINARY, "chat", "--addr", leader.address, *ask],
                                     capture_output=True, text=True, timeout=120, check=True)
                assert expected.returncode == 0 and got.stdout == expected.stdout != ""
            assert worker.process.poll() is None
