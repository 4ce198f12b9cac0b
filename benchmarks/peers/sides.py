"""The programs under comparison, each behind the same few questions.

Every side answers `offline` (prompts and decode without a network) and, where it has
a server, `serve`. Both get the same cores, threads, slots, context and step size.
"""

import contextlib
import json
import pathlib
import time

import processes

SLOTS = 32
CONTEXT = 1024  # tokens per slot
STEP = 512      # rows of one step: max_batched_tokens, ubatch
DECODE_CONTEXT, DECODE_TOKENS = 128, 64


class Ours:
    """inferd: engine_bench for what needs no network, the daemon for the rest."""
    name = "inferd"
    protocol = "grpc"

    def __init__(self, binaries, threads, packed_cache=None):
        self._bin = pathlib.Path(binaries)
        self._threads = threads
        self._packed_cache = packed_cache
        self._activations = "f32"

    def use(self, form):
        """The format that is measured from now on."""
        self._activations = form.activations

    def settle(self, timeout):
        """Waits until a server has kept its packed weights, which it does while it serves."""
        deadline = time.monotonic() + timeout
        while self._packed_cache and time.monotonic() < deadline:
            names = list(pathlib.Path(self._packed_cache).glob("*"))
            if names and not any(name.suffix == ".tmp" for name in names):
                return
            time.sleep(0.05)

    def kept_files(self):
        return list(pathlib.Path(self._packed_cache).glob("*.packed")) if self._packed_cache else []

    def read_bandwidth(self):
        """Bytes per second, of all threads together."""
        out, _, _ = processes.run([self._bin / "engine_bench", "--threads", self._threads,
                                   "--bandwidth-mib", 2048], 120)
        return json.loads(out)["read_bytes_per_second"]

    def _bench(self, model, flags, timeout):
        command = [self._bin / "engine_bench", "--model", model, "--threads", self._threads,
                   "--activations", self._activations, "--max-batched-tokens", STEP, "--repeats", 1,
                   *flags]
        out, _, peak = processes.run(command, timeout)
        return json.loads(out)["cases"], peak

    def prefill(self, model, lengths, timeout):
        """({length: tokens/s}, peak memory)."""
        cases, peak = self._bench(model, ["--prefill", ",".join(map(str, lengths))], timeout)
        return {case["tokens"]: case["tokens_per_second"][0] for case in cases}, peak

    def decode(self, model, streams, timeout):
        """({streams: tokens/s of all together}, peak memory)."""
        cases, peak = self._bench(model, ["--decode", ",".join(map(str, streams)), "--context",
                                          DECODE_CONTEXT, "--tokens", DECODE_TOKENS], timeout)
        return {case["streams"]: case["tokens_per_second"][0] for case in cases}, peak

    @contextlib.contextmanager
    def serve(self, model, shape, log, timeout, slots=SLOTS, context=CONTEXT):
        """A ready server, and the address for the load client."""
        port, http = processes.free_port(), processes.free_port()
        kv = (slots * context + 64) * shape.kv_bytes_per_token()
        command = [self._bin / "inferd", "serve", "--model", model, "--port", port, "--http-port", http,
                   "--threads", self._threads, "--max-running", slots, "--max-model-len", context,
                   "--engine.max_batched_tokens", STEP, "--kv-cache-dtype", "bf16",
                   "--activations", self._activations, "--kv-cache-size", kv, "--drain-delay", "0s", "--log-level", "warn"]
        if self._packed_cache:
            command += ["--packed-cache", self._packed_cache]
        with processes.Server(command, f"http://127.0.0.1:{http}/readyz", log, timeout) as server:
            yield server, f"127.0.0.1:{port}"

    def version(self):
        out, _, _ = processes.run([self._bin / "inferd", "--version"], 30)
        return out.strip().splitlines()[0]


