"""The HTTP API with OpenAI's own client."""

import concurrent.futures
import json
import pathlib
import shutil
import subprocess
import threading
import time

import openai
import pytest
from client import Client
from daemon import Daemon

QUESTION = [{"role": "user", "content": "What is the largest of 28, 74, 25, 41?"}]
STORY = [{"role": "user", "content": "Tell me a story."}]
LONG = {"max_tokens": 400, "extra_body": {"ignore_eos": True}}


def make(daemon, **options):
    return openai.OpenAI(base_url=f"http://{daemon.address}/v1", api_key="none",
                         **{"max_retries": 0, "timeout": 120, **options})


@pytest.fixture
def api(shared_daemon):
    with make(shared_daemon) as client:
        yield client


def chunks_of(stream):
    return list(stream)


def text_of(chunks, index=0):
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices
                   if choice.index == index)


def test_chat(api, client):
    answer = api.chat.completions.create(model="demo", messages=QUESTION, temperature=0)
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")
    assert abs(answer.created - time.time()) < 120
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.refusal, choice.finish_reason) == ("assistant", None, "stop")
    # The same as over gRPC.
    assert choice.message.content == client.text(QUESTION[0]["content"], temperature=0)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_stream(api):
    whole = api.chat.completions.create(model="demo", messages=QUESTION, temperature=0)
    chunks = chunks_of(api.chat.completions.create(model="demo", messages=QUESTION, temperature=0, stream=True))
    assert text_of(chunks) == whole.choices[0].message.content
    assert len({(c.id, c.created, c.model, c.object) for c in chunks}) == 1
    assert all(len(c.choices) == 1 for c in chunks)
    assert [c.choices[0].delta.role for c in chunks] == ["assistant"] + [None] * (len(chunks) - 1)
    assert [c.choices[0].finish_reason for c in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert chunks[-1].choices[0].delta.content is None
    assert all(c.usage is None for c in chunks)


def test_usage_in_streams(api):
    chunks = chunks_of(api.chat.completions.create(model="demo", messages=QUESTION, temperature=0, stream=True,
                                                   stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0
    assert all(c.usage is None for c in chunks[:-1])


def test_the_helper_for_streams(api):
    """The library's own accumulation of a stream."""
    with api.chat.completions.stream(model="demo", messages=QUESTION, temperature=0) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "stop"
    assert final.choices[0].message.content


def test_logprobs(api):
    for stream in (False, True):
        answer = api.chat.completions.create(model="demo", messages=QUESTION, temperature=0, logprobs=True,
                                             top_logprobs=3, stream=stream)
        entries = []
        for part in answer if stream else [answer]:
            for choice in part.choices:
                if choice.logprobs:
                    entries += choice.logprobs.content
        assert entries
        for entry in entries:
            assert len(entry.top_logprobs) == 3
            assert entry.logprob <= 0 and entry.logprob == max(t.logprob for t in entry.top_logprobs)
            assert bytes(entry.bytes).decode(errors="replace") == entry.token


def test_n_and_seed(api):
    fields = {"model": "demo", "messages": STORY, "n": 3, "seed": 5, "temperature": 1, "max_tokens": 20}
    one = api.chat.completions.create(**fields)
    assert [c.index for c in one.choices] == [0, 1, 2]
    assert len({c.message.content for c in one.choices}) > 1
    again = chunks_of(api.chat.completions.create(**fields, stream=True))
    for choice in one.choices:
        assert text_of(again, choice.index) == choice.message.content
    ends = [c.choices[0].index for c in again if c.choices[0].finish_reason]
    assert sorted(ends) == [0, 1, 2]


def test_stop(api):
    free = api.chat.completions.create(model="demo", messages=STORY, temperature=0, max_tokens=40)
    text = free.choices[0].message.content
    word = text.split()[3]
    stopped = api.chat.completions.create(model="demo", messages=STORY, temperature=0, max_tokens=40, stop=word)
    assert stopped.choices[0].message.content == text[:text.index(word)]
    assert stopped.choices[0].finish_reason == "stop"
    assert stopped.choices[0].stop_reason == word


def test_completions(api):
    answer = api.completions.create(model="demo", prompt="Once upon a time", max_tokens=8, temperature=0,
                                    logprobs=2, extra_body={"ignore_eos": True})
    choice = answer.choices[0]
    assert answer.object == "text_completion" and choice.finish_reason == "length"
    logprobs = choice.logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.text_offset) == 8
    for token, offset in zip(logprobs.tokens, logprobs.text_offset):
        assert choice.text[offset:offset + len(token)] == token
    streamed = chunks_of(api.completions.create(model="demo", prompt="Once upon a time", max_tokens=8, temperature=0,
                                                logprobs=2, stream=True, extra_body={"ignore_eos": True}))
    assert "".join(c.choices[0].text for c in streamed) == choice.text
    offsets = [o for c in streamed if c.choices[0].logprobs for o in c.choices[0].logprobs.text_offset]
    assert offsets == logprobs.text_offset
    echoed = api.completions.create(model="demo", prompt="Once", max_tokens=2, temperature=0, echo=True)
    assert echoed.choices[0].text.startswith("Once")


def test_models_and_tokens(api, shared_daemon):
    assert [model.id for model in api.models.list()] == ["demo"]
    assert api.models.retrieve("demo").max_model_len == 1024
    with pytest.raises(openai.NotFoundError):
        api.models.retrieve("nope")
    root = openai.OpenAI(base_url=f"http://{shared_daemon.address}", api_key="none", max_retries=0)
    tokens = root.post("/tokenize", body={"prompt": "Hello there"}, cast_to=object)
    text = root.post("/detokenize", body={"tokens": tokens["tokens"]}, cast_to=object)
    assert text["prompt"] == "Hello there"
    assert root.post("/tokenize", body={"messages": QUESTION}, cast_to=object)["count"] > 5


def test_errors(api):
    create = api.chat.completions.create
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="demo", messages=QUESTION, temperature=3)
    assert (caught.value.param, caught.value.code) == ("temperature", "invalid_parameter")
    assert caught.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="demo", messages=QUESTION, max_tokens=100_000)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="demo", messages=QUESTION, stream=True, tools=[{"type": "function", "function": {"name": "f"}}])
    assert (caught.value.param, caught.value.code) == ("tools", "unsupported_parameter")
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="demo", messages=QUESTION, extra_body={"temprature": 1})
    assert caught.value.param == "temprature"
    with pytest.raises(openai.NotFoundError) as caught:
        create(model="gpt-4", messages=QUESTION)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        api.post("/embeddings", body={}, cast_to=object)
    with pytest.raises(openai.APIStatusError) as caught:
        create(model="demo", messages=QUESTION, extra_headers={"x-request-timeout-ms": "0"})
    assert caught.value.status_code == 504


