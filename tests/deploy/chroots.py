"""A Debian root directory to try things in, with what programs expect around them."""

import os
import pathlib
import shutil
import subprocess

import pytest
from daemon import ROOT

WORK = pathlib.Path(os.environ.get("INFERD_IMAGE_DIR", ROOT / "build/image"))


def need_root_tools(*tools):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


def package():
    path = pathlib.Path(os.environ.get("INFERD_PACKAGE", ""))
    if not path.is_file():
        pytest.skip("no package was built: set INFERD_PACKAGE to the output of ./dev package")
    return path


def base():
    """The archive of a minimal Debian 12, made once."""
    need_root_tools("debootstrap", "unshare", "setpriv")
    archive = WORK / "base.tar"
    if not archive.exists():
        made = subprocess.run([str(ROOT / "deploy/docker/make_base.sh"), str(archive)],
                              capture_output=True, text=True, timeout=600, check=False)
        # Only a machine that cannot do it at all is an excuse; a broken script is not.
        if made.returncode != 0 and "cannot create" not in made.stdout and "mknod" in made.stdout + made.stderr:
            pytest.skip("debootstrap cannot work here: " + made.stderr[-300:])
        assert made.returncode == 0, made.stdout + made.stderr
    return archive


class Chroot:
    """Commands in `root`, each in mount and process namespaces of its own, so that nothing
    stays mounted and nothing stays running."""

    def __init__(self, root, read_only=False, binds=()):
        self.root = pathlib.Path(root)
        self.read_only = read_only
        self.binds = list(binds)  # (from, to), read-only

    def _setup(self):
        lines = ["set -e", f"cd {self.root}", f"mount --rbind {self.root} {self.root}",
                 f"cd {self.root}", "mount -t proc proc proc", "mount -t tmpfs tmpfs tmp",
                 "mount --rbind /dev dev"]
        if os.path.exists("/etc/resolv.conf"):
            lines.append("touch etc/resolv.conf 2>/dev/null || true; "
                         "mount --bind /etc/resolv.conf etc/resolv.conf")
        for source, target in self.binds:
            place = f"{self.root}{target}"
            make = f"mkdir -p {place}" if os.path.isdir(source) else f"mkdir -p {os.path.dirname(place)}; touch {place}"
            lines += [f"({make}) 2>/dev/null || true",
                      f"mount --bind {source} {self.root}{target}",
                      f"mount -o remount,bind,ro {self.root}{target}"]
        if self.read_only:
            lines.append(f"mount -o remount,bind,ro {self.root}")
        return "\n".join(lines)

    def command(self, *arguments, user="0:0", capabilities=True):
        """The command line that runs `arguments` inside."""
        uid, _, gid = user.partition(":")
        drop = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
        if not capabilities:
            drop += ["--bounding-set=-all", "--inh-caps=-all"]
        enter = " ".join(["exec", "chroot", str(self.root), *drop, '"$@"'])
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private",
                "bash", "-c", self._setup() + "\n" + enter, "chroot", *map(str, arguments)]

    def run(self, *arguments, user="0:0", capabilities=True, timeout=300, stdin=None):
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
        return subprocess.run(self.command(*arguments, user=user, capabilities=capabilities), input=stdin,
                              capture_output=True, text=True, timeout=timeout, env=environment, check=False)
