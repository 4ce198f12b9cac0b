"""Load of every kind at once: answers, refusals, mistakes, cancelled and late calls."""

import threading

import grpc


class MixedLoad:
    """Clients in threads until `stop`. Errors are what some of them are for."""

    def __init__(self, daemon, metadata=()):
        self._daemon = daemon
        self._metadata = list(metadata)
        self._stop = threading.Event()
        self.outcomes = {}
        self._lock = threading.Lock()
        work = [self._chat, self._chat, self._long, self._long, self._stream, self._cancel, self._mistake,
                self._late, self._burst]
        self._threads = [threading.Thread(target=self._repeat, args=(w,)) for w in work]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, work):
        from client import Client
        with self._daemon.channel() as channel:
            client = Client(channel)
            while not self._stop.is_set():
                try:
                    work(client)
                    self._count("OK")
                except grpc.RpcError as error:
                    self._count(error.code().name)
                self._stop.wait(0.05)

    def _count(self, name):
        with self._lock:
            self.outcomes[name] = self.outcomes.get(name, 0) + 1

    def _request(self, text, **fields):
        from client import request
        return request([("system", "You answer questions about serving language models."), ("user", text)], **fields)

    def _create(self, client, text, timeout=60, **fields):
        return client.chat.CreateChatCompletion(self._request(text, **fields), timeout=timeout,
                                                metadata=self._metadata)

    def _chat(self, client):
        self._create(client, "What is the KV cache?", max_completion_tokens=16)

    def _long(self, client):
        # Grows until the cache is too small for all of them: preemptions.
        self._create(client, "Tell me everything.", max_completion_tokens=180, ignore_eos=True, n=2)

    def _stream(self, client):
        for _ in client.chat.StreamChatCompletion(self._request("Hello", max_completion_tokens=24),
                                                  timeout=60, metadata=self._metadata):
            pass

    def _cancel(self, client):
        call = client.chat.StreamChatCompletion(
            self._request("Tell me a story.", max_completion_tokens=200, ignore_eos=True),
            timeout=60, metadata=self._metadata)
        next(call)
        call.cancel()
        self._count("CANCELLED")

    def _mistake(self, client):
        self._create(client, "Hello", temperature=-3)

    def _late(self, client):
        self._create(client, "Hello", timeout=0.02, max_completion_tokens=200, ignore_eos=True)

    def _burst(self, client):
        calls = [client.chat.CreateChatCompletion.future(
            self._request("Hello", max_completion_tokens=8), timeout=60, metadata=self._metadata)
            for _ in range(24)]
        for call in calls:
            try:
                call.result()
                self._count("OK")
            except grpc.RpcError as error:
                self._count(error.code().name)
        self._stop.wait(1)
