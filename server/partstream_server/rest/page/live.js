// The webcam: frames up and answers down one WebSocket.

const LONGER_SIDE = 640;
const QUALITY = 0.8;
const MAX_AGE_MS = 2000;
const RECONNECT_MS = [500, 1000, 2000, 4000];
const STEADY_MS = 10000;

export class Live {
  /** `told` has opened(message), answered(answer, picture, elapsedMs), failed(text), waiting(text), ended(). */
  constructor(video, key, told) {
    Object.assign(this, { video, key, told });
    this.token = "";
    this.index = 0;
    this.attempts = 0;
    this.stopped = false;
    this.waiting = new Map();
    this.canvas = document.createElement("canvas");
  }

  async start() {
    this.media = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" }, audio: false });
    if (this.stopped) { this.release(); return; }
    this.video.srcObject = this.media;
    await this.video.play();
    const scale = Math.min(1, LONGER_SIDE / Math.max(this.video.videoWidth, this.video.videoHeight));
    this.canvas.width = Math.round(this.video.videoWidth * scale);
    this.canvas.height = Math.round(this.video.videoHeight * scale);
    this.began = performance.now();
    this.connect();
  }

  connect() {
    const address = new URL("v1/stream", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    this.credits = 0;
    this.forget();
    const socket = this.socket = new WebSocket(address);
    this.problem = null;
    socket.onopen = () => {
      const config = { policy: "latest", max_age_ms: MAX_AGE_MS, masks: "rle" };
      if (this.token) config.resume_token = this.token;
      if (this.key) config.api_key = this.key;
      socket.send(JSON.stringify(config));
    };
    socket.onmessage = (event) => this.receive(JSON.parse(event.data));
    socket.onclose = () => { if (socket === this.socket) this.closed(); };
  }

  receive(message) {
    switch (message.type) {
      case "opened":
        this.credits = message.credits;
        this.openedAt = performance.now();
        this.told.opened(message);
        this.next();
        break;
      case "answer": {
        const sent = this.waiting.get(message.index);
        this.waiting.delete(message.index);
        this.token = message.resume_token || this.token;
        if (sent) this.told.answered(message, sent.picture, performance.now() - sent.at);
        if (sent) sent.picture.close();
        this.next();
        break;
      }
      case "going_away":
        this.token = message.resume_token || this.token;
        this.credits = 0;
        this.socket.send(JSON.stringify({ type: "end" }));
        break;
      case "error":
        this.problem = message.problem;
        break;
    }
  }

  /** Send the next picture of the camera as soon as there is one and a credit for it. */
  next() {
    if (this.stopped || this.scheduled || this.waiting.size >= this.credits) return;
    this.scheduled = true;
    const go = () => { this.scheduled = false; this.send(); };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(go);
    else setTimeout(go, 33);
  }

  async send() {
    const socket = this.socket;
    if (this.stopped || socket.readyState !== WebSocket.OPEN || this.waiting.size >= this.credits) return;
    const at = performance.now();
    const index = this.index;
    this.index += 1;
    this.canvas.getContext("2d").drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    const [picture, jpeg] = await Promise.all([
      createImageBitmap(this.canvas),
      new Promise((done) => { this.canvas.toBlob(done, "image/jpeg", QUALITY); }),
    ]);
    if (socket !== this.socket || socket.readyState !== WebSocket.OPEN || !this.credits || !jpeg) {
      picture.close();
      return;
    }
    this.waiting.set(index, { at, picture });
    socket.send(JSON.stringify({ type: "frame", index, time_s: (at - this.began) / 1000, age_ms: performance.now() - at }));
    socket.send(jpeg);
    this.next();
  }

  closed() {
    if (this.stopped) return;
    const code = this.problem && this.problem.code;
    if (code && /token/.test(code)) this.token = "";
    else if (code && !["busy", "going_away", "not_ready", "engine_failed"].includes(code)) {
      this.told.failed(`${this.problem.title}: ${this.problem.detail}.`, code);
      this.stop();
      return;
    }
    if (this.openedAt && performance.now() - this.openedAt > STEADY_MS) this.attempts = 0;
    this.openedAt = 0;
    const wait = RECONNECT_MS[Math.min(this.attempts, RECONNECT_MS.length - 1)];
    this.attempts += 1;
    this.told.waiting(`${this.problem ? this.problem.title : "The connection broke off"}; trying again`);
    this.timer = setTimeout(() => this.connect(), wait);
  }

  forget() {
    for (const { picture } of this.waiting.values()) picture.close();
    this.waiting.clear();
  }

  release() {
    if (this.media) for (const track of this.media.getTracks()) track.stop();
    this.video.srcObject = null;
  }

  stop() {
    if (this.stopped) return;
    this.stopped = true;
    clearTimeout(this.timer);
    if (this.socket) this.socket.close(1000);
    this.forget();
    this.release();
    this.told.ended();
  }
}
