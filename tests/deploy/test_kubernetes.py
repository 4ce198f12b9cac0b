"""The Kubernetes manifests: against the API's schema where it is Kubernetes' own, and
against each other and the binary in any case. There is no cluster here and no kustomize."""

import re
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml
from daemon import run

# Kinds that Kubernetes itself does not have: checked by hand below.
FOREIGN = {"PodMonitor", "PrometheusRule", "InferencePool", "HTTPRoute", "LeaderWorkerSet"}
VERSION = "1.30"
# Made by whoever deploys: docs/deployment.md says how.
SECRETS = {"inferd-api-keys": "api_keys.yaml", "inferd-metrics-key": "key"}
DIRECTORIES = ["base", "monitoring", "autoscaling", "gateway", "leaderworkerset"]


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def kustomization(deploy, name):
    return documents(deploy / f"kubernetes/{name}/kustomization.yaml")[0]


def resources(deploy, name, follow=False):
    found = []
    directory = deploy / "kubernetes" / name
    for resource in kustomization(deploy, name)["resources"]:
        if resource.endswith(".yaml"):
            found += documents(directory / resource)
        elif follow:
            found += resources(deploy, (directory / resource).resolve().name)
    return found


def one(items, kind, name="inferd"):
    matching = [item for item in items if item["kind"] == kind and item["metadata"]["name"] == name]
    assert len(matching) == 1, (kind, name)
    return matching[0]


@pytest.fixture
def base(deploy):
    return resources(deploy, "base")


def pod_specs(deploy):
    yield "base", one(resources(deploy, "base"), "Deployment")["spec"]["template"]
    group = one(resources(deploy, "leaderworkerset"), "LeaderWorkerSet")["spec"]["leaderWorkerTemplate"]
    yield "leaderworkerset", group["workerTemplate"]


def seconds(text):
    number, kind = re.fullmatch(r"([\d.]+)(ms|s|m|h|)", text).groups()
    return float(number) * {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600}[kind]


@pytest.mark.parametrize("name", DIRECTORIES)
def test_schema_and_files(deploy, name):
    directory = deploy / "kubernetes" / name
    kustomize = kustomization(deploy, name)
    listed = set()
    for resource in kustomize["resources"]:
        path = directory / resource
        assert path.exists(), resource
        if path.is_dir():
            assert (path / "kustomization.yaml").is_file()
        listed.add(path.name)
    for patch in kustomize.get("patches", []):
        listed.add(patch["path"])
    listed |= set(kustomize.get("configurations", []))
    for generator in kustomize.get("configMapGenerator", []):
        listed |= set(generator["files"])
    # Nothing lies there that is not used.
    assert {path.name for path in directory.glob("*.yaml")} - {"kustomization.yaml"} == \
        {item for item in listed if item.endswith(".yaml")}
    kinds = set()
    for document in resources(deploy, name):
        kinds.add(document["kind"])
        if document["kind"] not in FOREIGN:
            kubernetes_validate.validate(document, VERSION, strict=True)
    assert kinds


def test_patches_name_what_there_is(deploy):
    for name in ("gateway", "leaderworkerset"):
        for patch in kustomization(deploy, name)["patches"]:
            changed = documents(deploy / "kubernetes" / name / patch["path"])[0]
            target = one(resources(deploy, name, follow=True), changed["kind"], changed["metadata"]["name"])
            for container in changed.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
                assert container["name"] in {c["name"] for c in target["spec"]["template"]["spec"]["containers"]}


def test_what_the_pod_names_exists(deploy, base):
    generated = {g["name"]: g["files"] for g in kustomization(deploy, "base")["configMapGenerator"]}
    claims = {item["metadata"]["name"] for item in base if item["kind"] == "PersistentVolumeClaim"}
    accounts = {item["metadata"]["name"] for item in base if item["kind"] == "ServiceAccount"}
    images = {image["name"] for image in kustomization(deploy, "base")["images"]}
    for where, template in pod_specs(deploy):
        spec = template["spec"]
        assert spec["serviceAccountName"] in accounts
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        container = spec["containers"][0]
        assert container["image"] in images
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes), where
        assert volumes["config"]["configMap"]["name"] in generated
        assert volumes["models"]["persistentVolumeClaim"]["claimName"] in claims
        assert volumes["api-keys"]["secret"]["secretName"] in SECRETS


def test_both_variants_run_the_same_pod(deploy):
    specs = [template["spec"] for _, template in pod_specs(deploy)]
    assert specs[0] == specs[1]


def test_selectors_find_the_pods(deploy, base):
    added = kustomization(deploy, "base")["labels"][0]["pairs"]
    for _, template in pod_specs(deploy):
        labels = {**added, **template["metadata"]["labels"]}
        everything = base + resources(deploy, "monitoring") + resources(deploy, "gateway")
        selectors = [item["spec"].get("selector") or item["spec"].get("podSelector")
                     for item in everything if item["kind"] in
                     ("Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor", "InferencePool", "Deployment")]
        assert len(selectors) >= 7
        for selector in selectors:
            wanted = selector.get("matchLabels", selector)
            assert wanted.items() <= labels.items(), wanted


