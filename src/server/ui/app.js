// Puts the page together: who answers, the chat, the charts, the key.
import { Api } from "./api.js";
import { Chat } from "./chat.js";
import { Charts } from "./charts.js";
import { Sampler } from "./samples.js";

const kPollMs = 2000;

const byId = (id) => document.getElementById(id);
const api = new Api();
const chat = new Chat(api, { onKeyNeeded: askForKey, onNotice: showNotice });
const charts = new Charts(byId("charts"));
const sampler = new Sampler();
let model = "";

function showNotice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = text === "";
}

function askForKey() {
  const dialog = byId("key-dialog");
  if (!dialog.open) dialog.showModal();
}

function showState(state) {
  const badge = byId("state");
  if (badge.dataset.state === state) return;
  badge.dataset.state = state;
  badge.textContent = state;
}

async function findModel() {
  const models = await api.models();
  model = models[0] ?? "";
  byId("model").textContent = model === "" ? "no model is loaded yet" : model;
  chat.setModel(model);
}

// One round: model (until there is one), metrics, charts. Rounds do not overlap.
async function poll() {
  try {
    const text = await api.metrics();
    const sample = sampler.add(text, performance.now() / 1000);
    showState(sample.state);
    charts.draw(sampler.history());
    if (model === "") await findModel();
    showNotice("");
  } catch (error) {
    if (error.needsKey) {
      showState("key needed");
      // Once by itself; from then on at the button, so that nobody is pestered.
      if (!poll.asked) askForKey();
      poll.asked = true;
    } else if (error.status) {
      showNotice(error.message);
    } else {
      showState("unreachable");
    }
  }
  setTimeout(poll, kPollMs);
}

byId("key-button").addEventListener("click", askForKey);
byId("key-cancel").addEventListener("click", () => byId("key-dialog").close());
byId("key-form").addEventListener("submit", () => {
  api.setKey(byId("key").value.trim());
  byId("key").value = "";
  model = "";
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.draw(sampler.history()));
addEventListener("resize", () => charts.draw(sampler.history()));
poll();
