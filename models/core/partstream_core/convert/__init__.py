"""Results in the formats of tables and annotation tools; `convert.run` writes them frame by frame."""

from partstream_core.convert.arrow import MissingExtraError
from partstream_core.convert.run import FormatError, Target, convert
from partstream_core.convert.source import read_results
from partstream_core.convert.values import Options

__all__ = ["FormatError", "MissingExtraError", "Options", "Target", "convert", "read_results"]
