// Who was seen, when, and what they look like.

import { colourOfPerson } from "./masks.js";

const GAP_S = 1.5;      // shorter absences do not break a stretch of the timeline
const MAX_PEOPLE = 200; // rows; the first ones stay
const THUMB = { width: 96, height: 128 };

export class People {
  /** `onSeek` is told the time of a timeline that was clicked. */
  constructor(list, empty, onSeek) {
    Object.assign(this, { list, empty, onSeek });
    this.clear();
  }

  clear() {
    this.rows = new Map();
    this.list.replaceChildren();
    this.empty.hidden = false;
    this.seekable = false;
    this.span = [0, 1];
  }

  /** Note a frame's people. */
  note(frame) {
    for (const person of frame.people) {
      if (person.identity === null) continue;
      const row = this.rows.get(person.identity) || this.add(person.identity);
      if (!row) continue;
      const last = row.stretches[row.stretches.length - 1];
      if (last && frame.time_s - last[1] <= GAP_S && frame.time_s >= last[0]) last[1] = Math.max(last[1], frame.time_s);
      else row.stretches.push([frame.time_s, frame.time_s]);
      row.frames += 1;
    }
  }

  add(identity) {
    if (this.rows.size >= MAX_PEOPLE) return null;
    const item = document.createElement("li");
    item.className = "person";
    const thumb = Object.assign(document.createElement("canvas"), THUMB);
    thumb.setAttribute("role", "img");
    thumb.setAttribute("aria-label", `Person ${identity}`);
    thumb.style.borderColor = colourOfPerson(identity);
    const words = document.createElement("div");
    const name = Object.assign(document.createElement("span"), { className: "name", textContent: `Person ${identity}` });
    const seen = Object.assign(document.createElement("span"), { className: "seen" });
    words.append(name, seen);
    const timeline = Object.assign(document.createElement("canvas"), { className: "timeline", width: 800, height: 20 });
    timeline.setAttribute("role", "img");
    item.append(thumb, words, timeline);
    this.list.append(item);
    this.empty.hidden = true;
    const row = { identity, item, thumb, seen, timeline, stretches: [], frames: 0, thumbArea: 0 };
    timeline.addEventListener("click", (event) => this.seek(event, timeline));
    timeline.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && this.seekable) this.onSeek(row.stretches[0][0]);
    });
    this.rows.set(identity, row);
    return row;
  }

  seek(event, timeline) {
    if (!this.seekable) return;
    const share = event.offsetX / timeline.clientWidth;
    this.onSeek(this.span[0] + share * (this.span[1] - this.span[0]));
  }

  /** Take pictures of the people of a frame from the source that shows it. */
  picture(frame, source, width, height) {
    for (const person of frame.people) {
      const row = this.rows.get(person.identity);
      if (!row) continue;
      const [left, top, right, bottom] = person.box;
      const area = (right - left) * (bottom - top) * person.score;
      if (area <= row.thumbArea * 1.2) continue;
      row.thumbArea = area;
      drawThumb(row.thumb, source, [Math.max(0, left), Math.max(0, top), Math.min(width, right), Math.min(height, bottom)]);
    }
  }

  /** Draw all timelines over a span of seconds. */
  draw(from, to, seekable) {
    this.span = [from, Math.max(to, from + 0.001)];
    this.seekable = seekable;
    for (const row of this.rows.values()) this.drawRow(row);
  }

  drawRow({ identity, seen, timeline, stretches, frames }) {
    const context = timeline.getContext("2d");
    const [from, to] = this.span;
    const scale = timeline.width / (to - from);
    context.clearRect(0, 0, timeline.width, timeline.height);
    context.fillStyle = colourOfPerson(identity);
    for (const [begin, end] of stretches) {
      context.fillRect((begin - from) * scale, 0, Math.max(2, (end - begin) * scale), timeline.height);
    }
    const total = stretches.reduce((sum, [begin, end]) => sum + end - begin, 0);
    seen.textContent = `${frames} ${frames === 1 ? "frame" : "frames"}, ${total.toFixed(1)} s`;
    const words = stretches.slice(0, 20).map(([begin, end]) => `${begin.toFixed(1)} to ${end.toFixed(1)} s`);
    timeline.setAttribute("aria-label", `Person ${identity} is seen from ${words.join(", ")}`);
    timeline.classList.toggle("seekable", this.seekable);
    if (this.seekable) timeline.tabIndex = 0;
    else timeline.removeAttribute("tabindex");
  }
}

function drawThumb(canvas, source, [left, top, right, bottom]) {
  const scale = Math.min(canvas.width / (right - left), canvas.height / (bottom - top));
  const width = (right - left) * scale;
  const height = (bottom - top) * scale;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(
    source, left, top, right - left, bottom - top, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height,
  );
}
