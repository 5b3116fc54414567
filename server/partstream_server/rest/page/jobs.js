// Long videos: sent as a job, followed while the server parses it, listed until they are deleted.

const NAMES = "partstream-job-names"; // the server is not told what files are called
const POLL_MS = 1000;

/** A long file: told as a Clip is, with parsing(job) in between. */
export class Job {
  constructor(file, key, told) {
    Object.assign(this, { file, key, told });
    this.stopped = false;
  }

  start() {
    const request = this.request = new XMLHttpRequest();
    request.open("POST", "v1/jobs?outputs=ndjson,mp4");
    if (this.key) request.setRequestHeader("X-API-Key", this.key);
    request.upload.onprogress = (event) => this.told.sending(event.loaded / event.total);
    request.onload = () => {
      if (request.status !== 202) { this.told.failed(...explain(request.responseText, request.status)); return; }
      const job = JSON.parse(request.responseText);
      remember(job.id, this.file.name, Boolean(this.key));
      this.follow(job.id);
    };
    request.onerror = () => this.told.failed("The server cannot be reached, or broke off.", "");
    request.send(this.file);
  }

  async follow(id) {
    try {
      for (;;) {
        const job = await ask(`v1/jobs/${id}`, this.key);
        if (this.stopped) return;
        if (job.problem) { this.told.failed(`${job.problem.title}: ${job.problem.detail}.`, job.problem.code); return; }
        if (job.state === "done") break;
        this.told.parsing(job);
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
      const answer = await request(`v1/jobs/${id}/results/ndjson`, this.key);
      for (const line of (await answer.text()).split("\n")) if (line) this.told.frame(JSON.parse(line));
      this.told.done();
    } catch (problem) {
      if (!this.stopped) this.told.failed(problem.message, problem.code || "");
    }
  }

  /** Look away: the server goes on, and the list shows the job. */
  stop() {
    this.stopped = true;
    this.request.abort();
  }
}

/** The list of this key's jobs; `told` has failed(text, code) and save(blob, name). */
export class JobList {
  constructor(section, list, key, told) {
    Object.assign(this, { section, list, key, told });
    this.timer = null;
  }

  /** List the jobs, if this browser has sent any and the key that they need is there. */
  async refresh() {
    clearTimeout(this.timer);
    const sent = Object.values(names());
    if (sent.length === 0) return;
    if (!this.key() && sent.every((one) => one.keyed)) { this.told.failed("Long videos were sent with an API key: give it to see them.", "key_missing"); return; }
    const page = await ask("v1/jobs?limit=20", this.key()).catch(() => ({ jobs: [] }));
    this.section.hidden = page.jobs.length === 0;
    this.list.replaceChildren(...page.jobs.map((job) => this.row(job)));
    if (page.jobs.some((job) => !over(job))) this.timer = setTimeout(() => this.refresh(), 2 * POLL_MS);
  }

  row(job) {
    const item = document.createElement("li");
    const name = nameOf(job.id);
    const text = Object.assign(document.createElement("span"), { textContent: `${name}: ${inWords(job)}` });
    const buttons = Object.assign(document.createElement("span"), { className: "buttons" });
    if (job.results.ndjson) buttons.append(this.button("Results (NDJSON)", name, () => this.fetch(job.results.ndjson, `${name}.ndjson`)));
    if (job.results.mp4) buttons.append(this.button("Video with parts (MP4)", name, () => this.fetch(job.results.mp4, `${name}.parts.mp4`)));
    buttons.append(this.button(over(job) ? "Delete" : "Cancel", name, () => this.remove(job.id)));
    item.append(text, buttons);
    return item;
  }

  button(label, name, act) {
    const made = Object.assign(document.createElement("button"), { type: "button", className: "small", textContent: label });
    made.setAttribute("aria-label", `${label} of ${name}`);
    made.addEventListener("click", async () => {
      made.disabled = true;
      await act().catch((problem) => this.told.failed(problem.message, problem.code || ""));
      made.disabled = false;
    });
    return made;
  }

  async fetch(path, name) {
    const answer = await request(path.slice(1), this.key());
    this.told.save(await answer.blob(), name);
  }

  async remove(id) {
    await request(`v1/jobs/${id}`, this.key(), "DELETE");
    forget(id);
    this.section.hidden = true;
    await this.refresh();
  }
}

/** A job's state and progress in words. */
export function inWords(job) {
  if (job.problem) return `failed: ${job.problem.detail}`;
  const progress = job.progress;
  if (job.state !== "parsing") return job.state === "done" ? `done, ${progress.num_results} frames` : job.state;
  const of = progress.expected_frames ? ` of ${progress.expected_frames}` : "";
  const left = progress.left_s === null ? "" : `, about ${Math.ceil(progress.left_s / 60)} min left`;
  return `parsing, ${progress.num_frames}${of} frames${left}`;
}

function over(job) { return job.state === "done" || job.state === "failed"; }

async function request(path, key, method = "GET") {
  const answer = await fetch(path, { method, headers: key ? { "X-API-Key": key } : {} });
  if (answer.ok) return answer;
  const [text, code] = explain(await answer.text(), answer.status);
  throw Object.assign(new Error(text), { code });
}

async function ask(path, key) { return (await request(path, key)).json(); }

function names() {
  try { return JSON.parse(localStorage.getItem(NAMES)) || {}; } catch { return {}; }
}

function remember(id, name, keyed) {
  try { localStorage.setItem(NAMES, JSON.stringify({ ...names(), [id]: { name, keyed } })); } catch { /* nothing is listed */ }
}

function forget(id) {
  const { [id]: _, ...others } = names();
  try { localStorage.setItem(NAMES, JSON.stringify(others)); } catch { /* it stays */ }
}

function nameOf(id) { return names()[id]?.name || `job ${id}`; }

/** A problem document in words, and its code. */
export function explain(text, status) {
  try {
    const problem = JSON.parse(text);
    return [`${problem.title}: ${problem.detail}.`, problem.code];
  } catch {
    return [`The server answered ${status}.`, ""];
  }
}
