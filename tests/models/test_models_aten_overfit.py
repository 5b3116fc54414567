"""A narrow ATEN learns one clip by heart: whether everything that should learn does."""

import json
from pathlib import Path

import pytest

from partstream_models.data.photos.cache import PhotoCache
from partstream_models.training.aten_recipes import aten_overfit
from partstream_models.training.paper import PaperOptions, train_paper


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_clip_that_was_learned_by_heart_is_parsed_right(photos: PhotoCache, tmp_path: Path) -> None:
    result = train_paper(aten_overfit(), photos, PaperOptions(output_dir=tmp_path))
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    totals = [line["terms"]["total"] for line in logged if "terms" in line]
    assert sum(totals[-5:]) < 0.1 * sum(totals[:5])
    assert result.scores["mean_iou"] > 0.9
