// One stream of changes for a page; polling where streams do not get through; nothing while the tab is hidden.

const FAILURES = 3;
const POLL_MS = 3000;
const STREAM_AGAIN_AFTER = 40; // polls

export class Live {
  /** `onChange(change)` gets what changed; `onState(name)` gets live, waiting, polling, closed or over. */
  constructor({ streamUrl, nowUrl, cursor, onChange, onState }) {
    Object.assign(this, { streamUrl, nowUrl, cursor, onChange, onState });
    this.failures = 0;
    this.polls = 0;
    this.ended = false;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.pause() : this.start()));
    addEventListener("pagehide", () => this.pause());
    addEventListener("pageshow", () => this.start());
  }

  start() {
    if (this.ended || document.hidden || this.source || this.timer) return;
    if (this.failures >= FAILURES || !window.EventSource) return this.poll();
    const source = new EventSource(`${this.streamUrl}?after=${this.cursor}`);
    this.source = source;
    source.addEventListener("tick", (event) => {
      this.failures = 0;
      if (event.lastEventId) this.cursor = event.lastEventId;
      this.onState("live");
      this.take(JSON.parse(event.data));
    });
    source.addEventListener("resync", () => this.onChange({ resync: true, reload: true }));
    source.addEventListener("closed", () => this.end("closed"));
    source.addEventListener("error", () => {
      this.failures += 1;
      this.onState("waiting");
      if (this.failures < FAILURES && source.readyState !== EventSource.CLOSED) return;
      this.pause();
      if (this.failures < FAILURES) this.timer = setTimeout(() => { this.timer = null; this.start(); }, 2000);
      else this.start();
    });
  }

  pause() {
    this.source?.close();
    clearTimeout(this.timer);
    this.source = this.timer = null;
  }

  end(state) {
    this.ended = true;
    this.pause();
    this.onState(state);
  }

  take(change) {
    this.onChange(change);
    if (change.over) this.end("over");
  }

  async poll() {
    this.polls += 1;
    if (this.polls % STREAM_AGAIN_AFTER === 0) this.failures = 0;
    try {
      const answer = await fetch(`${this.nowUrl}?after=${this.cursor}`, { headers: { Accept: "application/json" } });
      if (answer.redirected || answer.status === 403 || answer.status === 404) return this.end("closed");
      if (!answer.ok) throw new Error(answer.status);
      const change = await answer.json();
      this.onState("polling");
      this.cursor = change.cursor;
      if (change.points_stored !== this.stored) change.resync = true;
      this.stored = change.points_stored;
      this.take(change);
    } catch {
      this.onState("waiting");
    }
    if (this.ended || document.hidden) return;
    this.timer = setTimeout(() => { this.timer = null; this.start(); }, POLL_MS);
  }
}
