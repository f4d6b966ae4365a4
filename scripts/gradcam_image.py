"""Where did a trained run look in this image? The course project's command: one overlay at the image's own size."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from melascope.classes import CLASSES, RESEARCH_ONLY
from melascope.errors import MelascopeError
from melascope.stages.explaining import explain_one
from melascope.stages.scoring import read_images
from melascope.tables.runs import RunDirectory


def main() -> int:
    parser = argparse.ArgumentParser(description=f"Grad-CAM overlay of one image. {RESEARCH_ONLY}")
    parser.add_argument("--run-dir", type=Path, required=True, help="run directory made by `melascope train`")
    parser.add_argument("--image", type=Path, required=True, help="image file")
    parser.add_argument("--out", type=Path, required=True, help="overlay to write: .png, .jpg or .webp")
    parser.add_argument(
        "--class", dest="class_name", default="", help=f"one of {', '.join(CLASSES)}; else the predicted"
    )
    parser.add_argument("--colormap", default="", help="a matplotlib colormap; `jet` for the look of older figures")
    arguments = parser.parse_args()
    try:
        lines = explain_one(
            RunDirectory.open(arguments.run_dir),
            read_images(arguments.image),
            arguments.out,
            class_name=arguments.class_name,
            colormap=arguments.colormap,
        )
    except MelascopeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
