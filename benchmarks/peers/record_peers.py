"""The dated record of a comparison: JSON as measured, Markdown to read."""

import collections
import datetime
import json
import os
import pathlib
import re

import cases
import statistics_of as st


def load_runs(path):
    """Every measurement written so far, one JSON object a line; a cut-off last line is left out."""
    runs = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                runs.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return runs


def key(run):
    return run["shape"], run["format"], run["case"], run["side"], run["repeat"]


def figures(runs):
    """{(shape, format): {figure: {side: {repeat: value}}}} in the order measured."""
    table = collections.defaultdict(lambda: collections.defaultdict(lambda: collections.defaultdict(dict)))
    for run in runs:
        for figure, value in run.get("figures", {}).items():
            table[run["shape"], run["format"]][figure][run["side"]][run["repeat"]] = value
    return table


def streams_of(figure):
    """How many streams a decode figure has; 0 for other figures."""
    match = re.match(r"decode, (\d+) streams? ", figure)
    return int(match[1]) if match else 0


def _floor_cell(run_values, figure, side_bytes, bandwidths):
    """Share of the floor, each run against the bandwidth measured beside it."""
    shares = [st.share_of_floor(value, streams_of(figure), side_bytes, bandwidths[repeat])
              for repeat, value in run_values.items() if repeat in bandwidths]
    return st.cell(shares) + " %" if shares else ""


def table(shape, form, measured, runs, sides):
    """One Markdown table: ours beside each peer."""
    mine = sides[0]
    of = [run for run in runs if (run["shape"], run["format"]) == (shape, form)]
    size = {run["side"]: run["step_bytes"] for run in of if "step_bytes" in run}
    bandwidths = collections.defaultdict(dict)
    for run in of:
        if "bandwidth" in run:
            bandwidths[run["case"]].setdefault(run["repeat"], run["bandwidth"])
    case_of = {figure: run["case"] for run in of for figure in run.get("figures", {})}
    head = ["figure", "unit"]
    for side in sides:
        head += [side, "of its floor"]
        if side != mine:
            head.append(f"{mine} / {side}")
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for figure, by_side in measured.items():
        what, _, unit = figure.rpartition(" ")
        row = [what, unit]
        for side in sides:
            values = by_side.get(side, {})
            row.append(st.cell(list(values.values())) if values else "–")
            floor = ""
            if values and streams_of(figure) and side in size:
                floor = _floor_cell(values, figure, size[side], bandwidths[case_of[figure]])
            row.append(floor)
            if side != mine:
                pairs = st.ratios(by_side.get(mine, {}), values)
                better = "less is better" if unit in cases.LESS_IS_BETTER else ""
                row.append((st.cell(pairs) + (f", {better}" if better else "")) if pairs else "–")
        rows.append("| " + " | ".join(row) + " |")
    sizes = ", ".join(f"{side} {size[side] / 1e6:,.1f} MB" for side in sides if side in size)
    return f"A decode step reads: {sizes} of weights.\n\n" + "\n".join(rows)


def markdown(runs, facts, sides):
    lines = [f"# Comparison with peers, {facts['date']}\n"]
    lines += [f"- {name}: {value}" for name, value in facts.items() if name != "date"]
    loads = [run["load"] for run in runs if "load" in run]
    if loads:
        lines.append(f"- load average before each run: {min(loads):.2f} to {max(loads):.2f}")
    bandwidth = [run["bandwidth"] / 1e9 for run in runs if "bandwidth" in run]
    if bandwidth:
        lines.append(f"- read bandwidth beside the runs, GB/s: {st.cell(bandwidth)}")
    lines.append("\nMedian (least–greatest) of the repeats; ratios pair by pair. The floor of decode is the "
                 "time to read the weights once a step at the bandwidth measured beside the run.\n")
    for (shape, form), measured in figures(runs).items():
        lines.append(f"## {shape}, {form}\n\n{table(shape, form, measured, runs, sides)}\n")
    failed = [run for run in runs if "failed" in run]
    if failed:
        lines.append("## Not measured\n")
        lines += [f"- {' '.join(map(str, key(run)))}: {run['failed'].splitlines()[-1][:300]}" for run in failed]
    return "\n".join(lines) + "\n"


def cpu_model():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return re.sub(r"\s+", " ", match[1]).strip() if match else os.uname().machine


def write(runs, facts, sides, directory):
    """Both files; returns the path of the Markdown."""
    directory.mkdir(parents=True, exist_ok=True)
    device = re.sub(r"[^A-Za-z0-9]+", "-", cpu_model()).strip("-").lower()
    base = directory / f"{datetime.date.today().isoformat()}-peers-{device}"
    base.with_suffix(".json").write_text(json.dumps({"facts": facts, "runs": runs}, indent=1) + "\n")
    path = base.with_suffix(".md")
    path.write_text(markdown(runs, facts, sides))
    return path
