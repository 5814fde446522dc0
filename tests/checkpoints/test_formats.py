"""A checkpoint's file is called unfinished wherever it is cut, and never when it is whole."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import zipfile
from pathlib import Path

import pytest

from spotrelay.checkpoints import formats

# What torch and safetensors themselves write; run in their environment.
WRITE = """
import sys, torch
from safetensors.torch import save_file
folder = sys.argv[1]
state = {"weight": torch.arange(70_000, dtype=torch.float32), "bias": torch.zeros(3), "none": torch.empty(0)}
torch.save({"model": state, "step": 7}, f"{folder}/last.ckpt")
torch.save({}, f"{folder}/empty.pt")
save_file(state, f"{folder}/model.safetensors", metadata={"format": "pt"})
save_file({}, f"{folder}/nothing.safetensors")
torch.save(state, f"{folder}/old.pth", _use_new_zipfile_serialization=False)
"""
LOAD = """
import sys, torch
from safetensors.torch import load_file
for line in sys.stdin:
    path = line.rstrip()
    try:
        load_file(path) if path.endswith(".safetensors") else torch.load(path)
        print("whole", flush=True)
    except Exception as error:
        print("broken", type(error).__name__, flush=True)
"""


def zipped() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:  # stored, as torch and NumPy do
        for part in range(3):
            # Of 1980: the bytes are part of tests' names, and two workers which start in different seconds must agree.
            archive.writestr(zipfile.ZipInfo(f"archive/data/{part}"), bytes(range(64)))
    return data.getvalue()


def safetensors(**tensors: bytes) -> bytes:
    header, data = {}, b""
    for name, value in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(value)], "data_offsets": [len(data), len(data) + len(value)]}
        data += value
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("last.ckpt", zipped()),
        ("x.pt", zipped()),
        ("x.npz", zipped()),
        ("m.safetensors", safetensors(a=b"12345", b=b"6")),
    ],
)
def test_every_cut_is_seen(tmp_path: Path, name: str, whole: bytes) -> None:
    """Cut after any byte. Otherwise there is a moment to be killed in after which the run ends in a traceback."""
    file = tmp_path / name
    file.write_bytes(whole)
    assert not formats.fault(file)
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        assert formats.fault(file), length


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("pytorch_model.bin", b""),
        ("weights.bin", b"\x80\x02\x8a\nl\xfc\x9cF"),
        ("old.pth", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80"),
        ("model.h5", b"\x89HDF"),
        ("archive.zip", zipped()[:100]),
        ("x.pt", b"PyTorch, some day"),
        ("lfs.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
        ("log.txt", b""),
        ("m.safetensors", safetensors()),
    ],
)
def test_what_is_not_known_is_not_judged(tmp_path: Path, name: str, data: bytes) -> None:
    """Other formats, other people's files. Otherwise what was whole is moved away under a program that needs it."""
    (tmp_path / name).write_bytes(data)

    assert not formats.fault(tmp_path / name)


def test_a_header_that_is_none(tmp_path: Path) -> None:
    """Written over, at its full length. Otherwise it is taken for whole because it is long enough."""
    file = tmp_path / "m.safetensors"
    file.write_bytes(struct.pack("<Q", 8) + b"\0" * 100)

    assert "header" in formats.fault(file)


@pytest.mark.slow
@pytest.mark.frameworks
def test_what_torch_and_safetensors_write(tmp_path: Path, frameworks: Path) -> None:
    """Real files, cut in each of their parts: what we call unfinished, they cannot load, and what we call whole, they
    can. Otherwise our reading of the formats is ours alone."""
    python = str(frameworks / "python")
    subprocess.run([python, "-c", WRITE, str(tmp_path)], check=True)
    cuts: list[Path] = []
    for name in ("last.ckpt", "empty.pt", "model.safetensors", "nothing.safetensors"):
        whole = (tmp_path / name).read_bytes()
        assert not formats.fault(tmp_path / name)
        ends = [
            0,
            1,
            3,
            4,
            7,
            8,
            9,
            30,
            len(whole) // 3,
            len(whole) // 2,
            *(len(whole) - n for n in (200, 70, 22, 21, 1)),
        ]
        for length in {end for end in ends if 0 <= end < len(whole)}:
            cut = tmp_path / f"cut-{length}-{name}"
            cut.write_bytes(whole[:length])
            assert formats.fault(cut), cut
            cuts.append(cut)
    fine = [
        tmp_path / name for name in ("last.ckpt", "empty.pt", "model.safetensors", "nothing.safetensors", "old.pth")
    ]
    asked = "".join(f"{path}\n" for path in [*cuts, *fine])
    said = subprocess.run([python, "-c", LOAD], input=asked, check=True, capture_output=True, text=True).stdout.split(
        "\n"
    )

    assert len(cuts) > 40
    assert ["broken"] * len(cuts) == [line.split()[0] for line in said[: len(cuts)]]
    assert ["whole"] * len(fine) == said[len(cuts) : -1]
    assert not formats.fault(tmp_path / "old.pth")
