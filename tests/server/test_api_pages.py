"""The pages that ship with the service, as files; what a browser makes of them is tested in tests/e2e."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import playwright
import pytest

from partstream_core.joints import SKELETON, SURE
from partstream_core.labels import PALETTE, PARTS
from partstream_core.rle import encode
from partstream_server.rest.pages import FILES
from tests.server.answers import problem
from tests.server.running_server import Running

PAGES = ("/", "/docs")
NODE = Path(playwright.__file__).parent / "driver" / "node"
"""Playwright brings one."""


@pytest.mark.parametrize("path", PAGES)
def test_a_page_takes_nothing_from_outside(server: Running, path: str) -> None:
    page = server.http.get(path)
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    named = re.findall(r'(?:src|href)="(page/[^"]+)"', page.text)
    assert named
    for name in named:
        assert server.http.get(f"/{name}").status_code == 200


@pytest.mark.parametrize("name", FILES)
def test_no_file_of_the_pages_names_another_place(name: str) -> None:
    text = FILES[name].decode("utf-8")
    assert not re.search(r"https?://|[\"'(]//|@import|<style|<script>|\son\w+=", text)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_every_script_that_is_imported_is_served(server: Running, name: str) -> None:
    answer = server.http.get(f"/page/{name}")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["x-content-type-options"] == "nosniff"
    for other in re.findall(r'from "\./([^"]+)"', answer.text):
        assert other in FILES


@pytest.mark.parametrize("path", ["/page/nothing.js", "/page/index.html", "/page/..%2Fpages.py", "/page/"])
def test_nothing_else_is_served(server: Running, path: str) -> None:
    problem(server.http.get(path), "not_found")


def test_the_page_speaks_to_those_who_do_not_see_it(server: Running) -> None:
    text = server.http.get("/").text
    for needed in ('lang="en"', "<main>", 'role="alert"', 'aria-live="polite"', 'type="file"', "<legend>"):
        assert needed in text
    labelled = set(re.findall(r'<label for="(\w+)"', text))
    for tag in re.findall(r"<input [^>]*>", text):
        name = re.findall(r'id="(\w+)"', tag)[0]
        inside_a_label = name in {"file", "boxes", "joints"}
        assert name in labelled or "aria-label" in tag or inside_a_label, tag


def run_script(text: str, tmp_path: Path) -> str:
    script = tmp_path / "script.mjs"
    (tmp_path / "masks.mjs").write_bytes(FILES["masks.js"])
    (tmp_path / "joints.mjs").write_bytes(FILES["joints.js"].replace(b"masks.js", b"masks.mjs"))
    imports = 'import * as masks from "./masks.mjs";\nimport * as joints from "./joints.mjs";\n'
    script.write_text(imports + text)
    done = subprocess.run([NODE, script], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_the_page_and_the_overlay_videos_colour_parts_alike(tmp_path: Path) -> None:
    printed = run_script(
        "console.log(JSON.stringify([masks.PARTS, masks.PARTS.map(masks.colourOfPart)]))", tmp_path
    )
    names, colours = json.loads(printed)
    assert names == list(PARTS[1:])
    assert colours == PALETTE[1:20].tolist()


def test_the_page_and_the_overlay_videos_draw_the_same_skeleton(tmp_path: Path) -> None:
    printed = run_script("console.log(JSON.stringify([joints.SKELETON, joints.SURE]))", tmp_path)
    bones, sure = json.loads(printed)
    assert [tuple(bone) for bone in bones] == list(SKELETON)
    assert sure == SURE


def test_the_page_paints_a_mask_as_it_was_before_its_encoding(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    for mask in [
        random.random((7, 5)) < 0.5,
        np.ones((4, 6), bool),
        np.zeros((3, 3), bool),
        np.kron(random.random((9, 11)) < 0.3, np.ones((40, 50))).astype(bool),
    ]:
        rle = encode(mask)
        height, width = mask.shape
        document = json.dumps({"size": [height, width], "counts": rle.counts})
        printed = run_script(
            f"const pixels = new Uint32Array({mask.size});\n"
            f"masks.paintMask(pixels, {document}, 1);\n"
            "console.log(pixels.join(''));",
            tmp_path,
        )
        painted = np.array(list(printed.strip()), dtype=int).reshape(height, width)
        assert np.array_equal(painted, mask)
