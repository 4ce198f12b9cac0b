"""Many streams at once: nobody's text depends on the others, and nothing is left behind."""

import concurrent.futures
import random
import threading
import time

import grpc
import pytest
from client import Client
from daemon import Daemon

STREAMS = 64
TOPICS = ["the KV cache", "a tokenizer", "softmax", "the sea", "a good friend", "the weather"]


def make_jobs(seed):
    """Requests of mixed lengths; every third is greedy, every fourth is cancelled on the way."""
    # The first alone asks for more than the crowded cache holds.
    rng = random.Random(seed)
    jobs = []
    for i in range(STREAMS):
        words = " ".join(rng.choice(TOPICS) for _ in range(rng.choice([1, 4, 16, 60])))
        fields = {"max_tokens": rng.choice([1, 8, 24, 64, 120]), "seed": rng.randrange(2**40)}
        fields["temperature"] = 0.0 if i % 3 == 0 else rng.choice([0.7, 1.0, 1.3])
        if i % 5 == 0:
            fields.update(top_k=20, min_p=0.02, frequency_penalty=0.5)
        if i % 2 == 0:
            fields["ignore_eos"] = True
        if i == 0:
            words = "the sea"
            fields.update(n=4, max_tokens=400)
        cancel_after = rng.randrange(0, 6) if i % 4 == 1 else None
        jobs.append((f"Tell me about {words}.", fields, cancel_after))
    return jobs


def streamed_choices(chunks):
    """The texts and the finish reasons by choice."""
    texts, finish = {}, {}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.delta.content
            if choice.finish_reason:
                finish[choice.index] = choice.finish_reason
    return texts, finish


def run_job(client, job, barrier):
    text, fields, cancel_after = job
    barrier.wait()
    stream = client.stream(text, **fields)
    if cancel_after is None:
        return streamed_choices(stream)
    chunks = 0
    try:
        for _ in stream:
            chunks += 1
            if chunks > cancel_after:
                stream.cancel()
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.CANCELLED
    return None


@pytest.mark.parametrize("flags, preempts", [
    ((), False),
    # So few blocks and slots that requests queue and are preempted.
    (("--kv-cache-size=3360KiB", "--max-running=12", "--max-batched-tokens=64", "--max-model-len=448",
      "--engine.max_preemptions=1000"), True),
    (("--depth=1", "--prefix-caching=false", "--max-batched-tokens=96"), False),
], ids=["default", "crowded", "depth-1-no-cache"])
def test_64_streams(flags, preempts):
    jobs = make_jobs(seed=11)
    with Daemon(*flags) as daemon, daemon.channel() as channel:
        client = Client(channel)
        barrier = threading.Barrier(STREAMS)
        with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
            together = list(pool.map(lambda job: run_job(client, job, barrier), jobs))
        assert (daemon.metric("inferd_preemptions_total") > 0) == preempts
        for job, result in zip(jobs, together):
            if result is not None:
                alone = streamed_choices(client.stream(job[0], **job[1]))
                assert result == alone, job
        completed = sum(result is not None for result in together)
        end = time.monotonic() + 20
        while True:
            load = client.load()
            idle = (load.running_requests, load.waiting_requests, load.kv_used_blocks) == (0, 0, 0)
            if idle or time.monotonic() > end:
                break
            time.sleep(0.02)
        assert idle, load
        assert daemon.metric("inferd_num_requests_running") == 0
        assert daemon.metric("inferd_num_requests_waiting") == 0
        assert daemon.metric("inferd_kv_cache_blocks", state="used") == 0
        total = sum(daemon.metric("inferd_kv_cache_blocks", state=s) for s in ("used", "cached", "free"))
        assert total == load.kv_total_blocks
        # Every rpc ended exactly once: finished or cancelled, nothing else.
        calls = daemon.metric("inferd_requests_total", method="ChatService/StreamChatCompletion")
        good = daemon.metric("inferd_requests_total", code="OK", method="ChatService/StreamChatCompletion")
        cancelled = daemon.metric("inferd_requests_total", code="CANCELLED",
                                  method="ChatService/StreamChatCompletion")
        assert calls == STREAMS + completed
        assert good + cancelled == calls
        assert good >= 2 * completed
