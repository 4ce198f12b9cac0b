"""Bodies that are none, over a plain socket: each is refused by name, and the daemon goes on."""

import json
import socket
import time

import pytest

GOOD = b'{"messages":[{"role":"user","content":"hello"}],"max_tokens":1}'


class Connection:
    def __init__(self, daemon):
        self.socket = socket.create_connection(("127.0.0.1", daemon.port), timeout=20)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, body, path="/v1/chat/completions", headers=(), length=None):
        head = [f"POST {path} HTTP/1.1", "host: localhost", "content-type: application/json",
                f"content-length: {len(body) if length is None else length}", *headers]
        self.socket.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def read(self):
        """(status, body) of one answer with a length."""
        status = int(self.file.readline().split()[1])
        length = 0
        while (line := self.file.readline().strip()):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return status, self.file.read(length)


def refusal(daemon, body, **options):
    with Connection(daemon) as connection:
        connection.send(body, **options)
        status, text = connection.read()
        error = json.loads(text)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert len(error["message"]) < 300
        return status, error["code"]


def nested(depth):
    return b'{"x":' + b"[" * depth + b"]" * depth + b"}"


def with_field(text):
    return b'{"messages":[{"role":"user","content":"x"}],' + text + b"}"


BAD = {
    "empty": (b"", 400, "invalid_json"),
    "space": (b" \n", 400, "invalid_json"),
    "object": (b"{}", 400, "invalid_message"),
    "null": (b"null", 400, "invalid_json"),
    "array": (b"[]", 400, "invalid_json"),
    "number": (b"7", 400, "invalid_json"),
    "no messages": (b'{"messages":[]}', 400, "invalid_message"),
    "truncated": (GOOD[:-1], 400, "invalid_json"),
    "trailing": (GOOD + b"x", 400, "invalid_json"),
    "zero byte": (GOOD + b"\0", 400, "invalid_json"),
    "comment": (b"/* */" + GOOD, 400, "invalid_json"),
    "NaN": (with_field(b'"temperature":NaN'), 400, "invalid_json"),
    "Infinity": (with_field(b'"temperature":Infinity'), 400, "invalid_json"),
    "1e999": (with_field(b'"temperature":1e999'), 400, "invalid_json"),
    "BOM": (b"\xef\xbb\xbf" + GOOD, 400, "invalid_json"),
    "UTF-16": (GOOD.decode().encode("utf-16"), 400, "invalid_json"),
    "not UTF-8": (with_field(b'"user":"\xff"'), 400, "invalid_json"),
    "duplicate": (with_field(b'"n":1,"n":1'), 400, "invalid_json"),
    "deep": (nested(65), 400, "invalid_json"),
    "a million deep": (b'{"x":' + b"[" * 1_000_000, 400, "invalid_json"),
    "objects deep": (b'{"a":' * 400_000, 400, "invalid_json"),
    "many values": (b'{"stop_token_ids":[' + b"1," * 1_100_000 + b"1]}", 400, "invalid_json"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bodies(shared_daemon, name):
    body, status, code = BAD[name]
    start = time.monotonic()
    assert refusal(shared_daemon, body) == (status, code)
    assert time.monotonic() - start < 3
    with Connection(shared_daemon) as connection:
        connection.send(GOOD)
        assert connection.read()[0] == 200


def test_bodies_that_are_too_large(shared_daemon):
    before = shared_daemon.rss_bytes()
    for length in (8 * 2**20 + 1, 9 * 10**18):
        with Connection(shared_daemon) as connection:
            connection.send(b"", length=length)
            status, text = connection.read()
            assert status == 413 and json.loads(text)["error"]["code"] == "content_too_large"
            assert connection.file.read(1) == b""
    # Chunked without an end.
    with Connection(shared_daemon) as connection:
        connection.socket.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                                  b"transfer-encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        try:
            for _ in range(300):
                connection.socket.sendall(chunk)
        except OSError:
            pass  # closed by the server, as it should be
        try:
            status = connection.read()[0]
        except (OSError, IndexError):
            status = None  # the answer was lost with the connection
        assert status in (413, None)
    assert shared_daemon.rss_bytes() - before < 64 * 2**20


def test_large_but_legal(shared_daemon):
    """A body just under the limit does not hold up others."""
    body = b'{"prompt":"' + b"a " * (4 * 2**20 - 200) + b'","max_tokens":1}'
    assert len(body) < 8 * 2**20
    with Connection(shared_daemon) as large, Connection(shared_daemon) as small:
        large.send(body, path="/v1/completions")
        start = time.monotonic()
        small.send(GOOD)
        assert small.read()[0] == 200
        waited = time.monotonic() - start
        status, text = large.read()
        assert status == 400 and json.loads(text)["error"]["code"] == "context_length_exceeded"
    assert waited < 10


def test_pipelined_requests(shared_daemon):
    with Connection(shared_daemon) as connection:
        head = (b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n" % len(GOOD)) + GOOD
        probe = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
        connection.socket.sendall(head + probe + head + b"GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert [connection.read()[0] for _ in range(4)] == [200, 200, 200, 404]


def test_media_types_and_methods(shared_daemon):
    assert refusal(shared_daemon, GOOD, headers=["content-encoding: gzip"]) == (415, "unsupported_media_type")
    assert refusal(shared_daemon, GOOD, path="/v1/models") == (405, "method_not_allowed")
    assert refusal(shared_daemon, GOOD, path="//v1/chat/completions") == (404, "route_not_found")
