"""A Prometheus that runs the configuration we ship."""

import json
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class NotYet(AssertionError):
    """Prometheus is still starting."""


class Prometheus:
    """Debian's Prometheus with deploy/prometheus, of which only the targets, the
    intervals and the key's file are others. Use as a context manager."""

    def __init__(self, source: pathlib.Path, work: pathlib.Path, targets: list[str], key: str):
        self.work = work
        shutil.copytree(source / "rules", work / "rules")
        config = yaml.safe_load((source / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        scrape = {job["job_name"]: job for job in config["scrape_configs"]}
        (work / "key").write_text(key)
        scrape["inferd"]["authorization"]["credentials_file"] = str(work / "key")
        scrape["inferd"]["static_configs"] = [{"targets": targets}]
        # Without the profile its name is not there; here nobody is to be asked for it.
        scrape["dcgm"].pop("dns_sd_configs")
        scrape["dcgm"]["static_configs"] = []
        (work / "prometheus.yml").write_text(yaml.safe_dump(config))
        for path in (work / "rules").glob("*.yml"):
            groups = yaml.safe_load(path.read_text())
            for group in groups["groups"]:
                group.pop("interval", None)
            path.write_text(yaml.safe_dump(groups))
        self.port = free_port()

    def __enter__(self):
        self.log = open(self.work / "prometheus.log", "wb")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={self.work / 'prometheus.yml'}",
             f"--storage.tsdb.path={self.work / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}"],
            stdout=self.log, stderr=self.log, start_new_session=True)
        self._wait(lambda: self.query("vector(1)"), "Prometheus does not answer")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()

    def _wait(self, good, complaint, timeout=60):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            assert self.process.poll() is None, (self.work / "prometheus.log").read_text()
            try:
                if good():
                    return
            except (NotYet, urllib.error.URLError, ConnectionError):
                pass
            time.sleep(0.1)
        raise AssertionError(complaint)

    def wait_for(self, query, timeout=60):
        self._wait(lambda: self.query(query), f"no data for {query}", timeout)

    def _get(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}{path}?" + urllib.parse.urlencode(parameters, doseq=True)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=30) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            kind = NotYet if error.code == 503 else AssertionError
            raise kind(f"{url}: {error.read().decode()}") from error

    def query(self, query):
        """[(labels, value)] of an instant query, without the values that are none (NaN)."""
        data = self._get("/api/v1/query", query=query)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        pairs = [(item["metric"], float(item["value"][1])) for item in data["result"]]
        return [(labels, value) for labels, value in pairs if value == value]

    def label_values(self, label, selector):
        return self._get(f"/api/v1/label/{label}/values", **{"match[]": [selector]})

    def rules(self):
        return [rule for group in self._get("/api/v1/rules")["groups"] for rule in group["rules"]]
