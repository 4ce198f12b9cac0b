#!/usr/bin/env python3
"""Writes the manual page of inferd, from what `inferd --help` says.

usage: man_page.py BINARY > inferd.1
"""

import datetime
import os
import re
import subprocess
import sys

OPTION = re.compile(r"^  (-\S.*?)(?:  +(.*))?$")


def output(binary, *arguments):
    return subprocess.run([binary, *arguments], capture_output=True, text=True, check=True).stdout


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return "\\&" + text if text.startswith(".") else text


def options(help_text):
    """(option, description) pairs and section titles of one command's help."""
    items = []
    for line in help_text.splitlines():
        match = OPTION.match(line)
        if match:
            items.append([match[1], match[2] or ""])
        elif line.startswith("   ") and items and items[-1][0]:
            items[-1][1] = (items[-1][1] + " " + line.strip()).strip()
        elif line.endswith(":") and line != "Options:" and not line.startswith("Usage"):
            items.append(["", line.rstrip(":")])
    return items


def page(binary):
    top = output(binary, "--help")
    version = output(binary, "--version").split()[1]
    commands = re.findall(r"^  ([a-z][a-z-]*) +(.*)$", top.partition("Subcommands:")[2], re.MULTILINE)
    stamp = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    day = (datetime.datetime.fromtimestamp(stamp, datetime.timezone.utc) if stamp
           else datetime.datetime.now(datetime.timezone.utc)).strftime("%Y-%m-%d")
    out = [f'.TH INFERD 1 "{day}" "inferd {version}" "User Commands"',
           ".SH NAME", "inferd \\- inference daemon for large language models",
           ".SH SYNOPSIS", ".B inferd", ".I command", "[\\fIoptions\\fR]",
           ".SH DESCRIPTION",
           "inferd loads a checkpoint in the Hugging Face format and serves chat and text completion "
           "over gRPC and HTTP. The same program is the client: it chats with, asks and checks a "
           "running daemon.", ".SH COMMANDS"]
    for name, meaning in commands:
        out += [".TP", f".B {escape(name)}", escape(meaning)]
    for name, _ in commands:
        out.append(f'.SH "OPTIONS OF {name.upper()}"')
        for option, text in options(output(binary, name, "--help")):
            if option:
                out += [".TP", f".B {escape(option)}", escape(text)]
            else:
                out.append(f'.SS "{escape(text)}"')
    out += [".SH ENVIRONMENT", ".TP", ".B INFERD_SECTION__KEY",
            "Sets the configuration key section.key; flags win over it, it wins over the file.",
            ".SH FILES", ".TP", ".I /etc/inferd/config.yaml", "The configuration of inferd.service.",
            ".TP", ".I /etc/default/inferd", "The environment of inferd.service.",
            ".SH EXIT STATUS",
            "0: stopped by a signal. 1: could not start. 2: a bad flag. 70: the engine failed. "
            "78: a bad configuration.",
            ".SH SEE ALSO", "/usr/share/doc/inferd"]
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page(sys.argv[1]))
