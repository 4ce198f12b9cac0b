"""The unit: valid, as closed as it says, and the daemon can live within it."""

import configparser
import re
import shutil
import subprocess

import daemon
import pytest
from daemon import run

MOST_EXPOSED = 1.5  # of 10; systemd 252 says 1.4


def unit(deploy):
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str
    parser.read(deploy / "systemd/inferd.service")
    return parser


def seconds(text):
    """Of a duration as --print-config or systemd writes it."""
    number, kind = re.fullmatch(r"([\d.]+)\s*(ms|s|min|m|h|)", text).groups()
    return float(number) * {"ms": 0.001, "s": 1, "": 1, "m": 60, "min": 60, "h": 3600}[kind]


def need_analyze():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")


def test_the_unit_is_valid(deploy, binary, tmp_path):
    need_analyze()
    path = tmp_path / "inferd.service"
    text = (deploy / "systemd/inferd.service").read_text()
    # Here the binary is elsewhere and the manual page is not installed.
    path.write_text(re.sub(r"^Documentation=.*\n", "", text.replace("/usr/bin/inferd", binary), flags=re.MULTILINE))
    checked = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    about = [line for line in checked.stderr.splitlines() if "inferd.service" in line]
    assert not about


def test_how_much_the_service_is_exposed(deploy):
    need_analyze()
    checked = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={round(MOST_EXPOSED * 10)}",
         str(deploy / "systemd/inferd.service")], capture_output=True, text=True, check=False)
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", checked.stdout)
    assert level, checked.stdout + checked.stderr
    assert float(level[1]) <= MOST_EXPOSED, checked.stdout
    assert checked.returncode == 0


def test_the_supervisor_fits_the_daemon(deploy):
    service = unit(deploy)["Service"]
    assert service["Type"] == "notify"
    assert set(service["RestartPreventExitStatus"].split()) == {"2", "78"}
    assert service["ExecReload"].split() == ["/bin/kill", "-HUP", "$MAINPID"]
    printed = run("serve", "--config", deploy / "debian/config.yaml", "--print-config").stdout
    drain = printed[printed.index("\ndrain:"):]
    needed = sum(seconds(re.search(rf"^ +{key}: (\S+)", drain, re.MULTILINE)[1])
                 for key in ("delay", "timeout", "grace"))
    assert seconds(service["TimeoutStopSec"]) > needed
    assert seconds(service["WatchdogSec"]) > 0


def test_what_it_starts_is_accepted(deploy):
    command = unit(deploy)["Service"]["ExecStart"].split()
    assert command[0] == "/usr/bin/inferd" and command[-1] == "$DAEMON_ARGS"
    arguments = ["/etc/inferd/config.yaml", str(deploy / "debian/config.yaml")]
    checked = run(*[arguments[1] if word == arguments[0] else word for word in command[1:-1]], "--check-config")
    assert checked.returncode == 0, checked.stderr


def test_the_variables_of_etc_default_are_known(deploy):
    text = (deploy / "systemd/inferd.default").read_text()
    variables = dict(re.findall(r"^#?(INFERD_\w+)=(.*)$", text, re.MULTILINE))
    assert variables
    checked = run("serve", "--config", deploy / "debian/config.yaml", "--check-config", env=variables)
    assert checked.returncode == 0, checked.stderr


def test_user_and_directories_are_the_units(deploy):
    service = unit(deploy)["Service"]
    assert re.search(rf"^u {service['User']} ", (deploy / "systemd/inferd.sysusers").read_text(), re.MULTILINE)
    tmpfiles = (deploy / "systemd/inferd.tmpfiles").read_text()
    for directory in ("/etc/inferd", "/var/lib/inferd", "/var/cache/inferd"):
        assert re.search(rf"^[dz] {directory} ", tmpfiles, re.MULTILINE)


def allowed_calls(deploy):
    """The system calls that SystemCallFilter= leaves, groups resolved."""

    def group(name):
        listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
        names = {word.strip() for word in listed.stdout.splitlines()[1:]
                 if word.strip() and not word.strip().startswith("#")}
        calls = {word for word in names if not word.startswith("@")}
        for inner in names - calls:
            calls |= group(inner)
        return calls

    calls = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", (deploy / "systemd/inferd.service").read_text(), re.MULTILINE):
        if line.startswith("~"):
            calls -= group(line[1:])
        else:
            calls |= group(line)
    return calls


@pytest.mark.parametrize("flags", [(), ("--parallel.tp=2", "--cpu.threads=4", "--cpu.pinning=on")])
def test_the_daemon_makes_only_allowed_system_calls(deploy, tmp_path, flags):
    """From its start over a chat and a scrape to its end, seen by strace; with ranks, theirs too."""
    need_analyze()
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace, wrapper = tmp_path / "trace", tmp_path / "inferd"
    # -D: the daemon stays our child, and strace watches from beside.
    wrapper.write_text(f'#!/bin/sh\nexec strace -D -f -qq -o {trace} {daemon.BINARY} "$@"\n')
    wrapper.chmod(0o755)
    with daemon.Daemon(*flags, binary=wrapper) as traced:
        from client import Client
        with traced.channel() as channel:
            Client(channel).text("What is 2+3?", max_tokens=8)
        assert traced.http("/metrics")[0] == 200
        assert traced.stop() == 0
    used = set(re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)[( ]", trace.read_text(), re.MULTILINE))
    assert {"execve", "listen", "accept4", "clone3", "exit_group"} <= used
    assert "memfd_create" in used or not flags
    assert used <= allowed_calls(deploy), sorted(used - allowed_calls(deploy))
