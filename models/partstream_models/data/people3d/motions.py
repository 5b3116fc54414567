"""Recorded motions as points of a body: CMU's ASF/AMC, BVH and DeepMimic's frames.

All files are brought to the axes of `meshes` (z up, the person looks along -y where the recording does so).

Shape suffixes: F frames, 3 coordinates.
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_FROM_Y_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
_FROM_X_FORWARD = np.array([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]])

_AMC = {
    "left_hip": "lhipjoint", "right_hip": "rhipjoint", "left_knee": "lfemur", "right_knee": "rfemur",
    "left_ankle": "ltibia", "right_ankle": "rtibia", "left_toe": "lfoot", "right_toe": "rfoot",
    "left_shoulder": "lclavicle", "right_shoulder": "rclavicle", "left_elbow": "lhumerus",
    "right_elbow": "rhumerus", "left_wrist": "lradius", "right_wrist": "rradius", "chest": "thorax",
    "neck": "lowerneck", "head": "head",
}  # fmt: skip
"""Point to the AMC bone that ends there."""

_BVH = {
    "left_hip": "L_Thigh", "right_hip": "R_Thigh", "left_knee": "L_Calf", "right_knee": "R_Calf",
    "left_ankle": "L_Foot", "right_ankle": "R_Foot", "left_toe": "L_ToeBase", "right_toe": "R_ToeBase",
    "left_shoulder": "L_Upperarm", "right_shoulder": "R_Upperarm", "left_elbow": "L_Forearm",
    "right_elbow": "R_Forearm", "left_wrist": "L_Hand", "right_wrist": "R_Hand", "chest": "NeckTwist01",
    "neck": "NeckTwist02", "head": "Head",
}  # fmt: skip

_MIMIC = (
    ("chest", 4), ("neck", 4), ("right_hip", 4), ("right_knee", 1), ("right_ankle", 4), ("right_shoulder", 4),
    ("right_elbow", 1), ("left_hip", 4), ("left_knee", 1), ("left_ankle", 4), ("left_shoulder", 4),
    ("left_elbow", 1),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Motion:
    """A recording."""

    name: str
    points: Mapping[str, FloatArray]
    """Each point of a pose over the frames, [F, 3], in the recording's own units."""

    def __len__(self) -> int:
        return len(self.points["chest"])

    def frame_range(self, first: int, end: int) -> dict[str, FloatArray]:
        """The points of some frames, each [F, 3]."""
        return {name: track[first:end] for name, track in self.points.items()}

    def frame(self, number: int) -> dict[str, FloatArray]:
        """The points of one frame."""
        return {name: track[number] for name, track in self.points.items()}


def names(folder: Path) -> list[str]:
    """The recordings of the folder `mocap`, as paths in it.

    Raises:
        ValueError: There are none.
    """
    found = [
        *folder.glob("*.amc.gz"),
        *(folder / "cmu_bvh").glob("*.bvh.gz"),
        *(folder / "deepmimic").glob("*.txt.gz"),
    ]
    if not found:
        raise ValueError(f"no recorded motions in {folder}")
    return sorted(str(path.relative_to(folder)) for path in found)


def read(folder: Path, name: str) -> Motion:
    """The recording of a name.

    Raises:
        ValueError: The file is missing or damaged.
    """
    path = folder / name
    try:
        text = gzip.decompress(path.read_bytes()).decode()
        if name.endswith(".amc.gz"):
            skeleton = (folder / f"{path.name[:2]}.asf").read_text()
            points = _read_amc(skeleton, text)
        elif name.endswith(".bvh.gz"):
            points = _read_bvh(text)
        else:
            points = _read_mimic((path.parent / "humanoid3d.txt").read_text(), text)
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
        raise ValueError(f"cannot read the motion {path}: {error}") from error
    return Motion(name, points)


def euler(angles: FloatArray, order: str) -> FloatArray:
    """Rotations of angles in radians [..., n] applied to the axes named, the first outermost, [..., 3, 3]."""
    result = np.broadcast_to(np.eye(3), (*angles.shape[:-1], 3, 3))
    for number, axis in enumerate(order.upper()):
        c, s = np.cos(angles[..., number]), np.sin(angles[..., number])
        zero, one = np.zeros_like(c), np.ones_like(c)
        rows = {
            "X": [one, zero, zero, zero, c, -s, zero, s, c],
            "Y": [c, zero, s, zero, one, zero, -s, zero, c],
            "Z": [c, -s, zero, s, c, zero, zero, zero, one],
        }[axis]
        result = result @ np.stack(rows, axis=-1).reshape(*c.shape, 3, 3)
    return np.asarray(result)


@dataclass(slots=True)
class _AsfBone:
    direction: FloatArray
    length: float
    axis: FloatArray
    dof: list[str] = field(default_factory=list)


def _read_asf(text: str) -> tuple[dict[str, _AsfBone], list[tuple[str, list[str]]]]:
    bones: dict[str, _AsfBone] = {}
    tree: list[tuple[str, list[str]]] = []
    section, name = "", ""
    for words in (line.split() for line in text.splitlines() if line.strip()):
        if words[0].startswith(":"):
            section = words[0]
        elif section == ":hierarchy" and words[0] not in ("begin", "end"):
            tree.append((words[0], words[1:]))
        elif section == ":bonedata":
            if words[0] == "name":
                name = words[1]
                bones[name] = _AsfBone(np.zeros(3), 0.0, np.eye(3))
            elif name:
                _set_bone(bones[name], words)
    return bones, tree


