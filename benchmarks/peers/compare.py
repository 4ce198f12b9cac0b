#!/usr/bin/env python3
"""Compares inferd with llama.cpp, and OpenVINO GenAI if there is one, on this machine.

Needs numpy and the `gguf` package, and the peers' installed programs by path; see
README.md. Runs of all sides take turns. Each is written down as it ends, so that a
comparison that was cut off goes on where it stopped; run it again with the same --work.
"""

import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys
import time

import cases
import checkpoints
import processes
import record_peers
import safetensors
import shapes
import sides

ROOT = pathlib.Path(__file__).resolve().parents[2]


def names(known):
    def parse(text):
        chosen = text.split(",")
        wrong = [name for name in chosen if name not in known]
        if wrong:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(wrong)} (known: {', '.join(known)})")
        return chosen
    return parse


def integers(text):
    return [int(part) for part in text.split(",")]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, required=True,
                        help="directory of inferd, engine_bench and serve_load (a Release build)")
    parser.add_argument("--llama-bin", type=pathlib.Path, required=True,
                        help="directory of llama-bench, llama-batched-bench, llama-server, llama-quantize")
    parser.add_argument("--openvino-python", type=pathlib.Path,
                        help="a Python that has openvino_genai; left out: no OpenVINO")
    parser.add_argument("--models", type=pathlib.Path, required=True,
                        help="where the random models are made and kept (some 25 GB for all of them)")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="runs.jsonl and the servers' logs")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--shapes", type=names(shapes.SHAPES), default=list(shapes.SHAPES))
    parser.add_argument("--formats", type=names(shapes.FORMATS), default=["bf16", "int8", "int4"])
    parser.add_argument("--cases", type=names(cases.CASES), default=list(cases.CASES))
    parser.add_argument("--concurrency", type=integers, default=[1, 4, 16, 32])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--timeout", type=int, default=1800, help="seconds for one program or loop")
    parser.add_argument("--minutes", type=float, default=0, help="begin nothing after this long; 0: no limit")
    parser.add_argument("--llama-server-flags", default="", help="more flags for llama-server")
    parser.add_argument("--packed-cache", type=pathlib.Path,
                        help="model.packed_cache of inferd; left out: none")
    parser.add_argument("--peer-build", default="", help="how the peers were built, for the record")
    parser.add_argument("--report-only", action="store_true", help="write the record of the runs there are")
    parser.add_argument("--retry-failed", action="store_true", help="measure again what failed before")
    return parser.parse_args()


def facts_of(arguments, all_sides):
    describe = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True,
                              text=True, check=False).stdout.strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    facts = {
        "date": datetime.date.today().isoformat(),
        "device": f"{record_peers.cpu_model()}, {os.cpu_count()} cores, {memory:.0f} GiB",
        "threads": str(arguments.threads),
        "commit": describe or "unknown",
    }
    for side in all_sides:
        facts[side.name] = side.version()
    if arguments.peer_build:
        facts["the peers' build"] = arguments.peer_build
    facts["servers"] = (f"{sides.SLOTS} slots of {sides.CONTEXT} tokens, 128 tokens in, 64 out, greedy, "
                        "the same load client on the same cores")
    if arguments.packed_cache:
        facts["inferd's weights"] = "kept packed on disk by an earlier start"
    if arguments.llama_server_flags:
        facts["llama-server's further flags"] = arguments.llama_server_flags
    return facts


def plan(arguments, all_sides):
    """(shape, format, case, repeat, side) in the order to run; who goes first alternates."""
    for shape in arguments.shapes:
        for form in arguments.formats:
            for case in arguments.cases:
                for repeat in range(arguments.repeats):
                    order = all_sides if repeat % 2 == 0 else all_sides[::-1]
                    for side in order:
                        if case in cases.NEEDS_SERVER and not side.protocol:
                            continue
                        yield shape, form, case, repeat, side


