#!/usr/bin/env python3
"""Writes monitoring/prometheusrule.yaml from deploy/prometheus/rules (not those about
GPUs). tests/deploy holds the file to this script.

usage: make_rules.py > monitoring/prometheusrule.yaml
"""

import pathlib
import sys

RULES = pathlib.Path(__file__).resolve().parents[1] / "prometheus/rules"
HEAD = """\
# Written by make_rules.py from deploy/prometheus/rules.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: inferd
spec:
  groups:
"""


def groups(name):
    text = (RULES / name).read_text()
    return text[text.index("groups:\n") + len("groups:\n"):]


if __name__ == "__main__":
    body = groups("recording.yml") + groups("alerts.yml")
    sys.stdout.write(HEAD + "".join(f"  {line}" if line.strip() else line
                                    for line in body.splitlines(keepends=True)))
