"""TLS and client certificates, with certificates made here; rotated under load."""

import http.client
import json
import pathlib
import signal
import ssl
import subprocess
import threading
import time
from concurrent import futures

import grpc
import pytest
from client import Client
from daemon import MODEL, Daemon, run


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """A certificate authority and what it signs, valid for 127.0.0.1 and localhost."""

    def __init__(self, directory, name="ca"):
        self.directory, self.name = pathlib.Path(directory), name
        self.certificate = self.directory / f"{name}.pem"
        self.key = self.directory / f"{name}.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", self.key, "-out", self.certificate, "-days", 30, "-subj", f"/CN={name}")

    def sign(self, name, days=10):
        """(certificate, key) as paths"""
        base = self.directory / f"{self.name}-{name}"
        key, request, certificate = (base.with_suffix(s) for s in (".key", ".csr", ".pem"))
        extensions = base.with_suffix(".ext")
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
                "-CAcreateserial", "-days", days, "-out", certificate, "-extfile", extensions)
        key.chmod(0o600)
        return certificate, key


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


def flags(certificate, key, *more):
    return [f"--tls-certificate={certificate}", f"--tls-key={key}", *more]


def channel(daemon, authority, identity=None):
    chain, key = (path.read_bytes() for path in identity) if identity else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes(), key, chain)
    return grpc.secure_channel(daemon.address, credentials,
                               options=[("grpc.enable_http_proxy", 0),
                                        ("grpc.use_local_subchannel_pool", 1)])


def get(daemon, path, authority, identity=None, headers=None):
    """(status, body) of a GET on the main port"""
    context = ssl.create_default_context(cafile=authority.certificate)
    if identity:
        context.load_cert_chain(*identity)
    connection = http.client.HTTPSConnection("127.0.0.1", daemon.port, timeout=20, context=context)
    try:
        connection.request("GET", path, headers=headers or {})
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def test_both_protocols_speak_tls(authority):
    with Daemon(*flags(*authority.sign("server"))) as daemon:
        with channel(daemon, authority) as secure:
            assert Client(secure).text("hi", max_tokens=4, temperature=0)
        assert get(daemon, "/v1/models", authority)[0] == 200
        # curl offers HTTP/2 too, as Prometheus does.
        curl = subprocess.run(["curl", "-sS", "--noproxy", "*", "--cacert", authority.certificate,
                               f"https://{daemon.address}/v1/models"], capture_output=True, text=True, check=True)
        assert json.loads(curl.stdout)["data"][0]["id"] == "demo"
        plain = subprocess.run(["curl", "-sS", "--noproxy", "*", f"http://{daemon.address}/v1/models"],
                               capture_output=True, text=True, check=True)
        assert "use https" in json.loads(plain.stdout)["error"]["message"]
        health = run("health", "--addr", daemon.address, "--tls-ca", authority.certificate)
        assert health.stdout == "SERVING\n", health.stderr
        assert run("health", "--addr", daemon.address, "--timeout=3").returncode == 1  # not plain
        left = daemon.metric("inferd_tls_certificate_not_after_timestamp_seconds") - time.time()
        assert 9 * 86400 < left < 11 * 86400


def test_bad_files_are_said(authority, tmp_path):
    certificate, key = authority.sign("one")
    _, other_key = authority.sign("two")
    for bad, word in ((flags(tmp_path / "missing.pem", key), "missing.pem"),
                      (flags(certificate, other_key), "key"), (flags(key, key), ".key")):
        result = run("serve", f"--model={MODEL}", "--port=0", "--http-port=0", *bad)
        assert result.returncode in (1, 78)
        assert word in result.stderr
    key.chmod(0o644)
    result = run("serve", f"--model={MODEL}", "--port=0", "--http-port=0",
                 *flags(certificate, key))
    assert result.returncode in (1, 78) and str(key) in result.stderr


def test_client_certificates(authority, tmp_path):
    stranger = Authority(tmp_path, "stranger").sign("client")
    alice, bob = authority.sign("alice"), authority.sign("bob")
    # Reachable addresses are fine with it.
    with Daemon(*flags(*authority.sign("server")), f"--tls-client-ca={authority.certificate}",
                "--host=0.0.0.0") as daemon:
        for identity in (alice, bob):
            with channel(daemon, authority, identity) as secure:
                assert Client(secure).text("hi", max_tokens=4, temperature=0)
            assert get(daemon, "/v1/models", authority, identity)[0] == 200
        daemon.wait_log(r'key_id="certificate-[0-9a-f]{24}"')
        for identity in (None, stranger):
            with channel(daemon, authority, identity) as secure:
                with pytest.raises(grpc.RpcError):
                    Client(secure).models.ListModels(list_request(), timeout=5)
            with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
                get(daemon, "/healthz", authority, identity)
        chat = run("chat", "--addr", daemon.address, "--once", "hi", "--max-tokens=4", "--tls-ca",
                   authority.certificate, "--tls-cert", alice[0], "--tls-key", alice[1])
        assert chat.returncode == 0, chat.stderr


