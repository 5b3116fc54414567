// The results that are kept, and how fast they come.

const MAX_FRAMES = 20000; // of a live stream; older ones make room

export class Results {
  constructor() { this.clear(); }

  clear() { this.frames = []; this.count = 0; }

  add(frame) {
    this.count += 1;
    if (this.frames.length >= MAX_FRAMES && this.count % 1000 === 0) this.frames.splice(0, 1000);
    this.frames.push(frame);
  }

  /** The frame on show at a time: the last one that does not lie after it, by more than rounding. */
  near(time) {
    let low = 0;
    let high = this.frames.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.frames[middle].time_s <= time + 0.002) low = middle + 1;
      else high = middle;
    }
    const found = this.frames[low - 1];
    const fresh = found && (low < this.frames.length || time - found.time_s < 0.25);
    return fresh ? found : null;
  }

  span() {
    return this.frames.length ? [this.frames[0].time_s, this.frames[this.frames.length - 1].time_s] : [0, 1];
  }

  blob() { return new Blob(this.frames.map((frame) => `${JSON.stringify(frame)}\n`), { type: "application/x-ndjson" }); }
}

export class Rate {
  constructor() { this.clear(); }

  clear() { this.ticks = []; }

  tick() {
    const now = performance.now();
    this.ticks.push(now);
    while (this.ticks[0] < now - 2000) this.ticks.shift();
  }

  perSecond() {
    if (this.ticks.length < 2) return 0;
    return (this.ticks.length - 1) * 1000 / Math.max(1, this.ticks[this.ticks.length - 1] - this.ticks[0]);
  }
}
