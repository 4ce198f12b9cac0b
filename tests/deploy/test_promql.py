"""The helper that reads queries."""

from promql import selectors


def test_selectors_are_found():
    query = ('histogram_quantile(0.95, sum by (le, job) (rate(a_bucket{job=~"x|y", z!="{q}"}[5m]))) '
             '/ on (job) group_left (v) (b:c:d{} > 0) and 1e3 < inferd_x offset 5m')
    assert selectors(query) == ['a_bucket{job=~"x|y", z!="{q}"}', "b:c:d{}", "inferd_x"]
