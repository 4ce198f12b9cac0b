#!/usr/bin/env python3
"""Times OpenVINO GenAI on a GGUF file: one JSON line. Run by compare.py with the
Python that has openvino_genai."""

import argparse
import json
import time

import numpy as np
import openvino
import openvino_genai


def generate(pipeline, random, prompt, streams, tokens):
    """Seconds to the first token, and tokens/s of all streams after it. The prompts are
    new each time: the pipeline keeps the prefixes that it has seen."""
    ids = random.integers(256, 30000, (streams, prompt), dtype=np.int64)
    inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids)))
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = tokens
    config.min_new_tokens = tokens
    config.ignore_eos = True
    config.do_sample = False
    begin = time.monotonic()
    metrics = pipeline.generate(inputs, config).perf_metrics
    whole = time.monotonic() - begin
    first = metrics.get_ttft().mean / 1e3
    return first, streams * (tokens - 1) / max(whole - first, 1e-9)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prompts", required=True)
    parser.add_argument("--streams", required=True)
    parser.add_argument("--tokens", type=int, required=True)
    arguments = parser.parse_args()
    pipeline = openvino_genai.LLMPipeline(arguments.model, "CPU", INFERENCE_NUM_THREADS=arguments.threads)
    random = np.random.default_rng(1)
    rows = []
    for prompt in map(int, arguments.prompts.split(",")):
        for streams in map(int, arguments.streams.split(",")):
            generate(pipeline, random, prompt, streams, min(arguments.tokens, 4))  # not counted
            first, rate = generate(pipeline, random, prompt, streams, arguments.tokens)
            rows.append({"prompt": prompt, "streams": streams, "prefill": streams * prompt / first,
                         "decode": rate})
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
