"""All recipes of the papers' networks, by name."""

from collections.abc import Callable, Mapping

from partstream_models.training.aten_recipes import ATEN_RECIPES
from partstream_models.training.dyenet_recipes import DYENET_RECIPES
from partstream_models.training.flownet_recipes import FLOWNET_RECIPES
from partstream_models.training.holistic_recipes import HOLISTIC_RECIPES
from partstream_models.training.hvis_recipes import HVIS_RECIPES
from partstream_models.training.paper import PaperRecipe

PAPER_RECIPES: Mapping[str, Callable[[], PaperRecipe]] = {
    **ATEN_RECIPES,
    **FLOWNET_RECIPES,
    **HVIS_RECIPES,
    **DYENET_RECIPES,
    **HOLISTIC_RECIPES,
}
