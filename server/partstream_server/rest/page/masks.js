// Masks and colours: COCO's compressed run lengths into pixels of a canvas.

export const PARTS = [
  "hat", "hair", "gloves", "sunglasses", "upper-clothes", "dress", "coat", "socks", "pants", "torso-skin", "scarf",
  "skirt", "face", "left-arm", "right-arm", "left-leg", "right-leg", "left-shoe", "right-shoe",
];

/** The colour of a label in the palette of Pascal VOC, which the overlay videos use too: [red, green, blue]. */
export function paletteColour(label) {
  const colour = [0, 0, 0];
  for (let shift = 7, rest = label; rest; shift -= 1, rest >>= 3) {
    for (let channel = 0; channel < 3; channel += 1) colour[channel] |= ((rest >> channel) & 1) << shift;
  }
  return colour;
}

export const colourOfPart = (part) => paletteColour(PARTS.indexOf(part) + 1);

/** A colour that neighbours in the list of people do not share. */
export const colourOfPerson = (identity) => `hsl(${(identity * 137.5) % 360} 75% 55%)`;

/** Run lengths, the first of them zeros, of the text that COCO makes of them. */
export function runLengths(counts) {
  const runs = [];
  let at = 0;
  while (at < counts.length) {
    let value = 0;
    let shift = 0;
    let code;
    do {
      code = counts.charCodeAt(at) - 48;
      at += 1;
      value |= (code & 0x1f) << shift;
      shift += 5;
    } while (code & 0x20);
    if (code & 0x10) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

/** Give the pixels of a mask one value; the mask is stored column by column, the pixels row by row. */
export function paintMask(pixels, mask, value) {
  const [height, width] = mask.size;
  let x = 0;
  let y = 0;
  let inside = false;
  for (const run of runLengths(mask.counts)) {
    if (!inside) {
      const end = x * height + y + run;
      x = Math.floor(end / height);
      y = end % height;
    } else {
      for (let left = run; left > 0;) {
        const length = Math.min(left, height - y);
        for (let at = y * width + x, stop = at + length * width; at < stop; at += width) pixels[at] = value;
        left -= length;
        y += length;
        if (y === height) { y = 0; x += 1; }
      }
    }
    inside = !inside;
  }
}

/** A colour as it lies in the memory of a canvas of a little-endian machine. */
export const packed = ([red, green, blue], alpha = 255) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