def _set_bone(bone: _AsfBone, words: list[str]) -> None:
    if words[0] == "direction":
        bone.direction = np.array(words[1:4], float)
    elif words[0] == "length":
        bone.length = float(words[1])
    elif words[0] == "axis":
        bone.axis = euler(np.deg2rad(np.array(words[1:4], float))[::-1], "ZYX")
    elif words[0] == "dof":
        bone.dof = words[1:]


def _read_amc(skeleton: str, text: str) -> dict[str, FloatArray]:
    bones, tree = _read_asf(skeleton)
    tracks: dict[str, list[list[float]]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0][0].isalpha():
            tracks.setdefault(words[0], []).append([float(word) for word in words[1:]])
    angles = {name: np.array(rows) for name, rows in tracks.items()}
    root = angles["root"]
    turned = {"root": euler(np.deg2rad(root[:, [5, 4, 3]]), "ZYX")}
    ends = {"root": root[:, :3]}
    for parent, children in tree:
        for child in children:
            bone = bones[child]
            local = np.broadcast_to(np.eye(3), turned[parent].shape)
            if bone.dof and child in angles:
                full = np.zeros((len(root), 3))
                for column, dof in enumerate(bone.dof):
                    full[:, "xyz".index(dof[1])] = np.deg2rad(angles[child][:, column])
                local = bone.axis @ euler(full[:, ::-1], "ZYX") @ bone.axis.T
            turned[child] = turned[parent] @ local
            ends[child] = ends[parent] + turned[child] @ (bone.direction * bone.length)
    return {point: ends[bone] @ _FROM_Y_UP.T for point, bone in _AMC.items()}


def _read_bvh(text: str) -> dict[str, FloatArray]:
    head, _, tail = text.partition("MOTION")
    values = np.array([line.split() for line in tail.strip().splitlines()[2:]], float)
    stack: list[str] = []
    turned: dict[str, FloatArray] = {}
    places: dict[str, FloatArray] = {}
    column, name, offset = 0, "", np.zeros(3)
    for line in head.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] in ("ROOT", "JOINT", "End"):
            name = words[1] if words[0] != "End" else f"end of {stack[-1]}"
        elif words[0] == "{":
            stack.append(name)
        elif words[0] == "}":
            stack.pop()
        elif words[0] == "OFFSET":
            offset = np.array(words[1:4], float)
            if name.startswith("end of"):
                continue
        elif words[0] == "CHANNELS":
            channels = words[2:]
            block = values[:, column : column + len(channels)]
            column += len(channels)
            parent = stack[-2] if len(stack) > 1 else ""
            moved = np.broadcast_to(offset, (len(values), 3))
            if channels[0].endswith("position"):
                moved, block, channels = moved + block[:, :3], block[:, 3:], channels[3:]
            local = euler(np.deg2rad(block), "".join(channel[0] for channel in channels))
            turned[name] = turned[parent] @ local if parent else local
            places[name] = (
                places[parent] + np.einsum("fij,fj->fi", turned[parent], moved) if parent else moved
            )
    return {point: places[f"CC_Base_{bone}"] @ _FROM_Y_UP.T for point, bone in _BVH.items()}


def _quaternion(wxyz: FloatArray) -> FloatArray:
    w, x, y, z = (wxyz / np.linalg.norm(wxyz, axis=-1, keepdims=True)).T
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return np.stack(rows, axis=-1).reshape(-1, 3, 3)


def _read_mimic(skeleton: str, text: str) -> dict[str, FloatArray]:
    joints = json.loads(skeleton)["Skeleton"]["Joints"]
    frames = np.array(json.loads(text)["Frames"], float)
    turned = [_quaternion(frames[:, 4:8])]
    places = [frames[:, 1:4]]
    rotations: dict[str, FloatArray] = {}
    column = 8
    for name, size in _MIMIC:
        block = frames[:, column : column + size]
        rotations[name] = _quaternion(block) if size == 4 else euler(block, "Z")
        column += size
    for joint in joints[1:]:
        parent = int(joint["Parent"])
        attach = np.array([joint["AttachX"], joint["AttachY"], joint["AttachZ"]])
        places.append(places[parent] + turned[parent] @ attach)
        local = rotations.get(joint["Name"])
        turned.append(turned[parent] @ local if local is not None else turned[parent])
    order = [joint["Name"] for joint in joints]
    at = {name: places[number] for number, name in enumerate(order)}
    neck = order.index("neck")
    points = {name: at[name] for name in at if name not in ("root", "chest", "neck")}
    points["chest"] = points["neck"] = at["neck"]
    points["head"] = at["neck"] + turned[neck] @ np.array([0.03, 0.175, 0.0])
    for side in ("left", "right"):
        ankle = order.index(f"{side}_ankle")
        points[f"{side}_toe"] = at[f"{side}_ankle"] + turned[ankle] @ np.array([0.13, -0.05, 0.0])
    return {name: track @ _FROM_X_FORWARD.T for name, track in points.items()}
