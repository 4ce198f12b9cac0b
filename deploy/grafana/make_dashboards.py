#!/usr/bin/env python3
"""Writes the Grafana dashboards in deploy/grafana/dashboards.

A dashboard is a list of rows, a row a list of panels; layout, ids and everything Grafana
wants around a query are added here. tests/deploy holds the files to this script.

usage: make_dashboards.py [DIRECTORY]
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Selectors: metrics of the server have no model; those of an engine do.
SERVER = '{job=~"$job", instance=~"$instance"}'
MODEL = '{job=~"$job", instance=~"$instance", model_name=~"$model_name"}'
RATE = "$__rate_interval"


def target(expr, legend, kind="timeseries"):
    result = {"datasource": SOURCE, "editorMode": "code", "expr": expr, "legendFormat": legend,
              "range": True}
    if kind in ("stat", "bargauge", "table"):
        result.update(range=False, instant=True)
    if kind == "heatmap":
        result["format"] = "heatmap"
    if kind == "table":
        result["format"] = "table"
    return result


def panel(title, queries, unit="short", kind="timeseries", width=8, height=7, text="", most=None,
          stack=False, steps=None, show="auto"):
    """`queries`: (expression, legend) pairs. `text`: what it means, shown at the title.
    `show`: "name" where a stat's legend is the news and its value always 1."""
    targets = [target(expr, legend, kind) for expr, legend in queries]
    for reference, query in zip("ABCDEFGH", targets):
        query["refId"] = reference
    defaults = {"unit": unit, "min": 0}
    if most is not None:
        defaults["max"] = most
    result = {"type": kind, "title": title, "description": text, "datasource": SOURCE,
              "targets": targets, "gridPos": {"w": width, "h": height},
              "fieldConfig": {"defaults": defaults, "overrides": []}}
    if steps:
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    if kind == "timeseries":
        defaults["custom"] = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 60 if stack else 8,
                              "showPoints": "never", "spanNulls": False,
                              "stacking": {"mode": "normal" if stack else "none", "group": "A"}}
        result["options"] = {"legend": {"displayMode": "list", "placement": "bottom"},
                             "tooltip": {"mode": "multi", "sort": "desc"}}
    elif kind == "stat":
        result["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value",
                             "graphMode": "none", "textMode": show}
    elif kind == "heatmap":
        del defaults["min"]
        result["options"] = {"calculate": False, "yAxis": {"unit": unit},
                             "cellGap": 1, "color": {"mode": "scheme", "scheme": "Blues"},
                             "tooltip": {"show": True, "yHistogram": True}}
    elif kind == "table":
        result["options"] = {"showHeader": True}
        result["transformations"] = [{"id": "organize", "options": {
            "excludeByName": {"Time": True, "Value": True, "__name__": True}}}]
    return result


def named(title, query, legend, **more):
    return panel(title, [(query, legend)], **more)


def quantiles(title, metric, text="", which=(0.5, 0.95, 0.99), **more):
    return panel(title, [
        (f"histogram_quantile({q}, sum by (model_name, le) (rate({metric}_bucket{MODEL}[{RATE}])))",
         f"{{{{model_name}}}} p{round(q * 100)}") for q in which], unit="s", text=text, **more)


def mean(metric, legend):
    """One (expression, legend) pair: the mean of a histogram over the interval."""
    return (f"sum by (model_name) (rate({metric}_sum{MODEL}[{RATE}])) / "
            f"(sum by (model_name) (rate({metric}_count{MODEL}[{RATE}])) > 0)", legend)


def heatmap(title, metric, text="", **more):
    return panel(title, [(f"sum by (le) (increase({metric}_bucket{MODEL}[{RATE}]))", "{{le}}")],
                 kind="heatmap", text=text, **more)


def total(metric, by, selector=MODEL):
    return f"sum by ({by}) (rate({metric}{selector}[{RATE}]))"


GREEN_RED = [{"color": "green", "value": None}, {"color": "red", "value": 1}]
RED_GREEN = [{"color": "red", "value": None}, {"color": "green", "value": 1}]

