// Joints and the lines between them.

import { colourOfPerson } from "./masks.js";

/** Pairs of joints, by their places in COCO's order, that a line connects. */
export const SKELETON = [
  [0, 1], [0, 2], [1, 3], [2, 4], [5, 6], [5, 7], [7, 9], [6, 8], [8, 10],
  [5, 11], [6, 12], [11, 12], [11, 13], [13, 15], [12, 14], [14, 16],
];

/** Score from which a joint is drawn. */
export const SURE = 0.3;

const SHADE = "#181818";

/** Draw a person's visible joints in a picture whose lines are one `unit` wide. */
export function paintSkeleton(context, person, unit) {
  const joints = person.joints || [];
  const visible = (at) => joints[at] && joints[at].score >= SURE;
  const bones = SKELETON.filter(([first, second]) => visible(first) && visible(second));
  for (const [colour, width] of [[SHADE, 4], [colourOfPerson(person.identity), 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width * unit;
    context.beginPath();
    for (const [first, second] of bones) {
      context.moveTo(joints[first].x, joints[first].y);
      context.lineTo(joints[second].x, joints[second].y);
    }
    context.stroke();
  }
  context.fillStyle = "#fff";
  context.strokeStyle = SHADE;
  context.lineWidth = unit;
  for (const [at, joint] of joints.entries()) {
    if (!visible(at)) continue;
    context.beginPath();
    context.arc(joint.x, joint.y, 2 * unit, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
}
