"""Pictures of a video, an image or a folder of images, upright and in time order.

Everything that PyAV opens is a video; a still image is a video of one frame; a folder of images is one clip.
All frames of one source have one size, that of its first frame after rotation: a later frame of another size
is scaled to fit and centred on black, so that masks, boxes and overlays of a clip share one pixel grid.
"""

from partstream_server.media.frame import Frame, Image, MediaLimits, fit_within
from partstream_server.media.motion_vectors import BlockMotion
from partstream_server.media.reader import VideoReader, open_video

__all__ = ["BlockMotion", "Frame", "Image", "MediaLimits", "VideoReader", "fit_within", "open_video"]