OVERVIEW = ("inferd-overview", "inferd: overview", [
    ("State", [
        named("Instances up", 'sum(up{job=~"$job", instance=~"$instance"})', "up", kind="stat",
              width=4, height=4, steps=RED_GREEN),
        named("State", f"inferd_server_state{SERVER} == 1", "{{instance}}: {{state}}", kind="stat",
              show="name", width=5, height=4, text="What each instance says of itself."),
        named("Model", f"inferd_model_info{MODEL}",
              "{{model_name}} ({{architecture}}, {{dtype}})", kind="stat", show="name", width=5, height=4),
        named("Version", f"inferd_build_info{SERVER}", "{{version}} {{git_commit}}", kind="stat",
              show="name", width=5, height=4),
        named("Running for", f"time() - process_start_time_seconds{SERVER}", "{{instance}}",
              unit="s", kind="stat", width=5, height=4),
    ]),
    ("Traffic", [
        named("Requests by status", total("inferd_requests_total", "code", SERVER), "{{code}}",
              unit="reqps", stack=True),
        named("Share of failed requests",
              'sum(rate(inferd_requests_total{job=~"$job", instance=~"$instance", '
              'code=~"INTERNAL|UNAVAILABLE|UNKNOWN|DATA_LOSS|DEADLINE_EXCEEDED"}[' + RATE + '])) / '
              '(sum(rate(inferd_requests_total{job=~"$job", instance=~"$instance", '
              'code!="CANCELLED"}[' + RATE + '])) > 0)', "failed", unit="percentunit",
              text="Errors that are the server's, of all requests but cancelled ones."),
        named("Refused by reason", total("inferd_requests_rejected_total", "reason", SERVER), "{{reason}}",
              unit="reqps", stack=True, text="Before anything was computed."),
        panel("Tokens per second", [
            (total("inferd_generation_tokens_total", "model_name"), "{{model_name}} generated"),
            (total("inferd_prompt_tokens_total", "model_name"), "{{model_name}} prompt")]),
        panel("Requests in the engine", [
            (f"sum by (model_name) (inferd_num_requests_running{MODEL})", "{{model_name}} running"),
            (f"sum by (model_name) (inferd_num_requests_waiting{MODEL})", "{{model_name}} waiting")],
            text="Waiting grows and inter-token latency is flat: more capacity is needed. "
                 "The reverse: contexts got longer."),
        named("KV cache in use", f"avg by (model_name) (inferd_kv_cache_usage_ratio{MODEL})",
              "{{model_name}}", unit="percentunit", most=1, text="The mean over instances."),
    ]),
    ("Latency", [
        quantiles("Time to first token", "inferd_time_to_first_token_seconds",
                  "From the request being received to its first token: queue, prefill, detokenizing."),
        quantiles("Inter-token latency", "inferd_inter_token_latency_seconds"),
        quantiles("Whole requests", "inferd_e2e_request_latency_seconds"),
    ]),
    ("Endings", [
        named("Finished by reason", total("inferd_request_success_total", "finished_reason"),
              "{{finished_reason}}", unit="reqps", stack=True),
        named("Requests by method", "sum by (method) (job_method:inferd_requests:rate5m{job=~\"$job\"})",
              "{{method}}", unit="reqps", text="Recorded, over five minutes."),
        named("Accepted and not ended", f"sum by (instance) (inferd_requests_live{SERVER})",
              "{{instance}}"),
    ]),
])

