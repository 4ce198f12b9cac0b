#!/usr/bin/env python3
"""Checks who includes whom.

Reads every C++ file under include/, src/ and kernels/ and reports
  - an edge between rooms that rooms.txt does not allow, and cycles of rooms or headers,
  - a quoted include that leads nowhere,
  - libraries used outside the rooms that own them,
  - names of devices outside backends/, kernels/ and cmake/,
  - std::regex anywhere.
Prints one line per violation and exits 1 if there is any.
"""

import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
CODE_SUFFIXES = {".h", ".cc", ".cpp", ".hpp", ".cu", ".cuh", ".inc"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include(?:_next)?[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
DEVICE = re.compile(
    r"(?<![a-z])(cuda|nccl|cublas|cudnn|cutlass|nvml|rocm|rccl|hip(?=runtime|blas)|opencl|ascend(?!ing|s\b)|acl_rt)",
    re.IGNORECASE)
REGEX = re.compile(r"std::(basic_|w)?regex\b|#\s*include\s*<regex>")
# Libraries that only some rooms may use; the key is how their includes begin.
OWNED_LIBRARIES = {
    "grpc": {"server", "trace", "app", "proto"},
    "google/": {"server", "openai", "trace", "app", "proto"},
    "yaml-cpp/": {"config", "auth"},
    "boost/": set(),
    "openssl/": {"net", "auth", "comm"},
    "CLI/": {"app"},
    "hwy/": {"kernels", "backends"},
    "httplib": {"server", "app"},
    "prometheus/": {"server"},
    "pcre2": {"text"},
    "absl/": set(),
}


def read_table(path):
    """room -> set of rooms it may include, or None for all."""
    table = {}
    for line in path.read_text().splitlines():
        line = line.split("#")[0].strip()
        if not line:
            continue
        room, _, allowed = line.partition(":")
        table[room.strip()] = None if allowed.strip() == "*" else set(allowed.split())
    return table


def read_document_table(text, rooms):
    """The same from the Markdown table of docs/architecture.md (its first and last columns)."""
    table = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|") or len(cells) != 3 or cells[0] not in rooms:
            continue
        if cells[2].startswith("everything"):
            table[cells[0]] = None
        else:
            table[cells[0]] = {word.strip() for word in cells[2].split(",")} & set(rooms)
    return table


def room_of(path):
    """The room a file (relative to the root) belongs to; None for files of no room."""
    parts = path.parts
    if parts[0] == "kernels":
        return "kernels"
    if parts[:2] == ("include", "inferd") and len(parts) > 3:
        return parts[2]
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    return None


def strip_block_comments(text):
    return re.sub(r"/\*.*?\*/", lambda match: "\n" * match.group(0).count("\n"), text,
                  flags=re.DOTALL)


def code_files(root, folders):
    for folder in folders:
        base = root / folder
        if base.is_dir():
            yield from sorted(p for p in base.rglob("*") if p.suffix in CODE_SUFFIXES)


def resolve(root, including, name):
    """The file of the repository that a quoted include means, or None."""
    for base in (including.parent, root / "include", root / "src", root / "kernels"):
        candidate = base / name
        if candidate.is_file():
            return candidate.resolve().relative_to(root.resolve())
        if candidate.with_name(candidate.name + ".in").is_file():  # made by CMake
            return candidate.relative_to(root)
    return None


def find_cycle(graph):
    """One cycle of {node: successors} as a list, or None. Iterative depth-first search."""
    done = set()
    for start in sorted(graph):
        if start in done:
            continue
        path, on_path = [start], {start}
        stack = [iter(sorted(graph.get(start, ())))]
        while stack:
            for successor in stack[-1]:
                if successor in on_path:
                    return path[path.index(successor):] + [successor]
                if successor not in done:
                    path.append(successor)
                    on_path.add(successor)
                    stack.append(iter(sorted(graph.get(successor, ()))))
                    break
            else:
                stack.pop()
                node = path.pop()
                on_path.discard(node)
                done.add(node)
    return None


def check(root, table):
    """All violations of the tree at `root`, as lines of text, and the number of files read."""
    problems = []
    room_graph, file_graph = {}, {}
    files = 0
    for path in code_files(root, ("include", "src", "kernels")):
        files += 1
        relative = path.relative_to(root)
        text = strip_block_comments(path.read_text(errors="replace"))
        room = room_of(relative)
        if room not in table:
            problems.append(f"{relative}: room {room} is not in the table")
            continue
        if room not in ("backends", "kernels"):
            for number, line in enumerate(text.splitlines(), 1):
                if DEVICE.search(line):
                    problems.append(f"{relative}:{number}: names a device: {line.strip()}")
        for match in INCLUDE.finditer(text):
            bracket, name = match.groups()
            line = text.count("\n", 0, match.start()) + 1
            where = f"{relative}:{line}"
            for prefix, owners in OWNED_LIBRARIES.items():
                if name.startswith(prefix) and room not in owners:
                    problems.append(f"{where}: {room} must not use {name}")
            if bracket == "<":
                continue
            if name.endswith(".pb.h"):
                target_room = "proto"
            else:
                target = resolve(root, path, name)
                if target is None:
                    if name.startswith("inferd/") or name.split("/")[0] in table:
                        problems.append(f"{where}: {name} does not exist")
                    continue
                target_room = room_of(target)
                file_graph.setdefault(str(relative), set()).add(str(target))
            if target_room == room:
                continue
            room_graph.setdefault(room, set()).add(target_room)
            allowed = table[room]
            if allowed is not None and target_room not in allowed:
                problems.append(f"{where}: {room} must not include {target_room} ({name})")
    for graph, what in ((room_graph, "rooms"), (file_graph, "files")):
        cycle = find_cycle(graph)
        if cycle:
            problems.append(f"cycle of {what}: " + " -> ".join(cycle))
    for path in code_files(root, ("include", "src", "kernels", "tests", "benchmarks")):
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if REGEX.search(line):
                problems.append(f"{path.relative_to(root)}:{number}: std::regex")
    return problems, files


def compare_with_document(root, table):
    text = (root / "docs" / "architecture.md").read_text()
    documented = read_document_table(text, table)
    problems = []
    for room in table:
        if room not in documented:
            problems.append(f"docs/architecture.md: room {room} is missing")
        elif documented[room] != table[room]:
            problems.append(f"docs/architecture.md: room {room} differs from rooms.txt")
    return problems


def main():
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent.parent
    table = read_table(HERE / "rooms.txt")
    problems, files = check(root, table)
    problems += compare_with_document(root, table)
    for problem in problems:
        print(problem)
    print(f"layering: {files} files, {len(problems)} violations")
    return 1 if problems or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
