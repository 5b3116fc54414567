"""Motion on the host: flow that costs no network, and how well a key frame still serves.

Shape suffixes: H, W of a small image of the network's input; h, w of the feature map; the 2 of a flow is
(x, y). Flow leads from the current frame to the reference, in pixels of the feature map.
"""

from partstream_server.motion.field import Flow, between_sizes
from partstream_server.motion.measure import SceneView, Service, scene_change, scene_view, service
from partstream_server.motion.optical import DisFlow, DisPreset, HostFlow, ZeroFlow
from partstream_server.motion.stream import CodecFlow, ImageFlow, StreamFlow, View

__all__ = [
    "CodecFlow",
    "DisFlow",
    "DisPreset",
    "Flow",
    "HostFlow",
    "ImageFlow",
    "SceneView",
    "Service",
    "StreamFlow",
    "View",
    "ZeroFlow",
    "between_sizes",
    "scene_change",
    "scene_view",
    "service",
]
