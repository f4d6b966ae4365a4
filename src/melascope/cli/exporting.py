"""`melascope export` and `melascope pack`: what is scored and explained without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melascope.cli.flags import RunFolder, next_command, torch_needed
from melascope.stages.reporting import Reporter
from melascope.tables.runs import RunDirectory

if TYPE_CHECKING:
    from melascope.stages.exporting import Exported

REFUSED = 3
"""Exit code where a rougher precision was asked for and would lose a melanoma."""


def export(
    run: RunFolder,
    format: Annotated[str, typer.Option(help="onnx, or onnx,openvino.")] = "onnx",
    precision: Annotated[
        str, typer.Option(help="float32, and with commas float16 and int8, if no melanoma is lost.")
    ] = "float32",
    without_maps: Annotated[bool, typer.Option("--without-maps", help="Logits and features alone.")] = False,
    data: Annotated[Path | None, typer.Option(help="The images, if they have moved; for float16 and int8.")] = None,
) -> None:
    """Write RUN/export: graphs that take pixels and give logits and the seven maps, each compared with the network."""
    with torch_needed():
        from melascope.stages.exporting import export_run
    files = export_run(
        RunDirectory.open(run),
        Reporter(),
        formats=_names(format),
        precisions=_names(precision),
        maps=not without_maps,
        data=data,
    )
    for one in files:
        print(told(one))
    next_command(f"melascope predict {run} FOLDER")
    if any(one.refused for one in files):
        raise typer.Exit(REFUSED)


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def told(one: Exported) -> str:
    """One line a file: what it differs in, and what that costs."""
    differences = ", ".join(f"{name} {value:.1e}" for name, value in one.differences.items())
    line = f"{one.file} ({one.precision}): differs by at most {differences} on {one.n_probes} images"
    if one.cost:
        found, alarms = one.cost.found["lesion"], one.cost.alarms["lesion"]
        line += (
            f"; validation lesions: finds {found.rough} of {found.n} (the run: {found.exact}), "
            f"{alarms.rough} false alarms of {alarms.n} ({alarms.exact}); {sum(one.cost.called)} images change sides"
        )
    return f"{line}; REFUSED: {one.refused}" if one.refused else line


def pack(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="Folder to write; its name is the name under which the model answers.")],
    data: Annotated[Path | None, typer.Option(help="The images, if they have moved.")] = None,
) -> None:
    """Write a folder to hand on: it answers as RUN without torch, holds the figures, and no image, weights or path."""
    with torch_needed():
        from melascope.stages.packing import pack_run
    packed = pack_run(RunDirectory.open(run), out, Reporter(), data=data)
    cost = packed.cost
    print(f"{packed.root}: {packed.bytes / 1e6:.2f} MB; weights kept as float16, measured on validation images:")
    for unit in ("lesion", "image"):
        found, alarms = cost.found[unit], cost.alarms[unit]
        print(
            f"  {unit}s: finds {found.rough} of {found.n} (before: {found.exact}), "
            f"{alarms.rough} false alarms of {alarms.n} ({alarms.exact})"
        )
    print(
        f"  {sum(cost.called)} images change sides, {cost.top_class} top classes change; largest differences: "
        f"logits {cost.largest_logit:.4f}, P(target) {cost.largest_probability:.4f}, maps {packed.maps:.4f}"
    )
    next_command(f"melascope explain {packed.root} IMAGE")
