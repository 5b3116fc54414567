// Wires the page together: what is chosen, what is shown, and what is told.

import { Clip, overlayVideo } from "./clip.js";
import { Job, JobList, inWords } from "./jobs.js";
import { Live } from "./live.js";
import { PARTS, colourOfPart } from "./masks.js";
import { People } from "./people.js";
import { Rate, Results } from "./results.js";
import { View } from "./view.js";

const at = (id) => document.getElementById(id);
const [form, drop, file, send, webcam, stop, status_, bar, error, result, video] =
  ["form", "drop", "file", "send", "webcam", "stop", "status", "bar", "error", "result", "video"].map(at);
const view = new View(at("overlay"));
const people = new People(at("people"), at("nobody"), (time) => { video.currentTime = time; });
const results = new Results();
const rate = new Rate();
let running = null;     // a Clip or a Live
let chosen = null;      // the file of the last clip
let still = null;       // the picture, where the file is one
let address = null;     // of the local video
let skipped = 0;
const LONG_S = 60; // longer videos are parsed as jobs, which outlive this page
let lastDrawn = 0;

function say(text, progress) {
  status_.textContent = text;
  bar.hidden = progress === undefined;
  if (progress === null) bar.removeAttribute("value");
  else if (progress !== undefined) bar.value = progress;
}

function fail(text, code) {
  error.textContent = text;
  if (code === "key_missing" || code === "key_wrong") { at("keyfield").hidden = false; at("key").focus(); }
}

function begin(what) {
  if (running) running.stop();
  running = what;
  error.textContent = "";
  results.clear();
  rate.clear();
  people.clear();
  view.paint(null);
  skipped = lastDrawn = 0;
  for (const [id, text] of [["rate", "–"], ["latency", "–"], ["frames", "0"], ["skipped", "0"], ["now", "0"]]) at(id).textContent = text;
  result.hidden = false;
  send.hidden = webcam.hidden = true;
  stop.hidden = false;
}

function end(text) {
  running = null;
  send.hidden = webcam.hidden = false;
  stop.hidden = true;
  say(text);
  drawTimelines(true);
}

function figures(frame, latencyMs) {
  at("frames").textContent = results.count;
  at("rate").textContent = rate.perSecond().toFixed(1);
  at("skipped").textContent = skipped;
  if (frame) at("now").textContent = frame.people.length;
  if (latencyMs !== undefined) at("latency").textContent = `${Math.round(latencyMs)} ms`;
}

function drawTimelines(now) {
  if (!now && performance.now() - lastDrawn < 500) return;
  lastDrawn = performance.now();
  const clip = !at("player").hidden;
  const [from, to] = results.span();
  people.draw(clip ? 0 : from, clip && Number.isFinite(video.duration) ? video.duration : to, clip);
}

// ---- a file

async function parseFile(one) {
  chosen = one;
  const told = {
    sending: (share) => say(share === null ? `Parsing ${one.name}` : `Sending ${one.name}`, share),
    frame: (frame) => {
      results.add(frame);
      rate.tick();
      people.note(frame);
      figures(undefined);
      drawTimelines(false);
      if (results.count === 1 || video.paused) paintNow();
    },
    failed: (text, code) => { end(""); fail(text, code); },
    done: () => { end(`Done: ${one.name}, ${results.count} frames.`); paintNow(); jobs.refresh(); },
    parsing: (job) => {
      if (!told.listed) { told.listed = true; jobs.refresh(); }
      say(`${one.name}: ${inWords(job)}. The server goes on if you leave this page.`, job.progress.share);
    },
  };
  const waiting = { stop() {} };
  begin(waiting);
  await show(one);
  const long = (await duration()) > LONG_S;
  if (running !== waiting) return;
  const Kind = long ? Job : Clip;
  running = new Kind(one, at("key").value, told);
  running.start();
}

/** Seconds of the video that is shown; 0 of a picture, and where this browser cannot tell. */
function duration() {
  if (still || !video.getAttribute("src")) return 0;
  if (video.readyState >= 1) return video.duration;
  return new Promise((resolve) => {
    video.addEventListener("loadedmetadata", () => resolve(video.duration), { once: true });
    video.addEventListener("error", () => resolve(0), { once: true });
  });
}

const jobs = new JobList(at("jobs"), at("jobList"), () => at("key").value, { failed: fail, save });

async function show(one) {
  if (address) URL.revokeObjectURL(address);
  address = URL.createObjectURL(one);
  still = null;
  at("saveVideo").hidden = false;
  const isImage = one.type.startsWith("image/") && one.type !== "image/gif";
  at("player").hidden = isImage;
  at("stage").querySelector(".screen").classList.toggle("own", isImage);
  if (isImage) {
    video.removeAttribute("src");
    still = await createImageBitmap(one).catch(() => null);
    if (still) view.resize(still.width, still.height);
    return;
  }
  video.srcObject = null;
  video.src = address;
}

function paintNow() {
  if (still) { draw(results.frames[0], still, still.width, still.height, still); return; }
  if (video.videoWidth) draw(results.near(video.currentTime), video, video.videoWidth, video.videoHeight, null);
}