def test_ports_are_named_and_the_daemons(deploy, base):
    printed = run("serve", "--config", deploy / "kubernetes/base/config.yaml", "--server.insecure_no_auth", "--print-config",
                  env={"INFERD_SERVER__API_KEYS_FILE": ""}).stdout
    port = int(re.search(r"^  port: (\d+)", printed[printed.index("server:"):], re.MULTILINE)[1])
    for _, template in pod_specs(deploy):
        container = template["spec"]["containers"][0]
        ports = {item["name"]: item["containerPort"] for item in container["ports"]}
        assert ports == {"main": port}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] in ports
    for name in ("inferd", "inferd-pods"):
        for item in one(base, "Service", name)["spec"]["ports"]:
            assert item["targetPort"] == "main" and item["port"] == port
    assert one(base, "NetworkPolicy")["spec"]["ingress"][0]["ports"][0]["port"] == "main"
    monitor = one(resources(deploy, "monitoring"), "PodMonitor")["spec"]["podMetricsEndpoints"][0]
    assert monitor["port"] == "main"
    credentials = monitor["authorization"]["credentials"]
    assert SECRETS[credentials["name"]] == credentials["key"]
    pool = one(resources(deploy, "gateway"), "InferencePool")["spec"]
    assert pool["targetPorts"] == [{"number": port}]


def test_probes(deploy):
    for _, template in pod_specs(deploy):
        container = template["spec"]["containers"][0]
        start, live, ready = (container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness"))
        assert start["periodSeconds"] * start["failureThreshold"] >= 600
        assert start["httpGet"]["path"] == ready["httpGet"]["path"] == "/readyz"
        assert live["httpGet"]["path"] == "/healthz"
        assert live["periodSeconds"] * live["failureThreshold"] >= 60


def test_arguments_configuration_and_variables_are_accepted(deploy, api_key):
    keys, _ = api_key
    patch = documents(deploy / "kubernetes/gateway/open-metrics.yaml")[0]
    more = {e["name"]: e["value"] for e in patch["spec"]["template"]["spec"]["containers"][0]["env"]}
    for _, template in pod_specs(deploy):
        container = template["spec"]["containers"][0]
        words = [str(deploy / "kubernetes/base/config.yaml") if word == "/etc/inferd/config.yaml" else word
                 for word in container["args"]]
        environment = {item["name"]: item["value"] for item in container["env"]} | more
        checked = run(*words, f"--server.api_keys_file={keys}", "--check-config", env=environment)
        assert checked.returncode == 0, checked.stderr


def test_paths_in_the_configuration_are_mounted(deploy):
    config = documents(deploy / "kubernetes/base/config.yaml")[0]
    for _, template in pod_specs(deploy):
        mounts = {mount["mountPath"]: mount for mount in template["spec"]["containers"][0]["volumeMounts"]}
        directory, _, name = config["server"]["api_keys_file"].rpartition("/")
        assert mounts[directory]["name"] == "api-keys" and name == SECRETS["inferd-api-keys"]
        assert config["model"]["path"] in mounts
        assert all(mounts[path]["readOnly"] for path in ("/etc/inferd", "/models", directory))


def test_what_can_be_written_is_used(deploy):
    """A volume that the configuration does not name would be a promise of a cache that is none."""
    config = (deploy / "kubernetes/base/config.yaml").read_text()
    for where, template in pod_specs(deploy):
        writable = {mount["mountPath"] for mount in template["spec"]["containers"][0]["volumeMounts"]
                    if not mount.get("readOnly")}
        assert {path for path in writable if path not in config} == {"/tmp"}, where


def test_there_is_time_to_drain(deploy):
    drain = documents(deploy / "kubernetes/base/config.yaml")[0]["drain"]
    needed = sum(seconds(drain[key]) for key in ("delay", "timeout", "grace"))
    ready = one(resources(deploy, "base"), "Deployment")["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
    for _, template in pod_specs(deploy):
        assert template["spec"]["terminationGracePeriodSeconds"] > needed
    # The routers hear of it before the daemon refuses.
    assert seconds(drain["delay"]) > 2 * ready["periodSeconds"] * ready["failureThreshold"]


def test_the_pod_is_closed(deploy):
    for _, template in pod_specs(deploy):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert spec["automountServiceAccountToken"] is False
        container = spec["containers"][0]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                                "capabilities": {"drop": ["ALL"]}}
        assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]


def test_the_autoscaler_reads_metrics_that_exist(deploy, base, shared_daemon):
    scaler = one(resources(deploy, "autoscaling"), "HorizontalPodAutoscaler")["spec"]
    target = scaler["scaleTargetRef"]
    assert one(base, target["kind"], target["name"])["apiVersion"] == target["apiVersion"]
    families = dict(re.findall(r"^# TYPE (\S+) (\S+)", shared_daemon.http("/metrics")[1], re.MULTILINE))
    for metric in scaler["metrics"]:
        assert families[metric["pods"]["metric"]["name"]] == "gauge"


def test_the_rules_are_those_of_prometheus(deploy):
    script = subprocess.run([sys.executable, "-B", str(deploy / "kubernetes/make_rules.py")],
                            capture_output=True, text=True, check=True).stdout
    assert (deploy / "kubernetes/monitoring/prometheusrule.yaml").read_text() == script
    groups = yaml.safe_load(script)["spec"]["groups"]
    wanted = [group for name in ("recording.yml", "alerts.yml")
              for group in yaml.safe_load((deploy / "prometheus/rules" / name).read_text())["groups"]]
    assert groups == wanted
