"""Results in the forms that other tools read."""

from partstream_client.convert.coco import to_coco
from partstream_client.convert.save import save
from partstream_client.convert.supervision import parts_to_supervision, to_supervision

__all__ = ["parts_to_supervision", "save", "to_coco", "to_supervision"]