ENGINE = ("inferd-engine", "inferd: engine", [
    ("Steps", [
        panel("Step duration, p95 by kind", [
            (f"histogram_quantile(0.95, sum by (kind, le) (rate(inferd_engine_step_duration_seconds_bucket{MODEL}[{RATE}])))",
             "{{kind}}")], unit="s"),
        named("Steps per second by kind", total("inferd_engine_steps_total", "kind"), "{{kind}}", unit="ops"),
        panel("Tokens per step", [mean("inferd_iteration_tokens", "{{model_name}} mean")]),
        heatmap("Tokens per step, distribution", "inferd_iteration_tokens", width=12),
        named("Sequences computed together", f"inferd_num_requests_running{MODEL}", "{{instance}}", width=12),
    ]),
    ("Where the time goes", [
        quantiles("In the queue", "inferd_request_queue_time_seconds"),
        quantiles("Prefill", "inferd_request_prefill_time_seconds"),
        quantiles("Decode", "inferd_request_decode_time_seconds"),
        panel("Share of a request, mean", [
            mean("inferd_request_queue_time_seconds", "queue"),
            mean("inferd_request_prefill_time_seconds", "prefill"),
            mean("inferd_request_decode_time_seconds", "decode")], unit="s", stack=True),
        quantiles("Prefill and decode together", "inferd_request_inference_time_seconds"),
        quantiles("Per output token of a request", "inferd_request_time_per_output_token_seconds"),
        quantiles("Encoding a prompt", "inferd_tokenize_duration_seconds", which=(0.5, 0.99)),
        quantiles("Rendering a chat template", "inferd_chat_template_duration_seconds", which=(0.5, 0.99)),
        panel("Tokens that wait for slow clients, p99", [
            (f"histogram_quantile(0.99, sum by (model_name, le) (rate(inferd_stream_write_backlog_tokens_bucket{MODEL}[{RATE}])))",
             "{{model_name}}")], text="0 when clients keep up."),
    ]),
    ("Ranks", [
        named("Engine", f"inferd_engine_state{MODEL} == 1", "{{instance}}: {{state}}", kind="stat",
              show="name", width=6, text="Recovering: the ranks are being started again; who asks meanwhile is "
                                         "told to come back."),
        named("Losses of ranks", f"sum by (instance) (inferd_rank_losses_total{MODEL})", "{{instance}}",
              kind="stat", width=6, steps=GREEN_RED),
        named("Share of the time without ranks", total("inferd_recovery_seconds_sum", "instance"), "{{instance}}",
              unit="percentunit", width=6),
        named("Answers resumed per second", total("inferd_sequences_resumed_total", "instance"), "{{instance}}",
              unit="ops", width=6),
        panel("Pipeline: part of the time at work", [
            (total("inferd_pipeline_stage_seconds_total", "instance, stage"), "{{instance}} stage {{stage}}"),
            (total("inferd_pipeline_seconds_total", "instance"), "{{instance}} steps in flight")],
            unit="percentunit", width=12, text="Only with parallel.pp above 1."),
        named("Pipeline: part of that time that stages waited, since the start", f"inferd_pipeline_bubble_ratio{MODEL}",
              "{{instance}} stage {{stage}}", unit="percentunit", most=1, width=12),
    ]),
    ("KV cache", [
        named("Preemptions per second", total("inferd_preemptions_total", "instance"), "{{instance}}",
              unit="ops", text="Sequences put back for lack of blocks: lower engine.max_running or give "
                               "the cache more."),
        named("Prompt tokens found in the prefix cache",
              "job_model_name:inferd_prefix_cache_hits_per_queries:ratio_rate5m"
              '{job=~"$job", model_name=~"$model_name"}', "{{model_name}}", unit="percentunit", most=1,
              text="Recorded, over five minutes."),
        named("Prompt tokens by source", total("inferd_prompt_tokens_by_source_total", "source"), "{{source}}",
              stack=True),
        named("Corrupted requests", f"sum by (instance) (increase(inferd_corrupted_requests_total{MODEL}[{RATE}]))",
              "{{instance}}", text="Ended by logits that were not finite: hardware or a damaged checkpoint."),
        panel("Open streams", [
            (f"sum by (instance) (inferd_grpc_streams_active{SERVER})", "{{instance}} gRPC"),
            (f"sum by (instance) (inferd_http_streams_active{SERVER})", "{{instance}} HTTP")]),
        named("Endings of accepted requests", total("inferd_requests_ended_total", "outcome", SERVER), "{{outcome}}",
              unit="reqps"),
    ]),
])