def list_request():
    from inferd.v1 import services_pb2
    return services_pb2.ListModelsRequest()


def test_rotation_under_load_loses_nothing(authority, tmp_path):
    certificate, key = tmp_path / "live.pem", tmp_path / "live.key"

    def install(pair):
        # As a careful operator does: each file is replaced whole.
        for source, target in zip(pair, (certificate, key)):
            fresh = target.with_suffix(".new")
            fresh.write_bytes(source.read_bytes())
            fresh.chmod(0o600)
            fresh.rename(target)

    first, second = authority.sign("first"), authority.sign("second")
    install(first)
    failures, done, stop = [], [0, 0], threading.Event()

    def ask_grpc():
        while not stop.is_set():
            try:
                with channel(daemon, authority) as secure:
                    Client(secure).text("hi", max_tokens=2)
                done[0] += 1
            except grpc.RpcError as error:
                failures.append(error)

    def ask_http():
        while not stop.is_set():
            try:
                assert get(daemon, "/v1/models", authority)[0] == 200
                done[1] += 1
            except Exception as error:  # whatever it is, it is a lost request
                failures.append(error)

    def served():
        pem = ssl.get_server_certificate(("127.0.0.1", daemon.port), ca_certs=str(authority.certificate))
        return ssl.PEM_cert_to_DER_cert(pem)

    with Daemon(*flags(certificate, key)) as daemon:
        assert served() == ssl.PEM_cert_to_DER_cert(first[0].read_text())
        with channel(daemon, authority) as old:
            client = Client(old)
            stream = client.stream("Tell me a story.", max_tokens=300, ignore_eos=True)
            threads = [threading.Thread(target=t) for t in (ask_grpc, ask_http)]
            for thread in threads:
                thread.start()
            for pair in (second, first, second):
                before = list(done)
                end = time.monotonic() + 30
                while time.monotonic() < end and any(b == a for b, a in zip(before, done)):
                    time.sleep(0.01)
                install(pair)
                daemon.send(signal.SIGHUP)
                wanted = ssl.PEM_cert_to_DER_cert(pair[0].read_text())
                while time.monotonic() < end and served() != wanted:
                    time.sleep(0.01)
                assert served() == wanted
            stop.set()
            for thread in threads:
                thread.join(60)
            assert sum(1 for _ in stream) > 0  # began under the first certificate
            assert client.text("hi", max_tokens=2)  # as does this connection
        assert not failures, failures[:3]
        assert min(done) >= 3
        # A bad file keeps the old one.
        certificate.write_text("nonsense")
        daemon.send(signal.SIGHUP)
        daemon.wait_log("the configuration is bad")
        assert served() == ssl.PEM_cert_to_DER_cert(second[0].read_text())
        assert daemon.metric("inferd_config_last_reload_successful") == 0


def collector(credentials):
    """(server, port, bodies): takes whatever OTLP/gRPC brings, as bytes."""
    bodies = []

    def export(body, _):
        bodies.append(body)
        return b""

    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
        "opentelemetry.proto.collector.trace.v1.TraceService",
        {"Export": grpc.unary_unary_rpc_method_handler(export)})])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, port, bodies


def test_traces_go_to_a_collector_with_tls(authority, tmp_path):
    certificate, key = authority.sign("collector")
    server, port, bodies = collector(grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())]))
    other = Authority(tmp_path, "other")
    ask = ["chat", "--once", "What is 2+3?", "--temperature", "0"]
    for trusted, gets_spans in ((other, False), (authority, True)):
        with Daemon(f"--otlp-endpoint=https://127.0.0.1:{port}",
                    f"--tracing.otlp_ca={trusted.certificate}") as daemon:
            assert "5" in run(*ask, "--addr", daemon.address).stdout
            daemon.stop()
            assert ("spans lost" in daemon.log()) != gets_spans, daemon.log()
        assert bool(bodies) == gets_spans
    assert any(b"chat demo" in body for body in bodies)
    server.stop(None)
    refused = run("serve", "--model", MODEL, "--otlp-endpoint=https://127.0.0.1:1",
                  f"--tracing.otlp_ca={tmp_path / 'missing.pem'}")
    assert refused.returncode == 78 and "tracing.otlp_ca" in refused.stderr
