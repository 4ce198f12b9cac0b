"""One model on several hosts: a leader that serves, and workers whose ranks connect to it.

The hosts are loopback addresses, and in one test a network namespace at the end of a bad link.
"""

import pytest
from client import Client, streamed_text
from daemon import Daemon
from links import Link, free_ports
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
    flags = hosts_flags(key_file, free_ports(HOSTS[0], 8))
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


def test_stacks_of_all_ranks_are_in_the_logs_of_their_hosts(undisturbed, key_file):
    flags = (*hosts_flags(key_file, free_ports(HOSTS[0], 8)), "--engine.step_timeout=300ms",
             "--parallel.heartbeat_timeout=1s", "--engine.max_rank_losses=100")
    with Daemon(*flags, "--host-index=1", wait=False) as worker, \
            Daemon(*flags, "--host-index=0") as leader, leader.channel() as channel:
        # The rank of the other host waits for it in the midst of a step.
        hurt(rank_processes(leader)[0], "stop")
        text, fields = make_jobs()[1]
        assert streamed_text(Client(channel).stream(text, **fields)) == undisturbed[1]
        leader.wait_log("rank 0 does not answer: thread")
        leader.wait_log("the stacks of ranks on other hosts are in the logs there")
        worker.wait_log("rank 1: stack of thread inferd-rank1")
        worker.wait_log("rank 1: stack of thread inferd-watch")
        assert "rank 1: stack" not in leader.log()


@pytest.mark.parametrize("launcher", ["lws", "torchrun"])
def test_launchers_say_who_leads(undisturbed, key_file, launcher):
    port = free_ports("127.0.0.1", 8)

    def environment(index):
        if launcher == "lws":
            return {"LWS_LEADER_ADDRESS": "127.0.0.1", "LWS_GROUP_SIZE": "2",
                    "LWS_WORKER_INDEX": str(index)}
        return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2",
                "RANK": str(index)}
    # Both hosts have one address here, and only the first of a pair of ranks listens.
    flags = ("--pp=2", f"--parallel.key_file={key_file}", f"--parallel.port={port}")
    with Daemon(*flags, env=environment(1), wait=False) as worker:
        worker.wait_log(f"host 1 of 2 on 127.0.0.1, for the leader 127.0.0.1 port {port}")
        with Daemon(*flags, env=environment(0)) as leader:
            leader.wait_log("rank 1: on 127.0.0.1")
            ask_all(leader, undisturbed)


def test_what_does_not_fit_is_refused_with_one_line(key_file, tmp_path):
    port = free_ports(HOSTS[0], 8)
    flags = hosts_flags(key_file, port)
    other = tmp_path / "other"
    other.write_text("another secret, of another one\n")
    other.chmod(0o600)
    with Daemon(*hosts_flags(other, port), "--host-index=1", wait=False) as worker:
        leader = Daemon(*flags, "--host-index=0", "--parallel.start_timeout=2s", wait=False)
        assert leader.wait_exit() == 1
        assert "key" in leader.log().splitlines()[-1], leader.log()
        assert worker.process.poll() is None
    # Two leaders: the second finds the port taken.
    first = Daemon(*flags, "--host-index=0", wait=False)
    first.wait_log("waiting for 1 ranks")
    second = Daemon(*flags, "--host-index=0", wait=False)
    assert second.wait_exit() == 1
    assert f"listening for ranks on 127.0.0.1:{port}" in second.log()
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


def test_two_hosts_over_a_bad_link(undisturbed, key_file):
    """Late, overtaking and lost frames change no text."""
    with Link(delay=2000, jitter=2000, loss=5000) as link:
        flags = hosts_flags(key_file, free_ports(link.hosts[0], 8), link.hosts)
        with Daemon(*flags, "--host-index=1", wait=False, prefix=link.prefix) as worker, \
                Daemon(*flags, "--host-index=0") as leader:
            ask_all(leader, undisturbed)
            assert leader.metric("inferd_rank_losses_total") == 0
            assert worker.process.poll() is None


def test_sums_within_hosts_first(undisturbed, key_file):
    flags = ("--tp=4", f"--hosts={','.join(HOSTS)}", f"--parallel.key_file={key_file}",
             f"--parallel.port={free_ports(HOSTS[0], 20)}",
             "--parallel.all_reduce=always-hierarchical")
    with Daemon(*flags, "--host-index=1", wait=False), \
            Daemon(*flags, "--host-index=0") as leader:
        ask_all(leader, undisturbed)
        leader.wait_log("sums over 4 ranks: hierarchical")
