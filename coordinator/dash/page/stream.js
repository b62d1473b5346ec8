// Reads server-sent events with a token, which EventSource cannot send. It connects again when a stream breaks or falls
// silent, as when another coordinator begins to lead, and goes on after the event that came last.

const silence = 30_000, pause = 1_000; // milliseconds

export class Stream {
  // on has a function for each kind of event, and: open(), lost(why), refused(why).
  constructor(path, token, on) {
    this.path = path; this.token = token; this.on = on; this.last = ""; this.ended = new AbortController();
    this.run();
  }

  close() { this.ended.abort(); }

  async run() {
    while (!this.ended.signal.aborted) {
      let why = "the stream has ended";
      const attempt = new AbortController();
      const end = () => attempt.abort();
      this.ended.signal.addEventListener("abort", end);
      let watchdog = setTimeout(end, silence);
      const alive = () => { clearTimeout(watchdog); watchdog = setTimeout(end, silence); };
      try {
        const headers = bearer(this.token);
        if (this.last) headers["Last-Event-ID"] = this.last;
        const answer = await fetch(this.path, { headers, signal: attempt.signal, cache: "no-store" });
        if (answer.status === 401 || answer.status === 403) {
          this.on.refused(await said(answer));
          return;
        }
        if (!answer.ok) throw new Error(await said(answer));
        this.on.open();
        await this.read(answer.body.getReader(), alive);
      } catch (error) {
        why = attempt.signal.aborted ? "it is silent" : error.message;
      } finally {
        clearTimeout(watchdog);
        this.ended.signal.removeEventListener("abort", end);
        attempt.abort();
      }
      if (this.ended.signal.aborted) return;
      this.on.lost(why);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  async read(reader, alive) {
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      const messages = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = messages.pop();
      for (const message of messages) this.take(message);
    }
  }

  take(message) {
    let kind = "", id = "", data = "";
    for (const line of message.split("\n")) {
      if (line.startsWith("event: ")) kind = line.slice(7);
      else if (line.startsWith("id: ")) id = line.slice(4);
      else if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (!data || !this.on[kind] || this.ended.signal.aborted) return;
    this.on[kind](JSON.parse(data));
    if (id) this.last = id;
  }
}

// bearer is the header that shows a token; without one there is none.
export const bearer = (token) => (token ? { Authorization: "Bearer " + token } : {});

// said is what an answer says of its failure.
export async function said(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).error;
  } catch {
    return `${answer.status} ${answer.statusText}`;
  }
}
