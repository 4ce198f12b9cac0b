"""The Debian package: what is in it, and that it installs, serves and goes away."""

import gzip
import re
import shutil
import subprocess
import tarfile

import pytest
from chroots import Chroot, base, package
from daemon import ROOT
from inside import MODEL_BIND, InsideDaemon

# Said of a package that is not for Debian's archive: it closes no bug there.
LINTIAN_ALLOWED = {"initial-upload-closes-no-bugs"}


def output(*arguments):
    return subprocess.run([*map(str, arguments)], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def deb():
    return package()


def test_fields(deb):
    fields = dict(line.split(": ", 1) for line in
                  output("dpkg-deb", "-f", deb, "Package", "Version", "Depends").splitlines())
    version = re.search(r"project\(inferd VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
    assert fields["Package"] == "inferd" and fields["Version"] == f"{version}-1"
    depends = {word.split(" ")[0] for word in fields["Depends"].split(", ")}
    assert {"adduser", "libc6", "libgrpc++1.51", "libprotobuf32"} <= depends
    assert not any(name.endswith("-dev") or name.startswith("python") for name in depends)


def test_files(deb):
    names = {line.split()[5] for line in output("dpkg-deb", "-c", deb).splitlines()}
    for name in ("./usr/bin/inferd", "./lib/systemd/system/inferd.service", "./etc/inferd/config.yaml",
                 "./etc/default/inferd", "./usr/lib/sysusers.d/inferd.conf", "./usr/lib/tmpfiles.d/inferd.conf",
                 "./usr/share/man/man1/inferd.1.gz", "./usr/share/doc/inferd/copyright",
                 "./usr/share/inferd/proto/inferd/v1/chat.proto"):
        assert name in names
    assert not [name for name in names if name.endswith((".a", ".h", ".cmake", "_test"))]


def test_lintian(deb):
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed")
    checked = subprocess.run(["lintian", "--allow-root", str(deb)], capture_output=True, text=True, check=False)
    complaints = [line for line in checked.stdout.splitlines() if line[:2] in ("E:", "W:")]
    assert not [line for line in complaints if line.split()[2] not in LINTIAN_ALLOWED]


def test_the_binary_is_hardened_and_stripped(deb, tmp_path):
    subprocess.run(["dpkg-deb", "-x", str(deb), str(tmp_path)], check=True)
    program = tmp_path / "usr/bin/inferd"
    assert "DYN" in output("readelf", "-h", program)
    assert re.search(r"GNU_STACK.*\n.*RW +0x", output("readelf", "-l", program))
    assert "BIND_NOW" in output("readelf", "-d", program)
    assert ".symtab" not in output("readelf", "-S", program)
    assert program.stat().st_size < 16 << 20


def test_the_manual_page_has_every_command_and_key(deb, tmp_path, binary):
    subprocess.run(["dpkg-deb", "-x", str(deb), str(tmp_path)], check=True)
    page = tmp_path / "usr/share/man/man1/inferd.1.gz"
    text = gzip.open(page, "rt").read().replace("\\-", "-")
    for key in re.findall(r"^\| `([a-z0-9_]+\.[a-z0-9_]+)` \|", output(binary, "config-reference"), re.MULTILINE):
        assert f"--{key}" in text, key
    for command in re.findall(r"^  ([a-z][a-z-]*) ", output(binary, "--help").partition("Subcommands:")[2], re.MULTILINE):
        assert f".B {command}\n" in text, command
    if shutil.which("man"):
        shown = subprocess.run(["man", "--warnings", "-l", str(page)], capture_output=True, text=True, check=False,
                               env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""})
        assert shown.returncode == 0 and not shown.stderr, shown.stderr
        assert "inference daemon" in shown.stdout


@pytest.fixture(scope="module")
def installed(deb, tmp_path_factory):
    archive = base()
    root = tmp_path_factory.mktemp("debian")
    with tarfile.open(archive) as files:
        files.extractall(root, filter="fully_trusted")
    shutil.copy(deb, root / "inferd.deb")
    chroot = Chroot(root)
    update = chroot.run("apt-get", "update", "-qq")
    assert update.returncode == 0, update.stderr
    install = chroot.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "/inferd.deb")
    assert install.returncode == 0, install.stdout + install.stderr
    yield chroot
    shutil.rmtree(root, ignore_errors=True)


def test_it_installs_and_tells_its_version(installed):
    told = installed.run("inferd", "--version")
    assert told.returncode == 0 and told.stdout.startswith("inferd "), told.stderr


def test_the_user_and_directories_exist(installed):
    assert "/var/lib/inferd" in installed.run("getent", "passwd", "inferd").stdout
    modes = installed.run("stat", "-c", "%n %U:%G %a", "/etc/inferd", "/var/lib/inferd", "/var/cache/inferd").stdout
    assert modes.splitlines() == ["/etc/inferd root:inferd 750", "/var/lib/inferd inferd:inferd 750",
                                  "/var/cache/inferd inferd:inferd 750"]


def test_its_configuration_is_good(installed):
    checked = installed.run("inferd", "serve", "--config", "/etc/inferd/config.yaml", "--check-config")
    assert checked.returncode == 0, checked.stderr


def test_a_chat_there(installed, tmp_path):
    uid = installed.run("id", "-u", "inferd").stdout.strip()
    gid = installed.run("id", "-g", "inferd").stdout.strip()
    inside = Chroot(installed.root, binds=[MODEL_BIND])
    command = ["inferd", "serve", "--config", "/etc/inferd/config.yaml", "--model=/models", "--port=0",
               "--http-port=0"]
    with InsideDaemon(inside, command, tmp_path / "log", f"{uid}:{gid}") as daemon:
        answer = installed.run("inferd", "chat", "--addr", daemon.address, "--once", "What is 2+3?",
                               "--temperature", "0")
        assert answer.returncode == 0, answer.stderr
        assert "5" in answer.stdout
        assert installed.run("inferd", "health", "--addr", daemon.address).returncode == 0


def test_it_goes_away(installed):
    purge = installed.run("apt-get", "purge", "-y", "-qq", "inferd")
    assert purge.returncode == 0, purge.stdout + purge.stderr
    left = installed.run("bash", "-c", "ls -d /etc/inferd /etc/default/inferd /usr/bin/inferd /var/cache/inferd "
                                       "/usr/share/inferd 2>/dev/null").stdout.split()
    assert left == []