def test_request_ids(api):
    raw = api.chat.completions.with_raw_response.create(model="demo", messages=QUESTION, max_tokens=1,
                                                        extra_headers={"x-request-id": "mine-1"})
    assert raw.headers["x-request-id"] == "mine-1"
    assert raw.parse()._request_id == "mine-1"


def test_a_deadline_in_the_middle_of_a_stream(api):
    stream = api.chat.completions.create(model="demo", messages=STORY, stream=True, n=8, **{
        "max_tokens": 900, "extra_body": {"ignore_eos": True}, "extra_headers": {"x-request-timeout-ms": "300"}})
    with pytest.raises(openai.APIError) as caught:
        chunks_of(stream)
    assert caught.value.code == "deadline"


def test_overload_is_retried():
    """429 with Retry-After: a client that may retry waits as told and comes through."""
    with Daemon("--max-running=1", "--max-queued-requests=1") as daemon:
        def ask(max_retries, barrier):
            api = make(daemon, max_retries=max_retries)
            barrier.wait()
            try:
                answer = api.chat.completions.create(model="demo", messages=STORY, max_tokens=300,
                                                     extra_body={"ignore_eos": True})
                return answer.usage.completion_tokens
            except openai.RateLimitError as error:
                return error

        def together(max_retries):
            barrier = threading.Barrier(8)
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                return list(pool.map(lambda _: ask(max_retries, barrier), range(8)))

        impatient = together(max_retries=0)
        refused = [outcome for outcome in impatient if outcome != 300]
        assert 1 <= len(refused) <= 7
        for error in refused:
            assert error.code == "queue_full"
            assert int(error.response.headers["retry-after"]) >= 1
            assert error.response.headers["x-should-retry"] == "true"
        assert together(max_retries=60) == [300] * 8
        total = daemon.metric("inferd_requests_total", code="RESOURCE_EXHAUSTED", method="POST /v1/chat/completions")
        assert total > len(refused)


