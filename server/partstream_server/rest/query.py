"""Options of a parse, as they stand in the query."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query
from pydantic import Field

from partstream_server.pipeline.parse_options import ParseOptions


class ParseQuery(ParseOptions):
    """The options of a file, and those of its overlay; a name that is not among them is refused."""

    skeletons: bool = Field(default=False, description="Draw joints into the overlay video.")


Options = Annotated[ParseQuery, Query()]
OPTIONS: Final = tuple(ParseQuery.model_fields)
"""Names of the options."""
