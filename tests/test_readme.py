"""Does the README's tree name every file of the package with the question that its first line answers?"""

from __future__ import annotations

import ast
import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/melascope"
FLOORS = (
    *("tables", "data", "models", "inference", "evaluation", "explain", "gallery", "report", "stages"),
    *("app", "service", "cli"),
)
LOOSE = ("classes.py", "errors.py", "config.py", "files.py")
HOUSE, START, END = "## The house", "src/melascope/\n", "scripts/gradcam_image.py"


def question(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]


def tree() -> str:
    lines = [f"  {name:<22} {question(PACKAGE / name)}" for name in LOOSE]
    for floor in FLOORS:
        lines.append(f"  {floor + '/':<22} {question(PACKAGE / floor / '__init__.py')}")
        lines += _files(PACKAGE / floor, PACKAGE / floor)
    return "\n".join(lines) + "\n"


def _files(folder: Path, floor: Path) -> list[str]:
    lines = []
    for path in sorted(folder.iterdir()):
        name = path.relative_to(floor).as_posix()
        if path.suffix == ".py" and path.name != "__init__.py":
            lines.append(f"    {name:<32} {question(path)}")
        elif (path / "__init__.py").is_file():
            lines.append(f"    {name + '/':<32} {question(path / '__init__.py')}")
            lines += _files(path, floor)
    return lines


def place_of_tree(text: str) -> slice:
    start = text.index(START, text.index(HOUSE)) + len(START)
    return slice(start, text.index(END, start))


def test_the_tree_is_that_of_the_package():
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    found = place_of_tree(text)
    if os.environ.get("MELASCOPE_GOLDEN") == "write":
        text = text[: found.start] + tree() + text[found.stop :]
        readme.write_text(text, encoding="utf-8")
        found = place_of_tree(text)
    assert text[found] == tree(), "files came, went or changed their first line: `make golden`, then read the diff"
