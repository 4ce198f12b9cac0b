"""Dashboards and rules show data of a live daemon, read by a real Prometheus."""

import json
import re
import shutil
import subprocess
import sys
import time

import pytest
import yaml
from daemon import Daemon
from load import MixedLoad
from prometheus import Prometheus
from promql import metric_name, selectors

# What NVIDIA's exporter has; without it these panels are empty.
DCGM = {"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "DCGM_FI_PROF_DRAM_ACTIVE", "DCGM_FI_DEV_SM_CLOCK",
        "DCGM_FI_DEV_XID_ERRORS", "DCGM_FI_DEV_ROW_REMAP_FAILURE"}
# What the daemon has with a GPU (tests/e2e/test_gpu.py holds it to this list).
GPU = {"inferd_gpu_info", "inferd_gpu_memory_bytes", "inferd_gpu_utilization_ratio", "inferd_gpu_memory_used_bytes",
       "inferd_gpu_memory_total_bytes", "inferd_gpu_power_watts", "inferd_gpu_temperature_celsius",
       "inferd_engine_step_kernel_seconds_bucket", "inferd_engine_step_kernel_seconds_sum"}
# (dashboard or rule, panel or alert): why it has no data here. The test holds the list to be exact.
EMPTY = {
    **{("inferd-host", title): "needs a GPU and the DCGM exporter" for title in (
        "Tensor cores active", "Memory interface active", "SM clock", "Last XID error", "Row remap failures")},
    **{("inferd-host", title): "needs a GPU" for title in (
        "GPU memory by what it is for", "Steps on the GPU, p95 by kind", "Share of the time with a step on the GPU",
        "Utilisation", "Memory in use", "Power", "Temperature", "GPUs")},
    ("alerts", "GpuXidError"): "needs a GPU and the DCGM exporter",
    ("alerts", "GpuRowRemapFailure"): "needs a GPU and the DCGM exporter",
}
# What the load is made to cause, so that "data" is more than zeros.
CAUSED = {
    "answers": 'sum(increase(inferd_requests_total{code="OK"}[5m]))',
    "mistakes": 'sum(increase(inferd_requests_total{code="INVALID_ARGUMENT"}[5m]))',
    "refusals": 'sum(increase(inferd_requests_rejected_total{reason="queue_full"}[5m]))',
    "cancelled": 'sum(increase(inferd_requests_ended_total{outcome="cancelled"}[5m]))',
    "late": 'sum(increase(inferd_requests_total{code="DEADLINE_EXCEEDED"}[5m]))',
    "preemptions": "sum(increase(inferd_preemptions_total[5m]))",
    "prefix hits": "sum(increase(inferd_prefix_cache_hit_tokens_total[5m]))",
    "tokens": "sum(increase(inferd_generation_tokens_total[5m]))",
}
LOAD_SECONDS = 20


def dashboards(deploy):
    files = sorted((deploy / "grafana/dashboards").glob("*.json"))
    assert len(files) >= 4
    return [json.loads(path.read_text()) for path in files]


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def substituted(query):
    query = query.replace("$__rate_interval", "10s")
    return re.sub(r"\$(job|instance|model_name)\b", ".+", query)


