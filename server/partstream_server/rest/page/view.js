// The picture: a canvas over the video with parts, boxes and identities.

import { paintSkeleton } from "./joints.js";
import { colourOfPart, colourOfPerson, packed, paintMask } from "./masks.js";

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.layer = document.createElement("canvas");
    this.layerContext = this.layer.getContext("2d");
    this.hidden = new Set();
    this.opacity = 0.55;
    this.boxes = true;
    this.skeletons = false;
  }

  /** Take the size of the source, in its own pixels; CSS does the scaling. */
  resize(width, height) {
    if (this.canvas.width === width && this.canvas.height === height) return;
    for (const one of [this.canvas, this.layer]) { one.width = width; one.height = height; }
    this.image = this.layerContext.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  /** Draw a frame's people; `picture`, where there is one, goes below them. */
  paint(frame, picture = null) {
    const { context, canvas } = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (picture) context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const people = frame ? frame.people : [];
    canvas.dataset.people = people.length;
    this.paintParts(people);
    const unit = Math.max(1, canvas.height / 360);
    if (this.skeletons) for (const person of people) paintSkeleton(context, person, unit);
    if (this.boxes) for (const person of people) this.paintBox(person, unit);
    this.describe(people);
  }

  paintParts(people) {
    if (!this.pixels) return;
    this.pixels.fill(0);
    for (const person of people) {
      for (const part of person.parts) {
        if (!part.mask || this.hidden.has(part.part)) continue;
        paintMask(this.pixels, part.mask, packed(colourOfPart(part.part)));
      }
    }
    this.layerContext.putImageData(this.image, 0, 0);
    this.context.globalAlpha = this.opacity;
    this.context.drawImage(this.layer, 0, 0);
    this.context.globalAlpha = 1;
  }

  paintBox({ box: [left, top, right, bottom], identity }, unit) {
    const { context } = this;
    context.lineWidth = 2 * unit;
    context.strokeStyle = context.fillStyle = colourOfPerson(identity);
    context.strokeRect(left, top, right - left, bottom - top);
    context.font = `${Math.round(14 * unit)}px system-ui, sans-serif`;
    const label = `${identity}`;
    const width = context.measureText(label).width + 8 * unit;
    const below = Math.max(top, 18 * unit);
    context.fillRect(left, below - 18 * unit, width, 18 * unit);
    context.fillStyle = "#000";
    context.fillText(label, left + 4 * unit, below - 5 * unit);
  }

  /** The picture in words, for those who do not see it. */
  describe(people) {
    const names = people.map((person) => `person ${person.identity} with ${person.parts.map((part) => part.part).join(", ") || "no parts"}`);
    this.canvas.setAttribute("aria-label", names.length ? names.join("; ") : "Nobody in the picture");
  }
}
