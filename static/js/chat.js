// The chat page: sends the conversation, shows what comes back line by line. Whatever a model or a tool writes becomes
// text nodes, never markup.

const root = document.querySelector("[data-chat]");
if (root) start(root);

function start(root) {
  const find = (name) => root.querySelector(`[data-chat-${name}]`);
  const [log, form, settings, state, sendButton, stopButton] = ["log", "form", "settings", "state", "send", "stop"].map(find);
  const field = form.querySelector("textarea");
  let messages = [];
  let conversation = newName();
  let running = null;

  const part = (name) => root.querySelector(`template[data-chat-part="${name}"]`).content.firstElementChild.cloneNode(true);
  const say = (words) => { state.textContent = words; };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!running && field.value.trim()) ask(field.value.trim());
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && running) running.abort();
  });
  stopButton.addEventListener("click", () => running?.abort());
  find("new").addEventListener("click", () => {
    running?.abort();
    messages = [];
    conversation = newName();
    for (const child of [...log.children]) if (!child.matches("[data-chat-hint]")) child.remove();
    find("hint").hidden = false;
    say("");
    field.focus();
  });
  settings.addEventListener("submit", (event) => event.preventDefault());
  // A policy is tried with the tools that it was trained with, unless somebody chooses others.
  settings.elements.served.addEventListener("change", (event) => {
    settings.elements.toolset.value = event.target.selectedOptions[0].dataset.toolset;
  });

  async function ask(text) {
    const before = messages.length;
    const asked = { role: "user", content: text };
    find("hint").hidden = true;
    const mine = openTurn("You", "is-person");
    write(mine, text);
    field.value = "";
    messages.push(asked);
    const shown = new Shown(openTurn);
    const control = new AbortController();
    running = control;
    busy(true);
    try {
      await read(await send(control.signal), shown);
    } catch (error) {
      if (control.signal.aborted) shown.end("stopped");
      else shown.fault(error instanceof Refusal ? error.message : "The platform cannot be reached; look at your connection and ask again.");
    }
    shown.close();
    // A question that got no word in return can be asked again as it was.
    if (shown.failed && messages.length === before + 1) {
      messages.pop();
      field.value = text;
    } else if (messages.at(-1)?.role === "user") {
      messages.push({ role: "assistant", content: shown.said || "(stopped)" });
    } else repair();
    if (running === control) running = null;
    busy(false);
    field.focus();
  }

  // A conversation that was broken off between a call and its answer would be refused.
  function repair() {
    const last = messages.findLastIndex((one) => one.role === "assistant");
    const answered = messages.slice(last + 1).map((one) => one.tool_call_id);
    for (const call of messages[last]?.tool_calls ?? []) {
      if (!answered.includes(call.id)) messages.push({ role: "tool", tool_call_id: call.id, content: "Error: not made." });
    }
  }

  function send(signal) {
    const values = new FormData(settings);
    const temperature = Number.parseFloat(values.get("temperature"));
    return fetch(root.dataset.url, {
      method: "POST",
      signal,
      headers: { "Content-Type": "application/json", ...JSON.parse(document.body.getAttribute("hx-headers")) },
      body: JSON.stringify({
        served: Number(values.get("served")),
        toolset: values.get("toolset"),
        conversation,
        temperature: Number.isFinite(temperature) ? temperature : 0.7,
        messages,
      }),
    });
  }

  async function read(reply, shown) {
    if (!reply.ok) {
      const told = await reply.json().catch(() => ({}));
      throw new Refusal(told.message ?? (reply.status === 404 ? "This checkpoint is no longer served; load the page again." : "The platform refused; load the page again."));
    }
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line) take(JSON.parse(line), shown);
    }
    if (!shown.over) shown.fault("The answer broke off; ask again.");
  }

  function take(event, shown) {
    const bottom = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    if (event.type === "message") messages.push(event.message);
    else if (event.type === "error") shown.fault(event.message);
    else shown[event.type]?.(event);
    if (bottom) log.scrollTop = log.scrollHeight;
  }

  function openTurn(who, kind) {
    const turn = part("turn");
    turn.classList.add(kind);
    turn.querySelector(".chat-who").textContent = who;
    log.append(turn);
    log.scrollTop = log.scrollHeight;
    return turn;
  }

  function busy(now) {
    sendButton.disabled = now;
    stopButton.hidden = !now;
    log.setAttribute("aria-busy", String(now));
    say(now ? "Writing …" : "");
  }

  // What one answer has put on the page so far.
  class Shown {
    constructor(open) {
      this.article = open(settings.elements.served.selectedOptions[0].dataset.name, "is-model");
      this.tools = settings.elements.toolset.value;
      this.calls = new Map();
      this.said = "";
      this.tokens = 0;
      this.over = this.failed = false;
      this.turn();
    }
    turn() { this.block = null; this.written = ""; }
    text({ text }) {
      this.said += text;
      this.written += text;
      this.block ??= this.article.appendChild(document.createElement("div"));
      draw(this.block, this.written);
    }
    call({ id, name, arguments: given }) {
      const card = part("call");
      card.querySelector(".chat-tool").textContent = name;
      card.querySelector(".chat-arguments").textContent = pretty(given);
      this.article.append(card);
      this.calls.set(id, card);
      say(`Calling ${name} …`);
    }
    result({ id, status, ms, output, cut }) {
      const card = this.calls.get(id);
      if (!card) return;
      mark(card, status);
      if (ms) card.querySelector(".chat-ms").textContent = `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
      card.querySelector(".chat-said").hidden = false;
      card.querySelector(".chat-output").textContent = (output || "(nothing)") + (cut ? `\n… ${cut.toLocaleString("en")} more characters` : "");
      if (status === "ok") card.open = false;
      say("Writing …");
    }
    usage({ completion_tokens: tokens }) { this.tokens += tokens ?? 0; }
    end(event) {
      const reason = event.reason ?? event;
      this.over = true;
      const words = REASONS[reason];
      if (words) this.note(words);
      else if (!this.said && !this.calls.size) this.note("The model wrote nothing.");
      else if (this.written.includes("<tool_call>")) this.note(this.tools ? "The model wrote a call that cannot be read, so it was not made." : "The model wrote a tool call. Choose its tools above, then ask again.");
    }
    note(words) { this.article.append(fill(part("note"), words)); }
    fault(words) {
      this.over = this.failed = true;
      this.article.append(fill(part("fault"), words));
    }
    close() {
      for (const card of this.calls.values()) if (card.querySelector(".chat-said").hidden) mark(card, "not_made");
      if (this.tokens) this.article.querySelector(".chat-who").append(Object.assign(document.createElement("small"), { textContent: ` ${this.tokens.toLocaleString("en")} tokens` }));
    }
  }

  function draw(block, written) {
    const found = /^\s*<think>([\s\S]*?)(?:<\/think>|$)/.exec(written);
    const rest = found ? written.slice(found[0].length) : written;
    if (found && found[1].trim()) {
      let thoughts = block.querySelector(".chat-thoughts");
      if (!thoughts) block.prepend(thoughts = part("thoughts"));
      thoughts.querySelector(".chat-text").textContent = found[1].trim();
    }
    if (rest.trim()) write(block, rest.trim());
  }

  function write(place, text) {
    let paragraph = [...place.children].find((one) => one.matches("p.chat-text"));
    if (!paragraph) {
      paragraph = document.createElement("p");
      paragraph.className = "chat-text";
      place.append(paragraph);
    }
    paragraph.textContent = text;
  }

  function mark(card, status) {
    const chip = root.querySelector(`template[data-chat-status="${CSS.escape(status)}"]`) ?? root.querySelector('template[data-chat-status="error"]');
    card.querySelector(".chat-status").replaceChildren(chip.content.cloneNode(true));
  }
}

class Refusal extends Error {}

const REASONS = {
  stopped: "Stopped.",
  length: "The answer was cut off: the context or the longest answer is reached.",
  turn_limit: "The toolset allows no further turn: the last calls were not made.",
  failed_calls: "Too many calls failed; the toolset ends the answer here.",
  deadline: "The toolset's time for one answer is over.",
};

function fill(note, words) {
  note.querySelector("div").textContent = words;
  return note;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 1);
  } catch {
    return text;
  }
}

function newName() {
  return [...crypto.getRandomValues(new Uint8Array(8))].map((one) => one.toString(16).padStart(2, "0")).join("");
}