class Comparison:
    """Runs what the plan says and is not measured yet."""

    def __init__(self, arguments, all_sides):
        self._arguments = arguments
        self._sides = all_sides
        self._file = arguments.work / "runs.jsonl"
        self.runs = record_peers.load_runs(self._file)
        if arguments.retry_failed:
            self.runs = [run for run in self.runs if "failed" not in run]
        self._bandwidth = {}  # (shape, format, case, repeat): measured once per pair of runs

    def _models(self, shape, form):
        """{side: (its file, bytes of a decode step)}, made where missing."""
        llama = next(side for side in self._sides if isinstance(side, sides.LlamaCpp))
        mine, theirs = checkpoints.prepare(shapes.SHAPES[shape], shapes.FORMATS[form],
                                           self._arguments.models, llama.quantize_binary())
        models = {self._sides[0].name: (mine, shapes.step_bytes(safetensors.sizes(mine / "model.safetensors")))}
        for side in self._sides[1:]:
            name = shapes.FORMATS[form].peer
            path = theirs[side.formats.get(name, name)]
            models[side.name] = (path, shapes.step_bytes(checkpoints.gguf_sizes(path)))
        return models

    def _measure(self, shape, form, case, repeat, side, model):
        arguments = self._arguments
        pair = (shape, form, case, repeat)
        if pair not in self._bandwidth:
            self._bandwidth = {pair: self._sides[0].read_bandwidth()}
        run = {"shape": shape, "format": form, "case": case, "side": side.name, "repeat": repeat,
               "time": datetime.datetime.now().isoformat(timespec="seconds"), "load": os.getloadavg()[0],
               "bandwidth": self._bandwidth[pair], "step_bytes": model[1]}
        context = cases.Context(side, model[0], shapes.SHAPES[shape], arguments.bin / "serve_load",
                                arguments.work, arguments.timeout, arguments.concurrency, arguments.threads)
        side.use(shapes.FORMATS[form])
        context.seed = 1000 * repeat  # the same prompts for every side
        begin = time.monotonic()
        try:
            run["figures"] = cases.CASES[case](context)
        except processes.Failed as failure:
            run["failed"] = str(failure)
        run["seconds"] = time.monotonic() - begin
        return run

    def run_all(self):
        todo = list(plan(self._arguments, self._sides))
        done = {record_peers.key(run) for run in self.runs}
        models, failed = {}, set()
        limit = self._arguments.minutes * 60
        started = time.monotonic()
        for index, (shape, form, case, repeat, side) in enumerate(todo):
            if (shape, form, case, side.name, repeat) in done or (shape, form, case, side.name) in failed:
                continue
            if limit and time.monotonic() - started > limit:
                print("out of time; the same command goes on from here", flush=True)
                return
            if (shape, form) not in models:
                print(f"making {shape} {form}", flush=True)
                models = {(shape, form): self._models(shape, form)}
            run = self._measure(shape, form, case, repeat, side, models[shape, form][side.name])
            self.runs.append(run)
            with open(self._file, "a") as file:
                file.write(json.dumps(run) + "\n")
            if "failed" in run:
                failed.add((shape, form, case, side.name))  # not again in this call
            said = run.get("failed") or ", ".join(f"{k}: {v:.4g}" for k, v in run["figures"].items())
            print(f"[{index + 1}/{len(todo)}] {shape} {form} {case} {side.name} #{repeat} "
                  f"({run['seconds']:.0f} s): {said}", flush=True)


def main():
    arguments = parse_arguments()
    arguments.work.mkdir(parents=True, exist_ok=True)
    all_sides = [sides.Ours(arguments.bin, arguments.threads, arguments.packed_cache),
                 sides.LlamaCpp(arguments.llama_bin, arguments.threads, arguments.llama_server_flags.split())]
    if arguments.openvino_python:
        all_sides.append(sides.OpenVino(arguments.openvino_python, arguments.threads))
    comparison = Comparison(arguments, all_sides)
    if not arguments.report_only:
        try:
            comparison.run_all()
        except KeyboardInterrupt:
            print("stopped; the same command goes on from here", file=sys.stderr)
    path = record_peers.write(comparison.runs, facts_of(arguments, all_sides),
                              [side.name for side in all_sides], arguments.out)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
