"""Which files and folders of a directory are unfinished checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from spotrelay.checkpoints.folders import ASIDE, find


def folder(path: Path, **files: str) -> Path:
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


def found(directory: Path) -> dict[str, str]:
    return {str(one.path): one.why for one in find(directory)}


def trainer(path: Path, state: str | None = '{"global_step": 20}') -> Path:
    return folder(path, training_args__bin="x", **({} if state is None else {"trainer_state__json": state}))


@pytest.mark.parametrize(
    ("state", "why"), [(None, "is missing"), ("", "is cut short"), ('{"global_step": 2', "is cut short")]
)
def test_a_trainers_folder_is_whole_when_its_state_is(tmp_path: Path, state: str | None, why: str) -> None:
    """trainer_state.json is written last. Otherwise get_last_checkpoint takes a folder that has no optimizer in it."""
    trainer(tmp_path / "out/checkpoint-20")
    trainer(tmp_path / "out/checkpoint-40", state)
    unfinished = found(tmp_path)

    assert ["out/checkpoint-40"] == list(unfinished)
    assert why in unfinished["out/checkpoint-40"]


def test_a_folder_that_has_not_come_to_what_marks_it(tmp_path: Path) -> None:
    """The model alone is there: the folder beside it says whose it is. Otherwise the first file decides nothing."""
    trainer(tmp_path / "checkpoint-20")
    folder(tmp_path / "checkpoint-40", config__json="{}")

    assert ["checkpoint-40"] == list(found(tmp_path))


def test_the_trainers_own_sign_and_a_file_in_it(tmp_path: Path) -> None:
    """checkpoint-is-incomplete.txt, or one file cut short: the folder is one checkpoint. Otherwise a folder without
    its weights is left to resume from."""
    trainer(tmp_path / "checkpoint-1").joinpath("checkpoint-is-incomplete.txt").write_text("")
    trainer(tmp_path / "checkpoint-2").joinpath("optimizer.pt").write_text("")
    unfinished = found(tmp_path)

    assert {"checkpoint-1", "checkpoint-2"} == set(unfinished)
    assert "optimizer.pt: it is empty" == unfinished["checkpoint-2"]


def test_folders_of_others(tmp_path: Path) -> None:
    """Accelerate's and diffusers' have no trainer_state.json, and are whole. Otherwise each of theirs is taken away."""
    folder(tmp_path / "checkpoint-500", optimizer__bin="x", random_states_0__pkl="x")
    folder(tmp_path / "checkpoint-1000", optimizer__bin="x")

    assert {} == found(tmp_path)


def test_a_distributed_checkpoint(tmp_path: Path) -> None:
    """`.metadata` is written last. Otherwise half of the shards are read as all of them."""
    folder(tmp_path / "step-1", __metadata="x").joinpath("__0_0.distcp").write_text("x")
    folder(tmp_path / "step-2").joinpath("__0_0.distcp").write_text("x")

    assert ["step-2"] == list(found(tmp_path))


def test_what_was_set_aside_is_not_looked_at(tmp_path: Path) -> None:
    """Nor followed is a link. Otherwise a file is moved once more with each attempt, or one that is not the run's."""
    folder(tmp_path / ASIDE / "1", last__ckpt="")
    (tmp_path / "elsewhere.ckpt").symlink_to("/dev/null")
    folder(tmp_path / "sub", best__ckpt="")

    assert ["sub/best.ckpt"] == list(found(tmp_path))
