// The daemon as this page sees it. The API key lives in this object only: not in
// storage, not in a cookie, not in the address.

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
    this.needsKey = status === 401;
  }
}

// {"error": {"message": ...}} as text; whatever else came, shortened.
async function errorOf(response) {
  const text = await response.text();
  let message = text.slice(0, 300);
  try {
    message = JSON.parse(text).error.message;
  } catch {
    // not the API's error object
  }
  return new ApiError(response.status, message || `HTTP status ${response.status}`);
}

export class Api {
  #key = "";

  setKey(key) {
    this.#key = key;
  }

  #headers(more = {}) {
    return this.#key === "" ? more : { ...more, Authorization: `Bearer ${this.#key}` };
  }

  async #get(path) {
    const response = await fetch(path, { headers: this.#headers(), cache: "no-store" });
    if (!response.ok) throw await errorOf(response);
    return response;
  }

  async models() {
    const list = await (await this.#get("v1/models")).json();
    return list.data.map((model) => model.id);
  }

  async metrics() {
    return (await this.#get("metrics")).text();
  }

  // Yields the chunks of a streamed chat completion. `signal` ends it.
  async *chat(body, signal) {
    const response = await fetch("v1/chat/completions", {
      method: "POST",
      headers: this.#headers({ "Content-Type": "application/json" }),
      body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
      signal,
    });
    if (!response.ok) throw await errorOf(response);
    for await (const data of events(response.body)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(0, chunk.error.message);
      yield chunk;
    }
    throw new ApiError(0, "the answer was cut off");
  }
}

// The data of each server-sent event of a body.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      const lines = rest.split(/\r?\n/);
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) yield line.slice(5).trim();
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
