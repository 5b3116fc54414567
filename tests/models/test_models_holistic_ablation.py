"""The table of what the Holistic network's pieces are worth: what is trained, on what, for how long."""

from pathlib import Path
from typing import cast

from partstream_models.commands.holistic_ablation import Budget, train_seed
from partstream_models.data.photos.cache import PhotoCache
from partstream_models.training.holistic_recipes import HARDEST_REDUCED, HolisticRecipe
from partstream_models.training.holistic_task import Stage
from partstream_models.training.paper import PaperOptions, PaperResult

PHOTOS = cast(PhotoCache, None)


def test_every_row_starts_from_the_piece_that_it_needs(tmp_path: Path) -> None:
    runs: dict[str, tuple[HolisticRecipe, Path | None]] = {}

    def train(recipe: HolisticRecipe, photos: PhotoCache, options: PaperOptions) -> PaperResult:
        assert photos is PHOTOS
        runs[options.output_dir.name] = recipe, options.start_from
        return PaperResult(options.output_dir / "w", {"ap_r_50": float(len(runs))})

    budget = Budget(parts=7, piecewise=5, whole=3)
    scores = train_seed(PHOTOS, tmp_path, budget, 4, train=train)
    assert len(scores) == len(runs) == 12, "no run overwrites another"
    starts = {name: start and start.parent.name for name, (_, start) in runs.items()}
    for suffix, hardest in (("", None), ("-OHEM", HARDEST_REDUCED)):
        parts, trained_on = f"part-module{suffix}-4", f"part-module-trained-on{suffix}-4"
        assert starts[parts] is None
        assert starts[f"piecewise-box-term-only{suffix}-4"] == parts
        assert starts[f"piecewise{suffix}-4"] == starts[trained_on] == parts
        assert starts[f"end-to-end{suffix}-4"] == f"piecewise{suffix}-4"
        assert starts[f"piecewise-part-module-trained-on{suffix}-4"] == trained_on
        recipes = {name: recipe for name, (recipe, _) in runs.items() if ("OHEM" in name) == bool(suffix)}
        assert {recipe.hardest for recipe in recipes.values()} == {hardest}
        assert {recipe.fit.seed for recipe in recipes.values()} == {4}
        terms = {name: recipe.network.crf.global_term for name, recipe in recipes.items()}
        assert [name for name, has_term in terms.items() if not has_term] == [
            f"piecewise-box-term-only{suffix}-4"
        ]
        whole, longer = recipes[f"end-to-end{suffix}-4"], recipes[trained_on]
        assert (whole.stage, longer.stage) == (Stage.WHOLE, Stage.PARTS)
        assert (whole.fit.num_steps, whole.fit.batch) == (longer.fit.num_steps, longer.fit.batch) == (3, 1)
        assert (recipes[parts].fit.num_steps, recipes[f"piecewise{suffix}-4"].fit.num_steps) == (7, 5)
