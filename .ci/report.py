#!/usr/bin/env python3
"""Adds up the results under a folder and prints 'N passed, N failed, N skipped'.

Sources: one folder per C++ run with GoogleTest's XML files and ctest.junit, e2e.junit of
pytest, and *.tsv files of single checks (name, pass|fail|skip, reason). A test program that
died before writing its XML counts as one failure. Exits 1 if anything failed or nothing ran.
"""

import argparse
import pathlib
import sys
import xml.etree.ElementTree as ET


class Totals:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []

    def add_case(self, name, case):
        if case.find("failure") is not None or case.find("error") is not None:
            self.failed.append(name)
        elif case.find("skipped") is not None:
            self.skipped.append(f"{name}: {case.find('skipped').get('message') or 'skipped'}")
        elif case.get("status") in ("notrun", "disabled"):
            self.skipped.append(f"{name}: disabled")
        else:
            self.passed += 1


def skipped_itself(case):
    """Why a program without XML says it has nothing to do here; empty if it does not. One that
    could not be started is marked as skipped by ctest too, with another message."""
    skipped = case.find("skipped")
    message = skipped.get("message", "") if skipped is not None else ""
    return message if message.startswith("SKIP_") else ""


def add_cpp_run(folder, totals):
    """GoogleTest cases of each program; programs without XML count by ctest's word."""
    programs = {}
    for path in sorted(folder.glob("*.xml")):
        try:
            programs[path.stem] = ET.parse(path).getroot()
        except ET.ParseError:
            pass  # the program died while writing: ctest says so below
    for case in ET.parse(folder / "ctest.junit").getroot().iter("testcase"):
        name = case.get("name")
        ok = case.get("status") == "run"
        root = programs.get(name)
        if root is None:
            if ok:
                totals.passed += 1
            elif case.get("status") == "disabled":
                totals.skipped.append(f"{folder.name}/{name}: disabled")
            elif skipped_itself(case):
                totals.skipped.append(f"{folder.name}/{name}: {skipped_itself(case)}")
            else:  # failed, or could not be started because it was not built
                totals.failed.append(f"{folder.name}/{name}")
            continue
        before = len(totals.failed)
        for test in root.iter("testcase"):
            totals.add_case(f"{folder.name}/{test.get('classname')}.{test.get('name')}", test)
        if not ok and len(totals.failed) == before:
            totals.failed.append(f"{folder.name}/{name}: the program failed outside its tests")


def add_checks(path, totals):
    for line in path.read_text().splitlines():
        name, status, reason = (line.split("\t") + ["", ""])[:3]
        if status == "pass":
            totals.passed += 1
        elif status == "skip":
            totals.skipped.append(f"{name}: {reason}")
        else:
            totals.failed.append(name)


def collect(folder, only):
    totals = Totals()
    if not only:
        for run in sorted(folder.glob("*/ctest.junit")):
            add_cpp_run(run.parent, totals)
        for path in sorted(folder.glob("*.junit")):
            for case in ET.parse(path).getroot().iter("testcase"):
                totals.add_case(f"{path.stem}/{case.get('classname')}.{case.get('name')}", case)
    for path in sorted(folder.glob(f"{only or '*'}.tsv")):
        add_checks(path, totals)
    return totals


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--only", default="", help="only this .tsv file")
    arguments = parser.parse_args()
    totals = collect(arguments.folder, arguments.only)
    for line in totals.failed:
        print(f"failed: {line}")
    for line in totals.skipped:
        print(f"skipped: {line}")
    no_gpu = sum("cuda" in line for line in totals.skipped)
    print(f"gpu: {no_gpu} of the skipped need one; docs/gpu-status.md says what has run on which")
    print(f"{totals.passed} passed, {len(totals.failed)} failed, {len(totals.skipped)} skipped")
    return 1 if totals.failed or totals.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
