"""Every problem that doctor finds is one line, for any broken machine or argument."""

from pathlib import Path

import pytest

from spatialdata_builder.pipeline.commands.doctor import Finding, examine


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The findings by name, with a given nvidia-smi and without Blender."""

    def look(out: str = "", nvidia_smi: str = "exit 0") -> dict[str, Finding]:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{nvidia_smi}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        return {finding.name: finding for finding in examine(out, "/nowhere/blender")}

    return look


@pytest.mark.slow
def test_a_driver_that_does_not_answer(found):
    gpu = found(nvidia_smi="echo 'Driver/library version mismatch' >&2; exit 18")["gpu"]
    assert (gpu.state, gpu.mend) == ("optional", "check the driver")
    assert "Driver/library version mismatch" in gpu.detail
    assert found(nvidia_smi="echo 'NVIDIA H200, 143771 MiB'")["gpu"].detail == "NVIDIA H200, 143771 MiB"


@pytest.mark.slow
def test_an_out_that_cannot_be_used(found, tmp_path: Path):
    disk = found("nosuch://bucket/set")["disk"]
    assert disk.state == "missing"
    assert "nosuch" in disk.detail
    assert found(str(tmp_path / "not" / "there" / "yet"))["disk"].state == "ok"
    assert found("memory://set")["disk"].detail.endswith("its free space is not known")
