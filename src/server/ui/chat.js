// The conversation: what was said, and the answer under way. Text from the model is
// only ever put in as text.

// The pace of fewer tokens says nothing.
const kTokensForRate = 8;

const byId = (id) => document.getElementById(id);

function element(name, className, text = "") {
  const result = document.createElement(name);
  result.className = className;
  result.textContent = text;
  return result;
}

export class Chat {
  #api;
  #events;
  #model = "";
  #messages = []; // {role, content}: what the next request sends
  #abort = null; // of the answer under way

  constructor(api, events) {
    this.#api = api;
    this.#events = events;
    byId("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    byId("prompt").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (this.#abort === null) byId("ask").requestSubmit();
    });
    byId("stop").addEventListener("click", () => this.#abort?.abort());
    byId("clear").addEventListener("click", () => this.#clear());
  }

  setModel(model) {
    this.#model = model;
  }

  #clear() {
    this.#abort?.abort();
    this.#messages = [];
    byId("messages").replaceChildren();
    byId("prompt").focus();
  }

  #addItem(role, text) {
    const item = element("li", role);
    const body = element("div", "text", text);
    item.append(element("div", "who", role === "user" ? "You" : "Model"), body);
    byId("messages").append(item);
    this.#scroll();
    return { item, body };
  }

  #scroll() {
    const list = byId("messages");
    list.scrollTop = list.scrollHeight;
  }

  #setBusy(busy) {
    byId("send").disabled = busy;
    byId("stop").disabled = !busy;
    byId("messages").setAttribute("aria-busy", String(busy));
  }

  async #send() {
    const text = byId("prompt").value.trim();
    if (text === "" || this.#abort !== null) return;
    byId("prompt").value = "";
    const question = { role: "user", content: text };
    this.#messages.push(question);
    const messages = this.#messages;
    const asked = this.#addItem("user", text);
    const { item, body } = this.#addItem("assistant", "");
    const abort = new AbortController();
    this.#abort = abort;
    this.#setBusy(true);
    const started = performance.now();
    const figures = { first: 0, tokens: 0, finish: "" };
    try {
      for await (const chunk of this.#api.chat(this.#request(messages), abort.signal)) {
        const choice = chunk.choices[0];
        if (choice?.delta?.content) {
          figures.first ||= performance.now();
          body.textContent += choice.delta.content;
          this.#scroll();
        }
        if (choice?.finish_reason) figures.finish = choice.finish_reason;
        if (chunk.usage) figures.tokens = chunk.usage.completion_tokens;
      }
      messages.push({ role: "assistant", content: body.textContent });
      this.#addFigures(item, figures, started);
    } catch (error) {
      this.#end(error, { messages, question, item, body, asked });
    } finally {
      this.#abort = null;
      this.#setBusy(false);
      this.#scroll();
    }
  }

  #request(messages) {
    const temperature = byId("temperature").valueAsNumber;
    const maxTokens = byId("max-tokens").valueAsNumber;
    return {
      model: this.#model,
      messages,
      ...(Number.isFinite(temperature) && { temperature }),
      ...(Number.isFinite(maxTokens) && { max_completion_tokens: maxTokens }),
    };
  }

  #addFigures(item, { first, tokens, finish }, started) {
    const now = performance.now();
    const parts = [`${tokens} tokens`];
    if (first > 0) parts.push(`first after ${Math.round(first - started)} ms`);
    if (tokens >= kTokensForRate && now > first) parts.push(`${Math.round(((tokens - 1) * 1000) / (now - first))} per second`);
    if (finish === "length") parts.push("cut at the longest answer");
    item.append(element("div", "figures", parts.join(", ")));
  }

  // An answer that ended otherwise: stopped by the user, or failed.
  #end(error, { messages, question, item, body, asked }) {
    if (error.name === "AbortError") {
      messages.push({ role: "assistant", content: body.textContent });
      item.append(element("div", "figures", "stopped"));
      return;
    }
    // The question was not answered: give it back.
    messages.splice(messages.indexOf(question), 1);
    if (body.textContent === "") asked.item.remove();
    if (byId("prompt").value === "") byId("prompt").value = question.content;
    const message = error.message || "the daemon does not answer";
    item.append(element("div", "error", message));
    if (error.needsKey) this.#events.onKeyNeeded();
  }
}
