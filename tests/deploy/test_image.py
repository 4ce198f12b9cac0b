"""The container images, built by buildah from the Dockerfiles and run as an orchestrator
would: non-root, read-only, without capabilities.

There is no Docker here, so the base is made by debootstrap, and what runs is the image's
root directory in namespaces of its own. The package inside is the one just built, and CUDA's
library this machine's; that the Dockerfiles also compile from source is not tried here. The
CUDA image serves on the CPU here.
"""

import fnmatch
import json
import pathlib
import re
import shutil
import signal
import subprocess

import pytest
from chroots import WORK, Chroot, base, need_root_tools, package
from daemon import BINARY, ROOT
from inside import MODEL_BIND, InsideDaemon

MOST_BYTES = {"cpu": 150_000_000, "cuda": 1_000_000_000}
LEAST_BYTES = {"cpu": 50e6, "cuda": 500e6}
CUDA_LIBRARY = pathlib.Path(BINARY).parent / "libinferd_cuda.so"
USER = "10001:0"


def buildah(*arguments, check=True):
    return subprocess.run(["buildah", "--storage-driver", "vfs", "--root", str(WORK / "storage"),
                           "--runroot", str(WORK / "run"), *arguments],
                          capture_output=True, text=True, timeout=300, check=check).stdout.strip()


@pytest.fixture(scope="module")
def storage():
    """Where both images are built; only the base is kept for the next time."""
    yield
    shutil.rmtree(WORK / "storage", ignore_errors=True)
    shutil.rmtree(WORK / "run", ignore_errors=True)


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def variant(request):
    if request.param == "cuda" and not CUDA_LIBRARY.exists():
        pytest.skip("libinferd_cuda.so was not built: no CUDA toolkit")
    return request.param


