"""Make `recipe.json` anew: `python -m partstream_evaluation.composite.publish CCP_DIR CLIPS_DIR`.

Needed only where the recipe in the code changes, which makes it another benchmark: figures of the old one no
longer compare.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from partstream_evaluation.composite.plan import find_plan
from partstream_evaluation.composite.recipe import Recipe
from partstream_evaluation.composite.source import read_source
from partstream_evaluation.composite.truth import make_benchmark


def publish(data_dir: Path, clips_dir: Path, path: Path) -> Recipe:
    """The recipe with the first attempt at each clip that keeps its level's ranges; also written to `path`.

    Args:
        data_dir: The CCP folder.
        clips_dir: Where the clips are drawn, for their hashes; they stay there to be looked at.
        path: The JSON file to write.
    """
    recipe = Recipe()
    source = read_source(data_dir, recipe)
    attempts = tuple(find_plan(recipe, clip, source.people).attempt for clip in recipe.clips())
    recipe = replace(recipe, attempts=attempts)
    benchmark = make_benchmark(clips_dir, recipe, lambda: source)
    document = {
        "sha256": recipe.sha256(),
        "recipe": recipe.to_json(),
        "truth_sha256": benchmark.truth_sha256,
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
    return recipe


if __name__ == "__main__":
    publish(Path(sys.argv[1]), Path(sys.argv[2]), Path(__file__).with_name("recipe.json"))