/** Show one frame: `source` is where its pixels can be had, `below` is drawn under the masks. */
function draw(frame, source, width, height, below) {
  view.resize(width, height);
  view.paint(frame, below);
  if (!frame) return;
  if (frame.people.some((person) => person.joints)) at("jointsField").hidden = false;
  people.picture(frame, source, width, height);
  at("now").textContent = frame.people.length;
}

video.addEventListener("loadedmetadata", () => {
  if (video.srcObject) return;
  view.resize(video.videoWidth, video.videoHeight);
  at("seek").max = video.duration;
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) video.play().catch(() => {});
});
video.addEventListener("error", () => {
  if (video.getAttribute("src")) say(`${status_.textContent} – this browser cannot play the file, but its results and its video with parts can be saved`, null);
});
video.addEventListener("seeked", paintNow);
video.addEventListener("play", () => { at("play").textContent = "Pause"; at("play").setAttribute("aria-pressed", "true"); });
video.addEventListener("pause", () => { at("play").textContent = "Play"; at("play").setAttribute("aria-pressed", "false"); });
at("play").addEventListener("click", () => { if (video.paused) video.play().catch(() => {}); else video.pause(); });
at("seek").addEventListener("input", () => { video.currentTime = Number(at("seek").value); });

/** Follow the playing video frame by frame, never faster than results come. */
function follow(_now, meta) {
  if (!video.srcObject) {
    const time = meta ? meta.mediaTime : video.currentTime;
    at("seek").value = time;
    at("clock").value = `${time.toFixed(1)} s`;
    draw(results.near(time), video, video.videoWidth, video.videoHeight, null);
  }
  video.requestVideoFrameCallback(follow);
}
if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(follow);
else video.addEventListener("timeupdate", paintNow);
video.addEventListener("ended", () => { if (running && !video.srcObject) video.play().catch(() => {}); });

// ---- the webcam

function useWebcam() {
  const live = new Live(video, at("key").value, {
    opened: (message) => say(`Live: ${message.model.bundle} on ${message.model.provider}${message.resumed ? ", identities go on" : ""}`),
    answered: (answer, picture, elapsed) => {
      if (answer.skipped) skipped += 1;
      if (answer.failure) fail(answer.failure.message, answer.failure.code);
      if (answer.result) {
        results.add(answer.result);
        rate.tick();
        people.note(answer.result);
        draw(answer.result, picture, picture.width, picture.height, picture);
        drawTimelines(false);
      }
      figures(answer.result, answer.result ? elapsed : undefined);
    },
    failed: fail,
    waiting: (text) => say(text, null),
    ended: () => end("Stopped."),
  });
  begin(live);
  at("player").hidden = at("saveVideo").hidden = true;
  at("stage").querySelector(".screen").classList.add("own");
  video.removeAttribute("src");
  say("Asking for the camera", null);
  live.start().catch((problem) => { live.stop(); fail(`The camera cannot be used: ${problem.message}`); });
}

// ---- what is shown

for (const part of PARTS) {
  const item = document.createElement("li");
  const label = document.createElement("label");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true, name: part });
  const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
  swatch.style.background = `rgb(${colourOfPart(part).join(" ")})`;
  box.addEventListener("change", () => { view.hidden[box.checked ? "delete" : "add"](part); paintNow(); });
  label.append(box, swatch, part);
  item.append(label);
  at("parts").append(item);
}
for (const [id, on] of [["all", true], ["none", false]]) {
  at(id).addEventListener("click", () => {
    for (const box of at("parts").querySelectorAll("input")) {
      if (box.checked !== on) box.click();
    }
  });
}
at("opacity").addEventListener("input", () => { view.opacity = at("opacity").value / 100; paintNow(); });
at("joints").addEventListener("change", () => { view.skeletons = at("joints").checked; paintNow(); });
at("boxes").addEventListener("change", () => { view.boxes = at("boxes").checked; paintNow(); });

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
at("save").addEventListener("click", () => save(results.blob(), "partstream.ndjson"));
at("saveVideo").addEventListener("click", () => {
  say(`Making the video of ${chosen.name}`, null);
  at("saveVideo").disabled = true;
  const over = (text) => { at("saveVideo").disabled = false; say(text); };
  overlayVideo(chosen, at("key").value, view.skeletons, {
    done: (blob) => { over("The video is saved."); save(blob, "partstream.mp4"); },
    failed: (text, code) => { over(""); fail(text, code); },
  });
});

// ---- what is chosen

form.addEventListener("submit", (event) => { event.preventDefault(); if (file.files.length) parseFile(file.files[0]); });
webcam.addEventListener("click", useWebcam);
stop.addEventListener("click", () => {
  const one = running;
  if (one) one.stop();
  if (running) end("Stopped.");
  send.focus();
});
for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  if (!event.dataTransfer.files.length) return;
  file.files = event.dataTransfer.files;
  parseFile(file.files[0]);
});
if (!navigator.mediaDevices) webcam.hidden = true;
jobs.refresh();
at("key").addEventListener("change", () => jobs.refresh());

fetch("readyz").then((answer) => answer.json()).then((ready) => {
  at("model").textContent = ready.bundle ? `${ready.bundle} ${ready.version}, ${ready.provider} ${ready.precision}` : "";
}).catch(() => {});
