"""Request bodies over HTTP/2 that never end: what the server holds of them is bounded."""

import socket
import time

import h2.config
import h2.connection
import h2.events
from client import Client
from daemon import Daemon

STREAMS = 8
BODY = 7 * 2**20  # under server.max_message_size
BUDGET = 4 * 2**20


class Sender:
    """A client with several calls whose messages are announced and never completed."""

    def __init__(self, daemon):
        self.socket = socket.create_connection(("127.0.0.1", daemon.port), timeout=20)
        self.http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.http2.initiate_connection()
        self.sent = {}
        self.ended_because = None
        headers = [(":method", "POST"), (":scheme", "http"), (":authority", "x"),
                   (":path", "/inferd.v1.ChatService/CreateChatCompletion"), ("te", "trailers"),
                   ("content-type", "application/grpc")]
        for stream in range(1, 2 * STREAMS, 2):
            self.http2.send_headers(stream, headers)
            self.http2.send_data(stream, b"\0" + BODY.to_bytes(4, "big"))
            self.sent[stream] = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def step(self):
        """Sends what the windows allow; False once there is no more to send or the server ended it."""
        for stream, sent in self.sent.items():
            count = min(self.http2.local_flow_control_window(stream), BODY - 1 - sent, 2**14)
            if count > 0:
                self.http2.send_data(stream, bytes(count))
                self.sent[stream] += count
        try:
            self.socket.sendall(self.http2.data_to_send())
            self.socket.settimeout(0.02)
            received = self.socket.recv(2**16)
        except TimeoutError:
            return all(sent < BODY - 1 for sent in self.sent.values())
        except ConnectionError:
            return False
        for event in self.http2.receive_data(received):
            if isinstance(event, h2.events.ConnectionTerminated):
                self.ended_because = event.additional_data
        return bool(received) and self.ended_because is None


def test_bodies_without_end():
    flags = ("--server.max_pending_body=4MiB", "--server.body_timeout=2s")
    with Daemon(*flags) as daemon, daemon.channel() as channel:
        client = Client(channel)
        alone = client.text("Hello", max_tokens=8, temperature=0)
        before = daemon.rss_bytes()
        with Sender(daemon) as sender:
            while sender.step():
                pass
            assert sum(sender.sent.values()) > BUDGET
            assert sender.ended_because == b"pending_bodies"
        # A body that stops is given up, and what it held with it.
        with Sender(daemon) as sender:
            while sum(sender.sent.values()) < BUDGET // 2:
                assert sender.step()
            sender.socket.settimeout(20)
            while sender.ended_because is None:
                received = sender.socket.recv(2**16)
                assert received
                for event in sender.http2.receive_data(received):
                    if isinstance(event, h2.events.ConnectionTerminated):
                        sender.ended_because = event.additional_data
            assert sender.ended_because == b"body_timeout"
        for kind in ("pending_bodies", "body_timeout"):
            assert daemon.metric("inferd_http2_violations_total", kind=kind) == 1
        assert client.text("Hello", max_tokens=8, temperature=0) == alone
        end = time.monotonic() + 20
        while daemon.rss_bytes() - before > 4 * BUDGET and time.monotonic() < end:
            time.sleep(0.1)
        assert daemon.rss_bytes() - before < 4 * BUDGET
