"""Options of a parse, as they stand in the query."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query

from partstream_server.offline.rendering import RenderOptions
from partstream_server.pipeline.parse_options import ParseOptions


class ParseQuery(ParseOptions, RenderOptions):
    """The options of a file, and those of its rendered video; a name that is not among them is refused."""


Options = Annotated[ParseQuery, Query()]
OPTIONS: Final = tuple(ParseQuery.model_fields)
"""Names of the options."""