class LlamaCpp:
    """llama.cpp: llama-bench, llama-batched-bench and llama-server."""
    name = "llama.cpp"
    protocol = "openai"
    formats = {}

    def __init__(self, binaries, threads, server_flags=()):
        self._bin = pathlib.Path(binaries)
        self._threads = threads
        self._server_flags = list(server_flags)

    def use(self, form):
        """Its file says it all."""

    def settle(self, timeout):
        """It keeps nothing."""

    def kept_files(self):
        return []

    def quantize_binary(self):
        return self._bin / "llama-quantize"

    def _bench(self, model, flags, timeout):
        command = [self._bin / "llama-bench", "-m", model, "-t", self._threads, "-b", 2048, "-ub", STEP,
                   "-r", 1, "-o", "json", *flags]
        out, _, peak = processes.run(command, timeout)
        return json.loads(out), peak

    def prefill(self, model, lengths, timeout):
        cases, peak = self._bench(model, ["-p", ",".join(map(str, lengths)), "-n", 0], timeout)
        return {case["n_prompt"]: case["avg_ts"] for case in cases}, peak

    def decode(self, model, streams, timeout):
        if streams == [1]:
            cases, peak = self._bench(model, ["-p", 0, "-n", DECODE_TOKENS, "-d", DECODE_CONTEXT], timeout)
            return {1: cases[0]["avg_ts"]}, peak
        command = [self._bin / "llama-batched-bench", "-m", model, "-t", self._threads, "-tb",
                   self._threads, "-b", 2048, "-ub", STEP, "-c",
                   max(streams) * (DECODE_CONTEXT + DECODE_TOKENS), "-npp", DECODE_CONTEXT, "-ntg",
                   DECODE_TOKENS, "-npl", ",".join(map(str, streams)), "--output-format", "jsonl"]
        out, _, peak = processes.run(command, timeout)
        rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        return {row["pl"]: row["speed_tg"] for row in rows}, peak

    @contextlib.contextmanager
    def serve(self, model, shape, log, timeout, slots=SLOTS, context=CONTEXT):
        del shape  # it sizes its cache by context and slots
        port = processes.free_port()
        command = [self._bin / "llama-server", "-m", model, "--host", "127.0.0.1", "--port", port,
                   "-t", self._threads, "-tb", self._threads, "-np", slots, "-c", slots * context,
                   "-b", 2048, "-ub", STEP, "--no-ui", "-fit", "off", *self._server_flags]
        with processes.Server(command, f"http://127.0.0.1:{port}/health", log, timeout) as server:
            yield server, f"127.0.0.1:{port}"

    def version(self):
        out, _, _ = processes.run(["sh", "-c", 'exec "$0" --version 2>&1', self._bin / "llama-server"], 30)
        return next((line for line in out.splitlines() if line.startswith("version")), "unknown")


class OpenVino:
    """OpenVINO GenAI, offline only; it reads the same GGUF file."""
    name = "openvino"
    protocol = ""
    formats = {"BF16": "F16"}  # it reads no BF16 from GGUF files

    def __init__(self, python, threads):
        self._python = python
        self._threads = threads
        self._program = pathlib.Path(__file__).with_name("openvino_side.py")

    def use(self, form):
        """Its file says it all."""

    def _run(self, model, prompts, streams, tokens, timeout):
        command = [self._python, self._program, model, "--threads", self._threads, "--prompts",
                   ",".join(map(str, prompts)), "--streams", ",".join(map(str, streams)),
                   "--tokens", tokens]
        out, _, peak = processes.run(command, timeout)
        return json.loads(out.splitlines()[-1]), peak

    def prefill(self, model, lengths, timeout):
        rows, peak = self._run(model, lengths, [1], 1, timeout)
        return {row["prompt"]: row["prefill"] for row in rows}, peak

    def decode(self, model, streams, timeout):
        rows, peak = self._run(model, [DECODE_CONTEXT], streams, DECODE_TOKENS, timeout)
        return {row["streams"]: row["decode"] for row in rows}, peak

    def version(self):
        code = "import openvino_genai; print(openvino_genai.__version__)"
        return processes.run([self._python, "-c", code], 60)[0].strip()