def test_loading_is_retried():
    """503 with Retry-After while the model loads."""
    with Daemon(wait=False) as daemon:
        daemon.wait_ports()
        answer = make(daemon, max_retries=20).chat.completions.create(model="demo", messages=QUESTION, max_tokens=1)
        assert answer.usage.completion_tokens == 1


def num_threads(daemon):
    return len(list(pathlib.Path(f"/proc/{daemon.process.pid}/task").iterdir()))


def wait_idle(daemon):
    end = time.monotonic() + 20
    while True:
        used = daemon.metric("inferd_kv_cache_blocks", state="used")
        running = daemon.metric("inferd_num_requests_running") + daemon.metric("inferd_num_requests_waiting")
        if used == running == daemon.metric("inferd_http_streams_active") == 0:
            return
        assert time.monotonic() < end, (used, running)
        time.sleep(0.02)


def test_200_streams_and_no_thread_more():
    with Daemon() as daemon:
        with make(daemon) as api:
            api.chat.completions.create(model="demo", messages=QUESTION, max_tokens=1)
            before = num_threads(daemon)
            most = 0
            started = threading.Barrier(201)

            def one(number):
                stream = api.chat.completions.create(model="demo", messages=STORY, stream=True, seed=number % 7,
                                                     max_tokens=24, extra_body={"ignore_eos": True})
                started.wait()
                return text_of(chunks_of(stream))

            with concurrent.futures.ThreadPoolExecutor(200) as pool:
                answers = [pool.submit(one, i) for i in range(200)]
                started.wait()
                most = num_threads(daemon)
                texts = [answer.result() for answer in answers]
            assert most <= before
            for i in range(7, 200):
                assert texts[i] == texts[i % 7]
        wait_idle(daemon)


def test_a_disconnect_frees_the_blocks():
    with Daemon() as daemon:
        api = make(daemon)
        streams = [api.chat.completions.create(model="demo", messages=STORY, stream=True, **LONG) for _ in range(4)]
        for stream in streams:
            next(iter(stream))
        assert daemon.metric("inferd_kv_cache_blocks", state="used") > 0
        for stream in streams:
            stream.close()
        wait_idle(daemon)
        assert daemon.metric("inferd_requests_ended_total", outcome="cancelled") == 4
        assert "code=\"CANCELLED\"" in daemon.log()


def test_streams_end_with_an_event_at_shutdown():
    with Daemon("--drain-timeout=0s") as daemon:
        stream = make(daemon).chat.completions.create(
            model="demo", messages=STORY, stream=True, n=8, max_tokens=900, extra_body={"ignore_eos": True})
        next(iter(stream))
        daemon.send(15)
        with pytest.raises(openai.APIError) as caught:
            chunks_of(stream)
        assert caught.value.code == "draining"
        assert daemon.wait_exit() == 0


def test_sigterm_drains_http_streams():
    with Daemon("--drain-timeout=60s") as daemon:
        api = make(daemon)
        alone = api.chat.completions.create(model="demo", messages=STORY, temperature=0, **LONG)
        stream = api.chat.completions.create(model="demo", messages=STORY, temperature=0, stream=True, **LONG)
        iterator = iter(stream)
        first = next(iterator)
        daemon.send(15)
        assert text_of([first, *iterator]) == alone.choices[0].message.content
        assert daemon.wait_exit() == 0


def test_grpc_and_http_share_the_port(shared_daemon, api):
    with shared_daemon.channel() as channel:
        grpc_client = Client(channel)
        for _ in range(3):
            over_grpc = grpc_client.text("Tell me a story.", temperature=0, max_tokens=12)
            over_http = api.chat.completions.create(model="demo", messages=STORY, temperature=0, max_tokens=12)
            assert over_http.choices[0].message.content == over_grpc


def test_curl(shared_daemon):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    body = json.dumps({"messages": QUESTION, "stream": True, "max_tokens": 4})
    result = subprocess.run(["curl", "-sS", "-N", "--noproxy", "*", f"http://{shared_daemon.address}/v1/chat/completions",
                             "-H", "content-type: application/json", "-d", body],
                            capture_output=True, text=True, timeout=60, check=True)
    events = result.stdout.strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    assert all(event.startswith("data: {") for event in events[:-1])
