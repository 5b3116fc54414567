// A file: sent once, its results read line by line while the server makes them.

import { explain } from "./jobs.js";

export class Clip {
  /** `told` has sending(share), frame(result), failed(text, code), done(). */
  constructor(file, key, told) {
    Object.assign(this, { file, key, told });
    this.read = 0;
    this.failure = null;
  }

  start() {
    const request = this.request = open(this.file, this.key, "application/x-ndjson, application/problem+json");
    request.upload.onprogress = (event) => this.told.sending(event.loaded / event.total);
    request.upload.onload = () => this.told.sending(null);
    request.onprogress = () => { if (request.status === 200) this.take(request.responseText); };
    request.onload = () => {
      if (request.status !== 200) { this.told.failed(...explain(request.responseText, request.status)); return; }
      this.take(request.responseText);
      if (this.failure) this.told.failed(...explain(JSON.stringify(this.failure), 200));
      else this.told.done();
    };
    request.onerror = () => this.told.failed("The server cannot be reached, or broke off.", "");
    request.send(form(this.file));
  }

  /** The lines that have come since the last time. */
  take(text) {
    for (let end = text.indexOf("\n", this.read); end >= 0; end = text.indexOf("\n", this.read)) {
      const line = JSON.parse(text.slice(this.read, end));
      this.read = end + 1;
      if (line.error) this.failure = line.error;
      else this.told.frame(line);
    }
  }

  stop() { this.request.abort(); }
}

/** The file as a video with its parts and, if wanted, joints drawn in by the server; told as in Clip, done(blob). */
export function overlayVideo(file, key, skeletons, told) {
  const request = open(file, key, "video/mp4, application/problem+json", skeletons ? "parse?skeletons=true" : "parse");
  request.responseType = "blob";
  request.onload = async () => {
    if (request.status === 200) told.done(request.response);
    else told.failed(...explain(await request.response.text(), request.status));
  };
  request.onerror = () => told.failed("The server cannot be reached, or broke off.", "");
  request.send(form(file));
  return request;
}

function open(file, key, accept, address = "parse") {
  const request = new XMLHttpRequest();
  request.open("POST", address);
  request.setRequestHeader("Accept", accept);
  if (key) request.setRequestHeader("X-API-Key", key);
  return request;
}

function form(file) {
  const body = new FormData();
  body.append("video", file);
  return body;
}
