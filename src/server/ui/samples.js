// From the text of /metrics to the figures of the charts: rates and quantiles of
// what happened between two looks.

const kHistorySeconds = 300;
const kWindowSeconds = 30; // over which rates and quantiles are taken

const kCounters = ["inferd_generation_tokens_total", "inferd_prompt_tokens_total"];
const kGauges = ["inferd_num_requests_running", "inferd_num_requests_waiting"];
const kHistograms = ["inferd_time_to_first_token_seconds", "inferd_inter_token_latency_seconds"];

// {"name": sum} and {"name": Map(le -> cumulative count)} of the families above.
export function parseMetrics(text) {
  const numbers = {};
  const buckets = {};
  let state = "unknown";
  let usage = { sum: 0, count: 0 };
  for (const line of text.split("\n")) {
    if (!line.startsWith("inferd_")) continue;
    const space = line.lastIndexOf(" ");
    const series = line.slice(0, space);
    const value = Number(line.slice(space + 1));
    const brace = series.indexOf("{");
    const name = brace < 0 ? series : series.slice(0, brace);
    if (kCounters.includes(name) || kGauges.includes(name)) {
      numbers[name] = (numbers[name] ?? 0) + value;
    } else if (name === "inferd_kv_cache_usage_ratio") {
      usage = { sum: usage.sum + value, count: usage.count + 1 };
    } else if (name === "inferd_server_state") {
      if (value === 1) state = /state="([a-z]+)"/.exec(series)?.[1] ?? state;
    } else if (name.endsWith("_bucket") && kHistograms.includes(name.slice(0, -7))) {
      const family = (buckets[name.slice(0, -7)] ??= new Map());
      const bound = /le="([^"]+)"/.exec(series)[1];
      const le = bound === "+Inf" ? Infinity : Number(bound);
      family.set(le, (family.get(le) ?? 0) + value);
    }
  }
  return { numbers, buckets, state, usage: usage.count ? usage.sum / usage.count : 0 };
}

// The quantile of what two cumulative histograms differ by, interpolated within its
// bucket as Prometheus does; NaN when nothing was observed.
export function quantile(q, before, after) {
  const bounds = [...after.keys()].sort((a, b) => a - b);
  const counts = bounds.map((le) => after.get(le) - (before?.get(le) ?? 0));
  const total = counts.at(-1) ?? 0;
  if (!(total > 0)) return NaN;
  const rank = q * total;
  const i = counts.findIndex((count) => count >= rank);
  const low = i > 0 ? bounds[i - 1] : 0;
  if (bounds[i] === Infinity) return low;
  const below = i > 0 ? counts[i - 1] : 0;
  return low + ((bounds[i] - low) * (rank - below)) / (counts[i] - below);
}

export class Sampler {
  #raw = []; // {time, numbers, buckets}, oldest first, of the window
  #points = []; // what the charts show

  // Takes one text of /metrics, read at `time` (seconds); returns what it says.
  add(text, time) {
    const sample = { time, ...parseMetrics(text) };
    // A restarted daemon begins at zero: its past cannot be compared.
    const last = this.#raw.at(-1);
    if (last && kCounters.some((name) => (sample.numbers[name] ?? 0) < (last.numbers[name] ?? 0))) this.#raw = [];
    while (this.#raw.length > 1 && this.#raw[1].time <= time - kWindowSeconds) this.#raw.shift();
    const base = this.#raw[0];
    const rate = (name) => {
      if (!last || !base || this.#raw.length === 0) return NaN;
      return Math.max(0, (sample.numbers[name] - last.numbers[name]) / (time - last.time));
    };
    const quantileOf = (q, name) => (base ? quantile(q, base.buckets[name], sample.buckets[name] ?? new Map()) : NaN);
    this.#points.push({
      time,
      generated: rate(kCounters[0]),
      prompt: rate(kCounters[1]),
      running: sample.numbers[kGauges[0]] ?? NaN,
      waiting: sample.numbers[kGauges[1]] ?? NaN,
      kv: sample.usage * 100,
      ttftP50: quantileOf(0.5, kHistograms[0]) * 1000,
      ttftP95: quantileOf(0.95, kHistograms[0]) * 1000,
      itlP50: quantileOf(0.5, kHistograms[1]) * 1000,
      itlP95: quantileOf(0.95, kHistograms[1]) * 1000,
    });
    while (this.#points[0].time < time - kHistorySeconds) this.#points.shift();
    this.#raw.push(sample);
    return sample;
  }

  history() {
    return this.#points;
  }
}
