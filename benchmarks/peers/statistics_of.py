"""Medians, spreads and ratios of paired runs."""

import statistics


def spread(values):
    """(median, least, greatest)."""
    return statistics.median(values), min(values), max(values)


def ratios(ours, theirs):
    """Ours over theirs, pair by pair, of runs {repeat: value} that both sides have."""
    return [ours[r] / theirs[r] for r in sorted(ours) if r in theirs and theirs[r] != 0]


def share_of_floor(rate, streams, step_bytes, bandwidth):
    """How near decode is to reading every weight once a step, in percent.

    rate: tokens/s of `streams` together; bandwidth: bytes/s.
    """
    return 100 * rate / streams * step_bytes / bandwidth


def number(value):
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def cell(values):
    """Median, with least and greatest where there is more than one run."""
    middle, low, high = spread(values)
    return number(middle) if len(values) == 1 else f"{number(middle)} ({number(low)}–{number(high)})"
