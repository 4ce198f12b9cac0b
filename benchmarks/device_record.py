#!/usr/bin/env python3
"""Sets what device_bench and device_peers.py printed against the floors of the device.

usage: device_record.py RESULTS OUT

Reads RESULTS/device_*.jsonl and writes OUT/DATE-DEVICE.md, whose name it prints. Needs no GPU and
no package.
"""

import datetime
import json
import pathlib
import re
import sys

import device_floors as floors

# Where the same device's peak is not known: of H100, arithmetic only, and the record says so.
FALLBACK_TFLOPS = {"bf16": 800, "int4": 800, "fp8": 1350, "int8": 1350}
ATTENTION_TFLOPS = 650


def read(folder):
    """All lines of all files; one that is not JSON is named and left out."""
    lines = []
    for path in sorted(folder.glob("device_*.jsonl")):
        for number, text in enumerate(path.read_text().splitlines(), 1):
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                print(f"{path.name}:{number}: not JSON, left out", file=sys.stderr)
    return lines


def best(lines, what, key, **fields):
    values = [line[key] for line in lines if line.get("what") == what and key in line and
              all(line.get(name) == value for name, value in fields.items())]
    return max(values, default=None)


def device_of(lines, weights):
    """(Device, where its figures come from)."""
    copy = best(lines, "copy", "tb_per_s")
    if copy is None:
        raise SystemExit("no line of a copy: the bandwidth is not known")
    # The library multiplies 4-bit weights as bf16, and nobody int8 faster than fp8 here.
    kind = "bf16" if weights == "int4" else weights
    peak = best(lines, "peak", "tflops", format=kind)
    note = f"copies {copy:.2f} TB/s, {weights} products "
    note += f"{peak:.0f} TFLOP/s, both measured" if peak else (
        f"{FALLBACK_TFLOPS[weights]} TFLOP/s of H100, not measured here")
    return floors.Device(copy * 1e12, (peak or FALLBACK_TFLOPS[weights]) * 1e12,
                         ATTENTION_TFLOPS * 1e12), note


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
            *("| " + " | ".join(row) + " |" for row in rows), ""]


def share(floor, measured):
    return f"{100 * floor / measured:.0f} %" if floor and measured else "–"


def peer_of(lines, line):
    """The fastest other library's microseconds for an op, and its name."""
    same = [p for p in lines if p.get("what") == "peer" and all(
        p.get(key) == line.get(key) for key in ("op", "format", "rows", "context"))]
    fastest = min(same, key=lambda p: p["us"], default=None)
    return (f"{fastest['us']:.1f} ({fastest['library']})" if fastest else "–")


def steps(lines, shape, device, weights):
    out = []
    for what, unit in (("decode", "ms a step"), ("prefill", "ms")):
        rows = []
        for line in lines:
            if line.get("what") != what or line.get("format") != weights:
                continue
            place = [str(line["sequences"]), str(line["context"])]
            if "skipped" in line:
                rows.append([*place, line["skipped"], "–", "–", "–"])
                continue
            floor = (floors.decode(shape, device, weights, line["sequences"], line["context"])
                     if what == "decode" else floors.prefill(shape, device, line["context"]))
            rows.append([*place, f"{line['ms']:.3f}", f"{1e3 * floor:.3f}",
                         share(1e3 * floor, line["ms"]), f"{line['host_ms']:.3f}"])
        if rows:
            out += [f"### {what}", "", *table(["sequences", "context", unit, "floor", "of floor",
                                               "host"], rows)]
    return out


def ops(lines, shape, device, weights):
    rows = []
    for line in lines:
        if line.get("what") == "op" and line.get("format") == weights:
            floor = floors.op(shape, device, line["op"], weights, line["rows"], line["context"])
            rows.append([line["op"], str(line["rows"]), str(line["context"]), f"{line['us']:.2f}",
                         f"{1e6 * floor:.2f}" if floor else "–", share(1e6 * floor if floor else 0, line["us"]),
                         peer_of(lines, line)])
    return ["### ops", "", *table(["op", "rows", "context", "us", "floor", "of floor", "best library"],
                                  rows)] if rows else []


def record(lines, today):
    """(name of the file, its text)."""
    about = next((line for line in lines if line.get("what") == "device"), None)
    if about is None:
        raise SystemExit("no line of a device: nothing was measured")
    shape = floors.SHAPES[about["shape"]]
    name = re.sub(r"[^a-z0-9]+", "-", about["description"].split(",")[0].lower()).strip("-")
    text = [f"# Device benchmarks of {today}", "", f"- device: {about['description']}",
            f"- shape: {about['shape']}, weights drawn at random"]
    text += [f"- peer: {line['library']}" for line in lines if line.get("what") == "peers"]
    text.append("")
    for weights in dict.fromkeys(line["format"] for line in lines if line.get("what") == "device"):
        device, note = device_of(lines, weights)
        text += [f"## {weights} weights", "", f"Floors: {note}; attention over many rows "
                 f"{ATTENTION_TFLOPS} TFLOP/s, not measured.", ""]
        text += [f"Cold start without a disk: {line['open_s'] + line['pack_s']:.2f} s "
                 f"({line['bytes'] / 1e9:.2f} GB packed in {line['pack_s']:.2f} s)\n"
                 for line in lines if line.get("what") == "start" and line["format"] == weights]
        text += steps(lines, shape, device, weights) + ops(lines, shape, device, weights)
    sampling = [[line["how"], str(line["rows"]), f"{line['us']:.1f}"] for line in lines
                if line.get("what") == "sample"]
    if sampling:
        text += ["## Sampling, with its copies", "", *table(["how", "rows", "us"], sampling)]
    return f"{today}-{name}.md", "\n".join(text)


def main():
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    lines = read(pathlib.Path(sys.argv[1]))
    name, text = record(lines, datetime.date.today().isoformat())
    out = pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    (out / name).write_text(text)
    print(out / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