def rule_list(deploy):
    for path in sorted((deploy / "prometheus/rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def test_the_files_are_what_the_script_writes(deploy, tmp_path):
    subprocess.run([sys.executable, "-B", str(deploy / "grafana/make_dashboards.py"), str(tmp_path)], check=True)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    shipped = {path.name: path.read_text() for path in (deploy / "grafana/dashboards").iterdir()}
    assert shipped == written


def test_lint(deploy):
    uids, titles = set(), set()
    for dashboard in dashboards(deploy):
        assert dashboard["uid"] not in uids and dashboard["title"] not in titles
        uids.add(dashboard["uid"])
        titles.add(dashboard["title"])
        variables = {variable["name"] for variable in dashboard["templating"]["list"]}
        assert {"datasource", "job", "instance", "model_name"} <= variables
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(ids) == len(set(ids))
        spots = set()
        for panel in panels(dashboard):
            where = (dashboard["uid"], panel["title"])
            assert panel["title"] and panel["targets"], where
            assert panel["datasource"]["uid"] == "${datasource}", where
            spot = panel["gridPos"]
            cells = {(x, y) for x in range(spot["x"], spot["x"] + spot["w"])
                     for y in range(spot["y"], spot["y"] + spot["h"])}
            assert spot["x"] + spot["w"] <= 24 and not cells & spots, f"{where} overlaps"
            spots |= cells
            for target in panel["targets"]:
                assert target["expr"] and target["datasource"]["uid"] == "${datasource}", where
                # Fixed windows are for recording rules: in a panel they are wrong at most zooms.
                for window in re.findall(r"\[([^\]]+)\]", target["expr"]):
                    assert window == "$__rate_interval", where
                for used in re.findall(r"\$(\w+)", target["expr"]):
                    assert used in variables | {"__rate_interval"}, (where, used)
        titles_here = [panel["title"] for panel in panels(dashboard)]
        assert len(titles_here) == len(set(titles_here)), dashboard["uid"]


def test_ratios_of_the_cache_are_never_added(deploy):
    """The use of several caches is their mean: a sum would be over 100 %."""
    for dashboard in dashboards(deploy):
        for panel in panels(dashboard):
            for target in panel["targets"]:
                assert not re.search(r"sum[^(]*\([^()]*\)?\s*\(?inferd_kv_cache_usage_ratio", target["expr"])


@pytest.fixture(scope="module")
def live(deploy, api_key, tmp_path_factory):
    """A daemon under mixed load, and a Prometheus that has watched it for a while: with the
    key of the configuration, over the main port, as in the stack of deploy/compose."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    work = tmp_path_factory.mktemp("prometheus")
    keys, secret = api_key
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "30", "-subj", "/CN=localhost", "-keyout", str(work / "key.pem"),
                    "-out", str(work / "cert.pem")], check=True, capture_output=True)
    (work / "key.pem").chmod(0o600)
    with Daemon(f"--api-keys-file={keys}", "--engine.max_running=6", "--engine.max_queued_requests=8", "--kv-cache-size=1MiB",
                "--engine.max_preemptions=1000", "--engine.max_batched_tokens=128", "--pp=2") as daemon, \
            Daemon(f"--tls-certificate={work / 'cert.pem'}", f"--tls-key={work / 'key.pem'}") as other:
        # The second speaks TLS, and is asked on its side port: this Prometheus does not. The
        # first has a pipeline.
        targets = [daemon.address, f"127.0.0.1:{other.http_port}"]
        with Prometheus(deploy / "prometheus", work, targets, secret) as prometheus:
            prometheus.wait_for("count(inferd_build_info) == 2")  # the counters' first, empty samples
            with MixedLoad(daemon, [("authorization", f"Bearer {secret}")]) as load:
                time.sleep(LOAD_SECONDS)
                for what, query in CAUSED.items():
                    prometheus.wait_for(f"{query} > 0", timeout=30)
                yield daemon, prometheus, load


def test_the_load_caused_what_it_was_for(live):
    _, prometheus, load = live
    for what, query in CAUSED.items():
        assert prometheus.query(f"{query} > 0"), (what, load.outcomes)


def test_every_panel_has_data(deploy, live):
    _, prometheus, load = live
    empty, count = set(), 0
    for dashboard in dashboards(deploy):
        for panel in panels(dashboard):
            for target in panel["targets"]:
                count += 1
                if not prometheus.query(substituted(target["expr"])):
                    empty.add((dashboard["uid"], panel["title"]))
    expected = {where for where in EMPTY if where[0] != "alerts"}
    assert empty == expected, f"of {count} queries; outcomes of the load: {load.outcomes}"


def test_variables_have_values(deploy, live):
    _, prometheus, _ = live
    for dashboard in dashboards(deploy):
        for variable in dashboard["templating"]["list"]:
            if variable["type"] != "query":
                continue
            selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()
            assert prometheus.label_values(label, substituted(selector)), variable["name"]


def test_every_rule_has_data(deploy, live):
    """A recording has values; of an alert, everything it reads has (that it fires is for
    its unit tests)."""
    _, prometheus, _ = live
    empty = set()
    for rule in rule_list(deploy):
        if "record" in rule:
            if not prometheus.query(rule["record"]):
                empty.add(("recordings", rule["record"]))
        elif not all(prometheus.query(selector) for selector in selectors(rule["expr"])):
            empty.add(("alerts", rule["alert"]))
    assert empty == {where for where in EMPTY if where[0] == "alerts"}
    broken = [rule["name"] for rule in prometheus.rules() if rule["health"] != "ok"]
    assert not broken


def test_every_metric_named_exists(deploy, live):
    _, prometheus, _ = live
    exported = set(prometheus.label_values("__name__", '{job="inferd"}')) | DCGM | GPU
    recorded = {rule["record"] for rule in rule_list(deploy) if "record" in rule}
    named = {metric_name(s) for rule in rule_list(deploy) for s in selectors(rule["expr"])}
    for dashboard in dashboards(deploy):
        for panel in panels(dashboard):
            for target in panel["targets"]:
                named |= {metric_name(s) for s in selectors(target["expr"])}
    assert not named - exported - recorded
    assert DCGM | GPU <= named  # the list above has nothing that nobody shows


def test_every_metric_of_ours_is_shown(deploy, live):
    _, prometheus, _ = live
    exported = prometheus.label_values("__name__", '{job="inferd"}')
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in exported}
    shown = "\n".join(target["expr"] for dashboard in dashboards(deploy) for panel in panels(dashboard)
                      for target in panel["targets"])
    shown += "\n".join(rule["expr"] for rule in rule_list(deploy))
    unseen = {name for name in families if name.startswith("inferd_") and not re.search(rf"\b{name}", shown)}
    assert not unseen, "add these to deploy/grafana/make_dashboards.py and run it"
