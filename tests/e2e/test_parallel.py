"""Ranks that share the demo model answer as one rank does."""

import concurrent.futures
import json

import pytest
from client import Client
from daemon import ROOT, Daemon
from inferd.v1 import services_pb2

CASES = [json.loads(line) for line in
         (ROOT / "tests" / "e2e" / "heldout_expected.jsonl").read_text().splitlines() if line.strip()]


@pytest.mark.parametrize("flags, tp, pp", [
    (("--tp=2", "--executor=thread"), 2, 1), (("--tp=4", "--executor=thread"), 4, 1),
    (("--tp=2x2", "--executor=thread"), 4, 1), (("--pp=2", "--executor=thread"), 1, 2),
    (("--pp=3", "--parallel.layer_split=1,5,1", "--executor=thread"), 1, 3), (("--tp=2", "--pp=2", "--executor=thread"), 2, 2),
    (("--tp=2x2", "--executor=process"), 4, 1), (("--tp=2", "--pp=2", "--executor=process"), 2, 2)])
def test_answers_are_those_of_one_rank(flags, tp, pp):
    """The recorded greedy answers, of which one rank gives every one."""
    cases = CASES[:48]
    with Daemon(*flags, "--parallel.compare_tokens=true") as daemon, daemon.channel() as channel:
        client = Client(channel)

        def ask(case):
            messages = [(m["role"], m["content"]) for m in case["messages"]]
            return client.text(messages, temperature=0, max_tokens=64).strip()

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, cases))
        info = client.server.GetServerInfo(services_pb2.GetServerInfoRequest(), timeout=10)
        assert (info.tensor_parallel_size, info.pipeline_parallel_size) == (tp, pp)
        assert len(info.devices) == tp * pp
        if pp > 1:
            for stage in range(pp):
                assert 0 <= daemon.metric("inferd_pipeline_bubble_ratio", stage=stage) < 1
        else:
            assert not any(name.startswith("inferd_pipeline") for name in daemon.metrics())
    wrong = [(case["transformers"], answer) for case, answer in zip(cases, answers)
             if answer != case["transformers"].strip()]
    assert not wrong, f"{len(wrong)} of {len(cases)} differ, first: {wrong[:3]}"


def test_a_model_that_does_not_divide_is_refused():
    daemon = Daemon("--tp=3", wait=False)
    assert daemon.process.wait(timeout=60) != 0
    assert "8 query heads cannot be split over 3 ranks" in daemon.log()


def test_streamed_weights_answer_alike(tmp_path):
    """Layers that stay in the packed file; made by the first start, found by the second."""
    case = CASES[0]
    messages = [(m["role"], m["content"]) for m in case["messages"]]
    for flags in ((), ("--tp=2", "--executor=thread"), ()):
        with Daemon("--weights=host-stream", f"--packed-cache={tmp_path}", *flags) as daemon, \
                daemon.channel() as channel:
            answer = Client(channel).text(messages, temperature=0, max_tokens=64).strip()
            assert answer == case["transformers"].strip()
    assert len(list(tmp_path.glob("*.packed"))) == 3


@pytest.mark.parametrize("flags", [("--tp=2", "--executor=thread"), ("--tp=2", "--executor=process"),
                                   ("--tp=2", "--pp=2", "--executor=process")])
def test_sharded_weights_answer_alike(flags):
    cases = CASES[:12]
    with Daemon("--weights=sharded", *flags) as daemon, daemon.channel() as channel:
        client = Client(channel)

        def ask(case):
            messages = [(m["role"], m["content"]) for m in case["messages"]]
            return client.text(messages, temperature=0, max_tokens=64).strip()

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert list(pool.map(ask, cases)) == [case["transformers"].strip() for case in cases]
        assert daemon.stop() == 0


def test_sharded_weights_need_ranks_to_share_them():
    for flags in ((), ("--tp=2x2",)):
        daemon = Daemon("--weights=sharded", *flags, wait=False)
        assert daemon.process.wait(timeout=60) != 0
        assert "sharded needs several ranks" in daemon.log()


@pytest.mark.parametrize("flags", [("--tp=2", "--executor=thread"), ("--tp=2", "--executor=process")])
def test_lossy_sums_are_measured_when_they_are_allowed(flags):
    with Daemon(*flags, "--parallel.all_reduce=int8") as daemon, daemon.channel() as channel:
        assert daemon.wait_log(r"sums over 2 ranks: .*\(\d+ us\)")
        assert Client(channel).text("Hello", temperature=0, max_tokens=8)
    with Daemon(*flags) as daemon:
        assert "sums over" not in daemon.log()
