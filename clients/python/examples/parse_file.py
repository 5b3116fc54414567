"""People of a clip and their visible parts.

python parse_file.py clip.mp4
python parse_file.py clip.mp4 --overlay overlay.mp4
"""

import argparse
import sys

from partstream_client import Client, Progress


def main() -> None:
    """Print a line for each person of each frame."""
    options = argparse.ArgumentParser(description="Print the people of a clip, frame by frame.")
    options.add_argument("media", help="a video or an image: a path or an http(s) address")
    options.add_argument("--overlay", help="also write the clip with what was found drawn on it")
    options.add_argument("--server", default="http://127.0.0.1:8000")
    options.add_argument("--api-key")
    arguments = options.parse_args()

    with Client(arguments.server, api_key=arguments.api_key) as client:
        for frame in client.iter_frames(arguments.media, progress=show):
            for person in frame.people:
                parts = ", ".join(f"{part.name} {part.area}" for part in person.parts.values())
                sys.stdout.write(f"{frame.time_s:.2f} s: person {person.identity}: {parts}\n")
        if arguments.overlay:
            client.overlay(arguments.media, arguments.overlay)


def show(progress: Progress) -> None:
    """Show how far it is, on the terminal's last line."""
    if progress.stage == "upload" and sys.stderr.isatty():
        sys.stderr.write(f"\rsent {progress.done} of {progress.total} bytes ")


if __name__ == "__main__":
    main()
