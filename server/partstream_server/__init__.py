"""The partstream service and command: video in, people, parts and identities out. No torch."""

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "partstream-server"

try:
    __version__ = version(DISTRIBUTION)
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0+uninstalled"
