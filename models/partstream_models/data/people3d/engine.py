"""Renders people by seed: the same number is the same person, whatever else is rendered.

Shape suffixes: V vertices, B bones, H height, W width, C channels.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import cv2
import numpy as np

from partstream_models.data.people3d import motions, textures
from partstream_models.data.people3d.body import BodyModel
from partstream_models.data.people3d.cache import RenderedPerson, Traits, UInt8Array
from partstream_models.data.people3d.characters import Character, draw_character, draw_looks
from partstream_models.data.people3d.garments import Catalogue
from partstream_models.data.people3d.meshes import BoolArray, Float32Array, Int64Array
from partstream_models.data.people3d.people import Person, Studio
from partstream_models.data.people3d.pose import FloatArray, Poser, about
from partstream_models.data.people3d.poses import PoseMaker, rotations
from partstream_models.data.people3d.renderer import Renderer
from partstream_models.data.people3d.scene import Picture
from partstream_models.data.people3d.split import Split, allowed, split_of
from partstream_models.data.people3d.views import draw_camera, draw_light, occlusion, project
from partstream_models.data.people3d.wardrobe import Wardrobe

VERSION: Final = 5
"""Raised when the same number gives another person or picture."""
_MIN_SIDE: Final = 320
_MAX_SIDE: Final = 400


@dataclass(frozen=True, slots=True)
class Style:
    """What pictures show, and how often."""

    kinds: Mapping[str, float]
    """Kinds of poses: those of `poses.KINDS`, and `motion` for recorded ones."""
    crops: Mapping[str, float]
    """What is seen of a person: `whole`, `upper`, `portrait` or `lower`."""


TRAINING: Final = Style(
    kinds={
        "motion": 0.34, "standing": 0.09, "walking": 0.05, "sitting": 0.08, "crouching": 0.06,
        "kneeling": 0.04, "lying": 0.06, "crawling": 0.04, "climbing": 0.05, "jumping": 0.05,
        "handstand": 0.04, "bending": 0.03, "random": 0.07,
    },
    crops={"whole": 0.86, "upper": 0.07, "portrait": 0.04, "lower": 0.03},
)  # fmt: skip
BENCHMARK: Final = Style(
    kinds={
        "motion": 0.22, "crouching": 0.1, "lying": 0.13, "crawling": 0.08, "climbing": 0.12, "jumping": 0.12,
        "handstand": 0.1, "random": 0.13,
    },
    crops={"whole": 1.0},
)  # fmt: skip
STYLES: Final[Mapping[Split, Style]] = {"train": TRAINING, "benchmark": BENCHMARK}


@dataclass(frozen=True, slots=True)
class Subject:
    """A dressed person with what is known of them."""

    number: int
    who: Character
    person: Person
    traits: Traits
    poser: Poser


class PeopleEngine:
    """Makes people and pictures of them.

    Args:
        data: The data folder with `people3d` and `mocap`, and `ccp` for cloth from photos.
        model: A body model that is loaded already.

    Raises:
        ValueError: anny, moderngl, EGL or an asset is missing; the message names what to install.
    """

    def __init__(self, data: Path, *, model: BodyModel | None = None) -> None:
        assets = data / "people3d"
        skins = sorted((assets / "skins").glob("*.png"))
        if not skins:
            raise ValueError(f"no skin textures in {assets / 'skins'}")
        self._cloths = textures.TextureSource(data / "ccp")
        self._mocap = data / "mocap"
        self._names = motions.names(self._mocap)
        self.studio = Studio(model or BodyModel())
        catalogue = Catalogue(assets, self.studio.model.template.vertices_V3)
        stems = [path.stem for path in skins]
        self._skins, self._wardrobes = {}, {}
        for side in get_args(Split):
            usable = allowed(stems, side)
            self._skins[side] = [path for path in skins if path.stem in usable]
            self._wardrobes[side] = Wardrobe(catalogue, self.studio.tailor, side, self._cloths.photo_ids)
        self._renderer = Renderer(self._cloths.picture)
        self._motions: dict[str, motions.Motion] = {}

    def subject(self, number: int) -> Subject:
        """The person of a number."""
        rng = np.random.default_rng([number, 1])
        who = draw_character(rng)
        body = self.studio.model.make(who.phenotype, who.expression)
        side = split_of(number)
        looks = draw_looks(rng, who, self._skins[side], side)
        worn = self._wardrobes[side].outfit(rng, who, looks)
        person = self.studio.dress(body, looks, worn)
        skin = self._cloths.picture(looks.skin_texture)[::8, ::8, :3] / 255.0
        tinted = np.clip(skin**2.2 * np.array(looks.skin_tint), 0, 1) ** (1 / 2.2)
        tone = 1 - float(np.median(tinted @ np.array([0.299, 0.587, 0.114])))
        traits = Traits(
            round(who.years, 1), round(who.gender, 3), round(tone, 3), round(who.phenotype["weight"], 3)
        )
        return Subject(number, who, person, traits, Poser(self.studio.rig, body.heads_B3))

    def pictures(self, subject: Subject, count: int) -> Iterator[RenderedPerson]:
        """Pictures of one person in other poses, lights and cameras."""
        for turn in range(count):
            rng = np.random.default_rng([subject.number, 2, turn])
            style = STYLES[split_of(subject.number)]
            yield self._picture(subject, rng, _pick(rng, style.kinds), _pick(rng, style.crops))

    def _picture(self, subject: Subject, rng: np.random.Generator, kind: str, crop: str) -> RenderedPerson:
        turns = self._rotations(subject, rng, kind)
        posed = self.studio.pose(subject.person, turns)
        drawn = [piece.vertex_N[piece.cut_N >= 0] for piece in subject.person.pieces]
        shown = np.unique(np.concatenate(drawn))
        positions = posed.positions_V3[shown]
        framed = None if crop == "whole" else positions[self._in_crop(subject, shown, crop)]
        camera = draw_camera(rng, positions, int(rng.integers(_MIN_SIDE, _MAX_SIDE + 1)), framed)
        light = draw_light(rng, camera, positions.mean(axis=0).astype(np.float64))
        picture = self._renderer.draw(subject.person.pieces, posed, subject.person.rest, camera, light)
        joints = project(camera, self.studio.joints(posed), picture.depth_HW)
        self._renderer.forget()
        shade = occlusion(camera, picture.depth_HW, picture.alpha_HW)
        return _cut_out(picture, shade, joints, subject, kind, crop != "whole")

    def _in_crop(self, subject: Subject, shown: Int64Array, crop: str) -> BoolArray:
        """Which of the vertices a close-up shows, by their height at rest."""
        heights = subject.person.rest.positions_V3[shown, 2]
        heads = subject.person.body.heads_B3[:, 2]
        waist, neck, hips = (
            float(heads[self.studio.rig.index(name)]) for name in ("spine04", "neck01", "upperleg01.L")
        )
        if crop == "portrait":
            return np.asarray(heights > neck - 0.3 * (neck - waist))
        return np.asarray(heights > waist if crop == "upper" else heights < hips)

    def _rotations(self, subject: Subject, rng: np.random.Generator, kind: str) -> FloatArray:
        if kind != "motion":
            turns = rotations(subject.poser, PoseMaker(rng).draw(kind))
        else:
            name = str(rng.choice(allowed(self._names, split_of(subject.number))))
            if name not in self._motions:
                self._motions[name] = motions.read(self._mocap, name)
            motion = self._motions[name]
            points = motion.frame(int(rng.integers(len(motion))))
            turns = subject.poser.rotations(points)
        self._curl(rng, subject, turns)
        spin = (
            about(np.array([0.0, 0.0, 1.0]), float(rng.uniform(-np.pi, np.pi)))
            if kind == "motion"
            else np.eye(3)
        )
        return np.asarray(spin @ turns)

    def _curl(self, rng: np.random.Generator, subject: Subject, turns: FloatArray) -> None:
        """Bend the fingers, in place."""
        rig, heads = self.studio.rig, subject.person.body.heads_B3.astype(np.float64)
        for mark, side in (("L", 1), ("R", -1)):
            across = heads[rig.index(f"finger5-1.{mark}")] - heads[rig.index(f"finger2-1.{mark}")]
            along = heads[rig.index(f"finger3-2.{mark}")] - heads[rig.index(f"finger3-1.{mark}")]
            axis = across * (1 if np.cross(across, along)[0] * side < 0 else -1)
            curl = np.deg2rad(max(0.0, float(rng.normal(18, 30))))
            for finger in (1, 2, 3, 4, 5):
                own = min(curl + np.deg2rad(float(rng.normal(0, 6))), 1.4) * (0.4 if finger == 1 else 1.0)
                hand = turns[rig.index(f"wrist.{mark}")]
                for joint in (1, 2, 3):
                    turns[rig.index(f"finger{finger}-{joint}.{mark}")] = hand @ about(axis, own * joint * 0.8)


def _pick(rng: np.random.Generator, shares: Mapping[str, float]) -> str:
    weights = np.array(list(shares.values()))
    return str(rng.choice(list(shares), p=weights / weights.sum()))


def _cut_out(
    picture: Picture,
    shade_HW: Float32Array,
    joints_J3: Float32Array,
    subject: Subject,
    kind: str,
    is_cut: bool,
) -> RenderedPerson:
    # shade lessens light, not the picture's numbers: those are powers of it
    dark = np.power(0.25 + 0.75 * shade_HW, 1 / 2.2)[..., None]
    image = np.clip(picture.image_HWC * dark, 0, 255).astype(np.uint8)
    return RenderedPerson(
        image_HWC=bleed(image, picture.alpha_HW),
        alpha_HW=picture.alpha_HW,
        parts_HW=picture.parts_HW,
        joints_J3=joints_J3,
        body=subject.number,
        traits=subject.traits,
        kind=kind,
        is_cut=is_cut,
    )


def bleed(image_HWC: UInt8Array, alpha_HW: UInt8Array) -> UInt8Array:
    """The picture with the person's colours carried on outside, so that resampling brings no dark rim."""
    solid = (alpha_HW > 0).astype(np.float32)
    total = cv2.GaussianBlur(image_HWC.astype(np.float32) * solid[..., None], (0, 0), 4)
    weight = cv2.GaussianBlur(solid, (0, 0), 4)[..., None]
    outside = total / np.maximum(weight, 1e-4)
    return np.where(solid[..., None] > 0, image_HWC, np.clip(outside, 0, 255)).astype(np.uint8)
