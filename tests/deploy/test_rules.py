"""Prometheus: configuration and rules are valid, and the unit tests cover every alert."""

import shutil
import subprocess

import pytest
import yaml

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def promtool(*arguments, cwd=None):
    return subprocess.run(["promtool", *map(str, arguments)], cwd=cwd, capture_output=True, text=True,
                          timeout=120, check=False)


def rules(deploy, kind):
    for path in sorted((deploy / "prometheus/rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if kind in rule:
                    yield rule


def test_the_rules_are_valid(deploy):
    files = sorted((deploy / "prometheus/rules").glob("*.yml"))
    assert files
    result = promtool("check", "rules", *files)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_configuration_is_valid(deploy):
    result = promtool("check", "config", "--syntax-only", deploy / "prometheus/prometheus.yml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_alerts_fire_and_clear(deploy):
    result = promtool("test", "rules", "alerts_test.yml", cwd=deploy / "prometheus/tests")
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_has_a_test_that_fires_and_then_clears(deploy):
    tests = yaml.safe_load((deploy / "prometheus/tests/alerts_test.yml").read_text())["tests"]
    fires, clears = {}, {}
    minutes = lambda text: int(text.removesuffix("m"))  # noqa: E731
    for test in tests:
        for case in test.get("alert_rule_test", []):
            into = fires if case["exp_alerts"] else clears
            into.setdefault(case["alertname"], []).append(minutes(case["eval_time"]))
    names = [rule["alert"] for rule in rules(deploy, "alert")]
    assert len(names) == len(set(names))
    assert set(fires) == set(names)
    for name in names:
        assert max(clears[name]) > min(fires[name]), f"{name} is never seen to clear"


def test_alerts_say_what_and_how_bad(deploy):
    for rule in rules(deploy, "alert"):
        assert rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]


def test_a_wrong_rule_fails_its_test(deploy, tmp_path):
    shutil.copytree(deploy / "prometheus", tmp_path / "prometheus")
    path = tmp_path / "prometheus/rules/alerts.yml"
    path.write_text(path.read_text().replace("inferd_num_requests_waiting[5m]) > 10",
                                             "inferd_num_requests_waiting[5m]) > 20"))
    assert promtool("test", "rules", "alerts_test.yml", cwd=tmp_path / "prometheus/tests").returncode != 0
