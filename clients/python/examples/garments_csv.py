"""Garments of all people in a clip, as CSV: one row for each person and garment.

python garments_csv.py clip.mp4 > garments.csv
"""

import argparse
import csv
import sys
from collections import defaultdict

from partstream_client import Client

GARMENTS = {
    "hat", "gloves", "sunglasses", "upper-clothes", "dress", "coat", "socks", "pants", "scarf", "skirt",
    "left-shoe", "right-shoe",
}  # fmt: skip


def main() -> None:
    """Write the table."""
    options = argparse.ArgumentParser(description="Write what everybody in a clip wears, as CSV.")
    options.add_argument("media", help="a video or an image: a path or an http(s) address")
    options.add_argument("--every", type=int, default=1, help="look at every n-th frame")
    options.add_argument("--server", default="http://127.0.0.1:8000")
    options.add_argument("--api-key")
    arguments = options.parse_args()

    num_seen: dict[int, int] = defaultdict(int)
    areas: dict[tuple[int, str], list[int]] = defaultdict(list)
    with Client(arguments.server, api_key=arguments.api_key) as client:
        for frame in client.iter_frames(arguments.media, every=arguments.every, masks="none"):
            for person in frame.people:
                num_seen[person.identity] += 1
                for name in GARMENTS & person.parts.keys():
                    areas[person.identity, name].append(person.parts[name].area)

    table = csv.writer(sys.stdout)
    table.writerow(["identity", "garment", "share_of_frames", "mean_area_px"])
    for (identity, name), found in sorted(areas.items()):
        share = len(found) / num_seen[identity]
        table.writerow([identity, name, f"{share:.3f}", round(sum(found) / len(found))])


if __name__ == "__main__":
    main()
