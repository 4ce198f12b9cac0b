"""The compose file: valid, complete, and every value in it is one that the programs know."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml
from daemon import BINARY, run

EXPOSED_BY_DEFAULT = {"inferd"}  # the others are for this machine alone


@pytest.fixture(scope="module")
def secrets(deploy, tmp_path_factory):
    directory = tmp_path_factory.mktemp("compose") / "secrets"
    made = subprocess.run([str(deploy / "compose/setup.sh")], capture_output=True, text=True, check=False,
                          env={**os.environ, "INFERD": BINARY, "SECRETS_DIR": str(directory)})
    assert made.returncode == 0, made.stderr
    return directory


@pytest.fixture(scope="module")
def compose(deploy, secrets):
    """The file as Compose sees it, with its variables filled in."""
    environment = {**os.environ, "MODELS_DIR": "/srv/models/demo", "SECRETS_DIR": str(secrets)}
    path = deploy / "compose/compose.yaml"
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False) \
        if shutil.which("docker") else None
    if plugin is not None and plugin.returncode == 0:
        command = ["docker", "compose"]
    elif shutil.which("docker-compose"):
        command = ["docker-compose"]
    else:
        pytest.skip("neither docker compose nor docker-compose is installed")
    shown = subprocess.run([*command, "-f", str(path), "--profile", "gpu-metrics", "config"],
                           capture_output=True, text=True, env=environment, check=False)
    assert shown.returncode == 0, shown.stderr
    return yaml.safe_load(shown.stdout)


@pytest.fixture(scope="module")
def raw(deploy):
    return yaml.safe_load((deploy / "compose/compose.yaml").read_text())


def seconds(text):
    total = 0.0
    for number, kind in re.findall(r"([\d.]+)(ms|h|m|s)", text):
        total += float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[kind]
    return total


def inferd_arguments(raw, deploy, secrets, *more):
    """The service's own command, with the container's paths replaced by ours."""
    words = list(raw["services"]["inferd"]["command"])
    mounted = deploy / "compose/inferd.yaml"
    assert "./inferd.yaml:/etc/inferd/config.yaml:ro" in raw["services"]["inferd"]["volumes"]
    words[words.index("/etc/inferd/config.yaml")] = str(mounted)
    return [*words, f"--server.api_keys_file={secrets / 'api_keys.yaml'}", *more]


def test_without_a_model_it_says_what_to_set(deploy):
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed")
    environment = {k: v for k, v in os.environ.items() if k != "MODELS_DIR"}
    shown = subprocess.run(["docker-compose", "-f", str(deploy / "compose/compose.yaml"), "config"],
                           capture_output=True, text=True, env=environment, check=False)
    assert shown.returncode != 0
    assert "directory of a checkpoint" in shown.stderr


def test_the_gpu_variant(deploy, secrets):
    """compose.gpu.yaml on top of compose.yaml: the same service, with a GPU and its image."""
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed")
    files = [deploy / "compose/compose.yaml", deploy / "compose/compose.gpu.yaml"]
    environment = {**os.environ, "MODELS_DIR": "/srv/models/demo", "SECRETS_DIR": str(secrets)}
    shown = subprocess.run(["docker-compose", "-f", str(files[0]), "-f", str(files[1]), "config"],
                           capture_output=True, text=True, env=environment, check=False)
    assert shown.returncode == 0, shown.stderr
    service = yaml.safe_load(shown.stdout)["services"]["inferd"]
    devices = service["deploy"]["resources"]["reservations"]["devices"]
    assert devices[0]["driver"] == "nvidia" and devices[0]["capabilities"] == ["gpu"]
    assert devices[0]["count"] in (1, "1")
    assert service["deploy"]["resources"]["limits"]["memory"]  # of the CPU's file
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert (deploy.parent / service["build"]["dockerfile"]).is_file()
    # The settings are ones that the daemon knows.
    known = run("serve", "--print-config", "--model", "/nowhere",
                env={k: str(v) for k, v in service["environment"].items()})
    assert known.returncode == 0, known.stderr
    assert re.search(r"backend:? *cuda", known.stdout), known.stdout


def test_services(compose):
    assert set(compose["services"]) == {"inferd", "prometheus", "grafana", "dcgm-exporter"}
    for name, service in compose["services"].items():
        assert re.search(r":[\w.-]+$", service["image"]) and not service["image"].endswith(":latest"), name
        assert service["restart"] == "unless-stopped", name
        # Docker's default never cuts its files, and the daemon logs a line per request.
        assert service["logging"]["driver"] == "local" and service["logging"]["options"]["max-size"], name
        if name != "dcgm-exporter":  # needs SYS_ADMIN for the profiling counters
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert service["deploy"]["resources"]["limits"]["memory"], name
    assert compose["services"]["dcgm-exporter"]["profiles"] == ["gpu-metrics"]
    device = compose["services"]["dcgm-exporter"]["deploy"]["resources"]["reservations"]["devices"][0]
    assert device["capabilities"] == ["gpu"]


def test_the_daemons_container(compose, raw):
    service = compose["services"]["inferd"]
    assert service["read_only"] is True and service["user"] == "10001:0"
    assert service["tmpfs"] == ["/tmp"] and service["stop_signal"] == "SIGTERM"
    assert not service.get("init") and not service.get("privileged")
    health = service["healthcheck"]
    assert seconds(health["start_period"]) >= 600  # loading is not illness
    assert health["test"][:3] == ["CMD", "/usr/bin/inferd", "health"]


def test_ports_of_the_helpers_are_for_this_machine(raw):
    for name, service in raw["services"].items():
        for port in service.get("ports", []):
            assert name in EXPOSED_BY_DEFAULT or port.startswith("127.0.0.1:"), (name, port)


def test_every_file_exists(raw, deploy, secrets):
    directory = deploy / "compose"
    for service in raw["services"].values():
        if "build" in service:
            context = directory / service["build"]["context"]
            assert (context / service["build"]["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source = re.sub(r"\$\{[^}]*\}", "VARIABLE", volume).split(":")[0]
            if source.startswith("."):
                assert (directory / source).exists(), volume
            else:
                assert source == "VARIABLE" or source in raw["volumes"], volume
        assert set(service.get("secrets", [])) <= set(raw["secrets"])
    for secret in raw["secrets"].values():
        assert (secrets / pathlib.Path(secret["file"]).name).is_file()


def test_the_command_is_accepted(raw, deploy, secrets):
    checked = run(*inferd_arguments(raw, deploy, secrets, "--check-config"),
                  env={k: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", v)
                       for k, v in raw["services"]["inferd"]["environment"].items()})
    assert checked.returncode == 0, checked.stderr


def test_without_keys_it_refuses(deploy):
    checked = run("serve", "--config", deploy / "compose/inferd.yaml", "--check-config",
                  env={"INFERD_SERVER__API_KEYS_FILE": ""})
    assert checked.returncode == 78 and "server.host" in checked.stderr


def test_there_is_time_to_drain(raw, deploy, secrets):
    printed = run(*inferd_arguments(raw, deploy, secrets, "--print-config")).stdout
    drain = printed[printed.index("\ndrain:"):]
    needed = sum(seconds(re.search(rf"^ +{key}: (\S+)", drain, re.MULTILINE)[1])
                 for key in ("delay", "timeout", "grace"))
    assert needed > 10  # the default of Compose would not do
    assert seconds(raw["services"]["inferd"]["stop_grace_period"]) > needed


def test_the_health_check_knows_its_flags(raw):
    command = raw["services"]["inferd"]["healthcheck"]["test"]
    words = ["127.0.0.1:1" if word == "127.0.0.1:50051" else word for word in command[2:]]
    assert run(*words).returncode == 1  # not 2: the flags are known, nobody answers
    interval = seconds(raw["services"]["inferd"]["healthcheck"]["timeout"])
    assert float(words[words.index("--timeout") + 1]) < interval


def test_prometheus_finds_the_daemon(raw, deploy, secrets):
    config = yaml.safe_load((deploy / "prometheus/prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    host, port = jobs["inferd"]["static_configs"][0]["targets"][0].split(":")
    assert host in raw["services"]
    printed = run(*inferd_arguments(raw, deploy, secrets, "--print-config")).stdout
    assert f"\n  port: {port} " in printed.replace("\n  port: " + port + "\n", f"\n  port: {port} \n")
    secret = pathlib.Path(jobs["inferd"]["authorization"]["credentials_file"])
    assert secret.parent == pathlib.Path("/run/secrets")
    assert secret.name in raw["services"]["prometheus"]["secrets"]
    assert jobs["dcgm"]["dns_sd_configs"][0]["names"] == ["dcgm-exporter"]
    networks = {tuple(service["networks"]) for service in raw["services"].values()}
    assert networks == {("inferd",)}


def test_grafana_finds_prometheus_and_the_dashboards(raw, deploy):
    sources = yaml.safe_load((deploy / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    host, port = re.fullmatch(r"http://([\w-]+):(\d+)", sources[0]["url"]).groups()
    assert host == "prometheus" and any(p.endswith(f":{port}") for p in raw["services"]["prometheus"]["ports"])
    provider = yaml.safe_load((deploy / "grafana/provisioning/dashboards/inferd.yml").read_text())["providers"][0]
    mounts = {volume.split(":")[1]: volume.split(":")[0] for volume in raw["services"]["grafana"]["volumes"]}
    directory = deploy / "compose" / mounts[provider["options"]["path"]]
    home = raw["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (directory / pathlib.Path(home).name).is_file()
    assert mounts["/etc/grafana/provisioning"] == "../grafana/provisioning"


def test_secrets_are_secret(secrets, deploy):
    assert secrets.stat().st_mode & 0o777 == 0o700
    keys = (secrets / "api_keys.yaml").read_text()
    for name in ("client_key", "prometheus_key"):
        secret = (secrets / name).read_text()
        assert len(secret) >= 40 and "\n" not in secret
        assert secret not in keys
    assert run("key", "check", secrets / "api_keys.yaml").returncode == 0
    again = subprocess.run([str(deploy / "compose/setup.sh")], capture_output=True, text=True, check=True,
                           env={**os.environ, "INFERD": BINARY, "SECRETS_DIR": str(secrets)})
    assert "nothing was changed" in again.stderr
    assert (secrets / "api_keys.yaml").read_text() == keys