CAPACITY = ("inferd-capacity", "inferd: capacity", [
    ("What is asked for", [
        heatmap("Prompt tokens", "inferd_request_prompt_tokens", width=12),
        heatmap("Generated tokens", "inferd_request_generation_tokens", width=12),
        panel("Longest answer: asked, allowed, used (mean tokens)", [
            mean("inferd_request_params_max_tokens", "asked for"),
            mean("inferd_request_max_num_generation_tokens", "allowed"),
            mean("inferd_request_generation_tokens", "used")], width=12,
            text="Clients that ask for much more than they use make the queue's estimates worse."),
        panel("Prompt tokens computed per request (mean)", [
            mean("inferd_request_prompt_tokens", "prompt"),
            mean("inferd_request_prefill_kv_computed_tokens", "not in the prefix cache")], width=12),
        panel("Choices per request (mean)", [mean("inferd_request_params_n", "{{model_name}}")]),
        named("Requests accepted", f"sum by (instance) (rate(inferd_requests_accepted_total{SERVER}[{RATE}]))",
              "{{instance}}", unit="reqps"),
        named("Requests per second", 'sum by (job) (job_method:inferd_requests:rate5m{job=~"$job"})',
              "{{job}}", unit="reqps", text="All methods, recorded over five minutes."),
    ]),
    ("What there is", [
        named("KV blocks by state", f"sum by (state) (inferd_kv_cache_blocks{MODEL})", "{{state}}", stack=True,
              text="Cached blocks are free, but hold a prefix that may be used again."),
        named("Prompt tokens that wait", f"sum by (instance) (inferd_waiting_prompt_tokens{MODEL})", "{{instance}}"),
        named("Waiting by reason", f"sum by (reason) (inferd_num_requests_waiting_by_reason{MODEL})", "{{reason}}",
              stack=True),
        named("Running, of what may run",
              f"avg by (model_name) (inferd_num_requests_running{MODEL} / inferd_max_num_requests_running{MODEL})",
              "{{model_name}}", unit="percentunit", most=1, text="engine.max_running is the most."),
        panel("KV cache in use, least and most of the instances", [
            (f"min by (model_name) (inferd_kv_cache_usage_ratio{MODEL})", "{{model_name}} least"),
            (f"max by (model_name) (inferd_kv_cache_usage_ratio{MODEL})", "{{model_name}} most")],
            unit="percentunit", most=1),
        named("Tokens per second, recorded", 'job_model_name:inferd_generation_tokens:rate1m'
              '{job=~"$job", model_name=~"$model_name"}', "{{model_name}}"),
    ]),
    ("How it is set up", [
        named("KV cache", f"inferd_cache_config_info{MODEL}", "", kind="table", width=12, height=5),
        named("Model", f"inferd_model_info{MODEL}", "", kind="table", width=12, height=5),
    ]),
])

GPU = '{gpu=~".+"}'
HOST = ("inferd-host", "inferd: process, connections, GPU", [
    ("Process", [
        named("Processor cores in use", f"rate(process_cpu_seconds_total{SERVER}[{RATE}])", "{{instance}}"),
        panel("Memory", [
            (f"process_resident_memory_bytes{SERVER}", "{{instance}} resident"),
            (f"process_virtual_memory_bytes{SERVER}", "{{instance}} virtual")], unit="bytes"),
        panel("File descriptors", [
            (f"process_open_fds{SERVER}", "{{instance}} open"),
            (f"process_max_fds{SERVER}", "{{instance}} limit")]),
        named("Loading the model took", f"inferd_model_load_duration_seconds{MODEL}", "{{instance}}", unit="s",
              kind="stat", height=4),
        named("Started", f"inferd_start_time_seconds{SERVER} * 1000", "{{instance}}", unit="dateTimeFromNow",
              kind="stat", height=4),
        named("Configuration last read well", f"inferd_config_last_reload_success_timestamp_seconds{SERVER} * 1000",
              "{{instance}}", unit="dateTimeFromNow", kind="stat", height=4),
        named("Last reload was good", f"inferd_config_last_reload_successful{SERVER}", "{{instance}}", kind="stat",
              height=4, steps=RED_GREEN),
    ]),
    ("Connections of the main port", [
        named("Open connections", f"inferd_connections_active{SERVER}", "{{instance}}"),
        panel("New connections", [
            (f"sum by (instance) (rate(inferd_connections_accepted_total{SERVER}[{RATE}]))", "{{instance}}"),
            (f"sum by (instance) (rate(inferd_http2_connections_total{SERVER}[{RATE}]))", "{{instance}} HTTP/2")],
            unit="cps"),
        named("HTTP/1.1 requests", total("inferd_http1_requests_total", "instance", SERVER), "{{instance}}",
              unit="reqps"),
        panel("Connections that came to nothing", [
            (total("inferd_connections_refused_total", "reason", SERVER), "refused: {{reason}}"),
            (total("inferd_connection_errors_total", "reason", SERVER), "failed: {{reason}}")], unit="cps",
            text="Refused: too many open, in all or from one address. Failed: TLS, a time limit, or no descriptor."),
        named("Ended for what they sent", total("inferd_http2_violations_total", "kind", SERVER), "{{kind}}",
              unit="cps", text="By the limit of section http2 that they broke."),
        named("The TLS certificate ends in", f"inferd_tls_certificate_not_after_timestamp_seconds{SERVER} - time()",
              "{{instance}}", unit="s", kind="stat"),
        named("Spans for the trace collector", total("inferd_trace_spans_total", "outcome", SERVER), "{{outcome}}",
              unit="cps"),
    ]),
    ("GPUs of the ranks", [
        named("GPU memory by what it is for", f"sum by (kind) (inferd_gpu_memory_bytes{SERVER})", "{{kind}}",
              unit="bytes", stack=True, text="When the ranks had loaded. Unplanned: the driver, code, communicators "
                                             "and other processes."),
        panel("Steps on the GPU, p95 by kind", [
            (f"histogram_quantile(0.95, sum by (kind, le) (rate(inferd_engine_step_kernel_seconds_bucket{MODEL}[{RATE}])))",
             "{{kind}}")], unit="s", text="From a step's first work on the GPU to its last."),
        panel("Share of the time with a step on the GPU", [
            (total("inferd_engine_step_kernel_seconds_sum", "instance"), "{{instance}}")], unit="percentunit", most=1),
        named("Utilisation", f"inferd_gpu_utilization_ratio{SERVER}", "{{instance}} rank {{rank}}", unit="percentunit",
              most=1, text="As the driver counts it: whether any kernel ran."),
        panel("Memory in use", [
            (f"inferd_gpu_memory_used_bytes{SERVER}", "{{instance}} rank {{rank}}"),
            (f"inferd_gpu_memory_total_bytes{SERVER}", "{{instance}} rank {{rank}}, all")], unit="bytes"),
        named("Power", f"inferd_gpu_power_watts{SERVER}", "{{instance}} rank {{rank}}", unit="watt"),
        named("Temperature", f"inferd_gpu_temperature_celsius{SERVER}", "{{instance}} rank {{rank}}", unit="celsius"),
        named("GPUs", f"inferd_gpu_info{SERVER}", "", kind="table", width=12, height=5),
    ]),
    ("GPUs (NVIDIA's DCGM exporter)", [
        named("Tensor cores active", f"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{GPU}", "GPU {{gpu}}", unit="percentunit", most=1),
        named("Memory interface active", f"DCGM_FI_PROF_DRAM_ACTIVE{GPU}", "GPU {{gpu}}", unit="percentunit", most=1),
        named("SM clock", f"DCGM_FI_DEV_SM_CLOCK{GPU}", "GPU {{gpu}}", unit="megahertz"),
        named("Last XID error", f"DCGM_FI_DEV_XID_ERRORS{GPU}", "GPU {{gpu}}", steps=GREEN_RED),
        named("Row remap failures", f"DCGM_FI_DEV_ROW_REMAP_FAILURE{GPU}", "GPU {{gpu}}", steps=GREEN_RED),
    ]),
])


