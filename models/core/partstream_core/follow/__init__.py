"""Following named people through a clip by their looks: templates, tracklets and linking (DyeNet)."""

from partstream_core.follow.linking import FollowConfig, GivenSight, Linked, link_tracklets
from partstream_core.follow.status import Status, status_of
from partstream_core.follow.templates import TemplateSet
from partstream_core.follow.tracklets import Sight, Tracklet, TrackletBuilder

__all__ = [
    "FollowConfig",
    "GivenSight",
    "Linked",
    "Sight",
    "Status",
    "TemplateSet",
    "Tracklet",
    "TrackletBuilder",
    "link_tracklets",
    "status_of",
]
