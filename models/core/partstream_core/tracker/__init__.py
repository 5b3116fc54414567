"""The match module: who in this frame is whom from the frames before."""

from partstream_core.tracker.config import TrackerConfig
from partstream_core.tracker.track import Detection, Track
from partstream_core.tracker.tracker import Tracker

__all__ = ["Detection", "Track", "Tracker", "TrackerConfig"]