def variable(name, label, query):
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE,
            "query": {"query": query, "refId": "variable"}, "definition": query, "refresh": 2,
            "multi": True, "includeAll": True, "allValue": ".+", "sort": 1,
            "current": {"text": "All", "value": "$__all"}}


def dashboard(uid, title, rows):
    panels, number, y = [], 1, 0
    for row_title, row in rows:
        panels.append({"id": number, "type": "row", "title": row_title, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        number, y, x, tallest = number + 1, y + 1, 0, 0
        for item in row:
            size = item["gridPos"]
            if x + size["w"] > 24:
                x, y, tallest = 0, y + tallest, 0
            panels.append({"id": number, **item, "gridPos": {"x": x, "y": y, **size}})
            number, x, tallest = number + 1, x + size["w"], max(tallest, size["h"])
        y += tallest
    return {
        "uid": uid, "title": title, "tags": ["inferd"], "schemaVersion": 39, "version": 1,
        "editable": True, "refresh": "10s", "time": {"from": "now-30m", "to": "now"}, "timezone": "",
        "graphTooltip": 1, "annotations": {"list": []},
        "links": [{"type": "dashboards", "title": "inferd", "tags": ["inferd"], "asDropdown": True,
                   "includeVars": True, "keepTime": True}],
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
             "current": {"text": "Prometheus", "value": "prometheus"}},
            variable("job", "Job", "label_values(inferd_build_info, job)"),
            variable("instance", "Instance", 'label_values(inferd_build_info{job=~"$job"}, instance)'),
            variable("model_name", "Model", 'label_values(inferd_num_requests_running{job=~"$job"}, model_name)'),
        ]},
        "panels": panels,
    }


def main():
    directory = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "dashboards"
    directory.mkdir(parents=True, exist_ok=True)
    for uid, title, rows in (OVERVIEW, ENGINE, CAPACITY, HOST):
        text = json.dumps(dashboard(uid, title, rows), indent=1, ensure_ascii=False) + "\n"
        (directory / f"{uid}.json").write_text(text)


if __name__ == "__main__":
    main()