@pytest.fixture(scope="module")
def image(storage, variant):
    deb = package()
    need_root_tools("buildah")
    base()
    probe = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("namespaces are not allowed here, so buildah cannot run")
    options = ["--cuda", str(CUDA_LIBRARY)] if variant == "cuda" else []
    built = subprocess.run([str(ROOT / "deploy/docker/build_image.sh"), *options, str(WORK), str(deb)],
                           capture_output=True, text=True, timeout=600, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return json.loads(buildah("inspect", "--type", "image", f"localhost/inferd:{variant}"))


@pytest.fixture(scope="module")
def root(image, variant):
    container = buildah("from", "--pull-never", f"localhost/inferd:{variant}")
    yield pathlib.Path(buildah("mount", container))
    buildah("rm", container)


@pytest.fixture(scope="module")
def config(image):
    return image["Docker"]["config"]


def in_context(variant, path):
    """Whether a path of the repository is sent to the build: the last line that matches it, or a
    directory above it, decides."""
    kept = True
    above = [str(part) for part in (pathlib.PurePath(path), *pathlib.PurePath(path).parents)][:-1]
    for line in (ROOT / f"deploy/docker/{variant}.Dockerfile.dockerignore").read_text().splitlines():
        pattern = line.lstrip("!")
        if line and not line.startswith("#") and any(fnmatch.fnmatch(part, pattern) for part in above):
            kept = line.startswith("!")
    return kept


@pytest.mark.parametrize("which", ["cpu", "cuda"])
def test_the_build_gets_what_it_needs_and_no_secrets(which):
    packaging = (ROOT / "cmake/Packaging.cmake").read_text()
    dockerfile = (ROOT / f"deploy/docker/{which}.Dockerfile").read_text()
    needed = set(re.findall(r"\b(?:deploy|docs|configs)/[\w./-]+", packaging + dockerfile)) - \
        {f"deploy/docker/{which}.Dockerfile"}
    assert len(needed) > 15
    for path in needed:
        assert (ROOT / path).exists() and in_context(which, path), path
    for path in ("deploy/compose/secrets/client_key", "deploy/compose/.env", ".git/config", "build/release/bin/inferd"):
        assert not in_context(which, path), path


def test_size(image, variant):
    listed = json.loads(buildah("images", "--json", f"localhost/inferd:{variant}"))[0]
    text = listed["size"]
    number, unit = re.fullmatch(r"([\d.]+) ?([kMG]B)", text).groups()
    bytes_ = float(number) * {"kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]
    assert bytes_ <= MOST_BYTES[variant], text
    assert bytes_ > LEAST_BYTES[variant], "this cannot be the whole image"


def test_what_the_image_says_of_itself(config):
    assert config["User"] == USER
    assert config["Entrypoint"] == ["/usr/bin/inferd"]
    assert config["Cmd"] == ["serve", "--config", "/etc/inferd/config.yaml"]
    assert config["StopSignal"] == "SIGTERM"
    assert set(config["ExposedPorts"]) == {"50051/tcp", "9091/tcp"}
    health = config["Healthcheck"]
    assert health["Test"][:3] == ["CMD", "/usr/bin/inferd", "health"]
    assert health["StartPeriod"] >= 600e9
    labels = config["Labels"]
    version = re.search(r"project\(inferd VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
    assert labels["org.opencontainers.image.version"] == version
    for name in ("title", "description", "licenses", "revision", "created"):
        assert labels[f"org.opencontainers.image.{name}"], name


def test_the_bill_of_materials_is_what_is_installed(root, variant):
    bill = json.loads((root / "usr/share/inferd/sbom.spdx.json").read_text())
    assert bill["spdxVersion"] == "SPDX-2.3" and bill["documentNamespace"]
    listed = Chroot(root).run("dpkg-query", "-W", "-f", "${Package} ${Version}\n").stdout.split("\n")
    installed = {tuple(line.split()) for line in listed if line}
    named = {(item["name"], item["versionInfo"]) for item in bill["packages"]}
    cuda = {entry for entry in named if entry[0] == "libcublaslt"}
    assert named - cuda == installed
    assert [bool(re.fullmatch(r"13\.[\d.]+", version)) for _, version in cuda] == [True] * (variant == "cuda")
    assert "inferd" in {item["name"] for item in bill["packages"]}
    ids = {item["SPDXID"] for item in bill["packages"]}
    assert len(ids) == len(bill["packages"])
    assert {entry["relatedSpdxElement"] for entry in bill["relationships"]} == ids
    for item in bill["packages"]:
        assert re.fullmatch(r"pkg:[a-z/]+/[^@ ]+@[^ ?:]+\?arch=\w+", item["externalRefs"][0]["referenceLocator"])


def test_nothing_of_the_build_is_left(root):
    names = Chroot(root).run("dpkg-query", "-W", "-f", "${Package}\n").stdout.split()
    assert not [name for name in names if name.endswith("-dev") or name in ("g++", "gcc", "cmake", "git", "python3")]
    assert not list((root / "var/lib/apt/lists").glob("*Packages*"))
    for path in ("src", "out", "build"):
        assert not list((root / path).glob("*")) if (root / path).exists() else True


def test_of_cuda_there_is_only_what_is_used(root, variant):
    found = Chroot(root).run("find", "/", "-xdev", "(", "-name", "libcu*", "-o", "-name", "libnv*", "-o", "-name",
                             "libinferd_cuda*", ")", "-printf", "%f\\n").stdout.split()
    if variant == "cpu":
        assert found == []
        return
    assert sorted(found) == ["libcublasLt.so.13", "libinferd_cuda.so"]
    linked = Chroot(root).run("ldd", "/usr/lib/inferd/libinferd_cuda.so").stdout
    assert "libcublasLt.so.13 => /usr/lib/inferd/" in linked and "not found" not in linked, linked


def test_without_a_driver_cuda_is_refused_in_one_line(root, variant):
    if pathlib.Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has NVIDIA's driver")
    result = Chroot(root, read_only=True, binds=[MODEL_BIND]).run(
        "/usr/bin/inferd", "serve", "--model", "/models", "--backend", "cuda", "--port", "0", "--http-port", "0",
        user=USER, capabilities=False)
    assert result.returncode == 1, result.stderr
    why = "no NVIDIA driver on this machine" if variant == "cuda" else "libinferd_cuda.so is neither beside the program"
    errors = [line for line in result.stderr.splitlines() if '"info"' not in line]
    assert len(errors) == 1 and why in errors[0], result.stderr


def test_no_file_gives_more_rights_by_our_doing(root):
    ours = Chroot(root).run("bash", "-c", "find /usr/bin/inferd /etc/inferd /usr/share/inferd -perm /6002").stdout
    assert ours == ""


def start(root, config, keys, log):
    """The image's own entry point and command, on a read-only root."""
    inside = Chroot(root, read_only=True, binds=[MODEL_BIND, (str(keys), "/run/secrets/api_keys")])
    return InsideDaemon(inside, [*config["Entrypoint"], *config["Cmd"]], log, USER,
                        env={"INFERD_SERVER__PORT": "0", "INFERD_SERVER__HOST": "127.0.0.1"})


def test_without_keys_it_refuses(root, config):
    inside = Chroot(root, read_only=True, binds=[MODEL_BIND])
    result = inside.run(*config["Entrypoint"], *config["Cmd"], "--check-config", user=USER, capabilities=False)
    assert result.returncode == 78 and "/run/secrets/api_keys" in result.stderr, result.stderr


def test_it_serves_on_a_read_only_root(root, config, api_key, tmp_path):
    path, secret = api_key
    # The user inside is not its owner: as with the files of deploy/compose/setup.sh.
    readable = pathlib.Path(shutil.copy(path, tmp_path / "api_keys"))
    readable.chmod(0o644)
    with start(root, config, readable, tmp_path / "log") as daemon:
        inside = Chroot(root, read_only=True)
        health = [daemon.address if word.endswith(":50051") else word for word in config["Healthcheck"]["Test"][1:]]
        answer = inside.run(*health, user=USER, capabilities=False)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        ask = ["chat", "--addr", daemon.address, "--once", "What is 2+3?", "--temperature", "0"]
        refused = inside.run("/usr/bin/inferd", *ask, user=USER, capabilities=False)
        assert refused.returncode != 0 and "5" not in refused.stdout
        chat = inside.run("env", f"INFERD_API_KEY={secret}", "/usr/bin/inferd", *ask, user=USER, capabilities=False)
        assert chat.returncode == 0 and "5" in chat.stdout, chat.stderr
        pid = daemon.daemon_pid()
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"^Uid:\s+10001\s+10001\s", status, re.MULTILINE)
        assert re.search(r"^Gid:\s+0\s+0\s", status, re.MULTILINE)
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
        refused = inside.run("bash", "-c", "echo x > /etc/x; echo x > /usr/x; echo x > /var/x; true")
        assert refused.stderr.count("Read-only file system") == 3, refused.stderr
        # Process 1 gets the signal that the image names, and drains.
        subprocess.run(["kill", f"-{signal.Signals[config['StopSignal']].value}", str(pid)], check=True)
        assert daemon.process.wait(60) == 0, daemon.log()


def test_health_fails_without_a_daemon(root, config):
    inside = Chroot(root, read_only=True)
    health = ["127.0.0.1:1" if word.endswith(":50051") else word for word in config["Healthcheck"]["Test"][1:]]
    assert inside.run(*health, user=USER, capabilities=False).returncode == 1
