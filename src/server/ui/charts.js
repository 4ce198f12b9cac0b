// Small line charts on canvases. The newest values are also there as text, and in
// the label of each canvas, for those who do not see it.

// What a chart spans: as much as there is, between these.
const kLeastSeconds = 60;
const kMostSeconds = 300;
const kSpecs = [
  { title: "Tokens per second", first: ["generated", "generated"], second: ["prompt", "prompt"], unit: "" },
  { title: "Requests", first: ["running", "running"], second: ["waiting", "waiting"], unit: "" },
  { title: "Time to first token", first: ["ttftP50", "p50"], second: ["ttftP95", "p95"], unit: " ms" },
  { title: "Inter-token latency", first: ["itlP50", "p50"], second: ["itlP95", "p95"], unit: " ms" },
  { title: "KV cache in use", first: ["kv", "used"], second: null, unit: " %", top: 100 },
];

function written(value, unit) {
  if (!Number.isFinite(value)) return "–";
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 1 ? 1 : 2;
  return value.toFixed(value === 0 ? 0 : digits) + unit;
}

// The least of 1, 2, 5 x 10^k that is not below `value`.
function roundUp(value) {
  if (!(value > 0)) return 1;
  const step = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * step).find((top) => top >= value);
}

class Chart {
  #spec;
  #canvas = document.createElement("canvas");
  #first = document.createElement("span");
  #second = document.createElement("span");

  constructor(parent, spec) {
    this.#spec = spec;
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    const title = document.createElement("span");
    title.className = "title";
    title.textContent = spec.title;
    this.#first.className = "first";
    this.#second.className = "second";
    this.#canvas.setAttribute("role", "img");
    caption.append(title, this.#first);
    if (spec.second) caption.append(this.#second);
    figure.append(caption, this.#canvas);
    parent.append(figure);
  }

  draw(points) {
    const { title, first, second, unit } = this.#spec;
    const last = points.at(-1);
    const say = ([field, name]) => `${name} ${written(last?.[field], unit)}`;
    this.#first.textContent = say(first);
    if (second) this.#second.textContent = say(second);
    const words = [first, second].filter(Boolean).map(say);
    this.#canvas.setAttribute("aria-label", `${title}: ${words.join(", ")}`);
    this.#paint(points);
  }

  #paint(points) {
    const { first, second, top } = this.#spec;
    const scale = devicePixelRatio || 1;
    const width = this.#canvas.clientWidth;
    const height = this.#canvas.clientHeight;
    this.#canvas.width = width * scale;
    this.#canvas.height = height * scale;
    const context = this.#canvas.getContext("2d");
    context.scale(scale, scale);
    const style = getComputedStyle(this.#canvas);
    const colour = (name) => style.getPropertyValue(name).trim();

    const values = points.flatMap((point) => [point[first[0]], second ? point[second[0]] : 0]);
    const most = top ?? roundUp(Math.max(0, ...values.filter(Number.isFinite)));
    const end = points.at(-1)?.time ?? 0;
    const seconds = Math.min(kMostSeconds, Math.max(kLeastSeconds, end - (points[0]?.time ?? end)));
    const x = (time) => width - ((end - time) / seconds) * width;
    const y = (value) => height - 3 - (value / most) * (height - 8);

    context.strokeStyle = colour("--line");
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(0, Math.round(y(most / 2)) + 0.5);
    context.lineTo(width, Math.round(y(most / 2)) + 0.5);
    context.stroke();
    context.fillStyle = colour("--quiet");
    context.font = "11px system-ui, sans-serif";
    context.fillText(written(most, this.#spec.unit), 4, 13);

    const line = (field, name, dash) => {
      context.strokeStyle = colour(name);
      context.lineWidth = 2;
      context.setLineDash(dash);
      context.beginPath();
      let drawing = false;
      for (const point of points) {
        const value = point[field];
        if (!Number.isFinite(value)) {
          drawing = false;
          continue;
        }
        if (drawing) context.lineTo(x(point.time), y(value));
        else context.moveTo(x(point.time), y(value));
        drawing = true;
      }
      context.stroke();
      context.setLineDash([]);
    };
    if (second) line(second[0], "--second", [5, 3]);
    line(first[0], "--first", []);
  }
}

export class Charts {
  #charts;

  constructor(parent) {
    this.#charts = kSpecs.map((spec) => new Chart(parent, spec));
    this.draw([]);
  }

  draw(points) {
    for (const chart of this.#charts) chart.draw(points);
  }
}
