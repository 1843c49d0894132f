"""The directory store: crashes, power cuts, symbolic links, full disks and left-overs."""

import asyncio
import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.images.local import LocalStore
from gateway.images.store import StoreUnavailable, Trouble, image_name

NAME = "01jd2abcdefghjkmnpqrstvwxy.png"
SHARD = "xy"
SIZE = 100_000
REPOSITORY = Path(__file__).parents[3]


async def read(store: LocalStore, name: str = NAME) -> bytes | None:
    image = await store.open(name)
    return None if image is None else b"".join([piece async for piece in image.read()])


def everything(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*") if path.is_file())


def test_a_crash_at_any_step_leaves_the_image_absent_or_whole(tmp_path: Path) -> None:
    """Killed before or after any system call of a put, the store has the whole image or none, and works on."""
    ends: list[bool] = []
    for side in ("before", "after"):
        for step in range(1, 40):
            directory = tmp_path / f"{side}{step}"
            arguments = [str(directory), NAME, str(SIZE), str(step), side]
            command = [sys.executable, "-m", "tests.unit.images.put_and_die", *arguments]
            status = subprocess.run(command, cwd=REPOSITORY, check=False, timeout=60).returncode
            if status == 0:
                break
            assert status == 9
            store = LocalStore(directory)
            found = asyncio.run(read(store))
            assert found in {None, b"x" * SIZE}
            ends.append(found is not None)
            for path in directory.rglob("*.part"):
                os.utime(path, (0, 0))
            asyncio.run(store.sweep())
            asyncio.run(store.put(NAME, b"x" * SIZE))
            assert asyncio.run(read(store)) == b"x" * SIZE
            assert everything(directory) == [NAME]
        else:
            pytest.fail("a put takes more steps than this test knows")
    assert len(ends) >= 20
    assert {True, False} == set(ends)


def test_is_durable_before_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is synced before it gets its name, its directory after, and a new directory's own entry before that."""
    done: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name[-5:]}")
        real_fsync(descriptor)

    def rename(*arguments: Any, **named: Any) -> None:
        done.append("rename")
        real_rename(*arguments, **named)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    store = LocalStore(tmp_path / "store")
    asyncio.run(store.put(NAME, b"image"))
    assert done == ["sync store", "sync .part", "rename", f"sync {SHARD}"]
    done.clear()
    asyncio.run(store.put(NAME, b"image"))
    assert done == ["sync .part", "rename", f"sync {SHARD}"]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full, the put fails saying so, and the unfinished file is gone; an older image stays."""
    store = LocalStore(tmp_path)
    asyncio.run(store.put(NAME, b"image"))

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for call in (store.put(image_name("image/png"), b"image"), store.check()):
        with pytest.raises(StoreUnavailable) as caught:
            asyncio.run(call)
        assert caught.value.trouble is Trouble.FULL
    assert everything(tmp_path) == [NAME]


def test_outlives_the_removal_of_its_directory(tmp_path: Path) -> None:
    """When somebody empties the disk under a running store, the next image is kept all the same."""
    store = LocalStore(tmp_path / "store")
    for _ in range(2):
        asyncio.run(store.put(NAME, b"image"))
        assert asyncio.run(read(store)) == b"image"
        shutil.rmtree(tmp_path / "store")
        assert asyncio.run(store.open(NAME)) is None


def test_follows_no_symbolic_link(tmp_path: Path) -> None:
    """A link in an image's or a directory's place is not read, not written through, and its target stays."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / NAME).write_bytes(b"secret")
    inside = tmp_path / "inside"
    store = LocalStore(inside)
    (inside / SHARD).mkdir(parents=True)
    (inside / SHARD / NAME).symlink_to(outside / NAME)
    assert asyncio.run(store.open(NAME)) is None
    asyncio.run(store.put(NAME, b"image"))  # takes the link's place
    assert asyncio.run(read(store)) == b"image"
    assert (outside / NAME).read_bytes() == b"secret"

    other = "01jd2abcdefghjkmnpqrstvw00.png"
    (inside / "00").symlink_to(outside)
    (outside / other).write_bytes(b"secret")
    assert asyncio.run(store.open(other)) is None
    asyncio.run(store.delete(other))
    with pytest.raises(StoreUnavailable):
        asyncio.run(store.put(other, b"image"))
    assert everything(outside) == sorted([NAME, other])


def test_what_is_no_file_is_no_image(tmp_path: Path) -> None:
    """A FIFO or directory in an image's place is not found, and nobody waits for it."""
    (tmp_path / SHARD).mkdir()
    os.mkfifo(tmp_path / SHARD / NAME)
    store = LocalStore(tmp_path)
    assert asyncio.run(asyncio.wait_for(store.open(NAME), 5)) is None
    (tmp_path / SHARD / NAME).unlink()
    (tmp_path / SHARD / NAME).mkdir()
    assert asyncio.run(store.open(NAME)) is None


def test_sweeps_only_what_the_dead_left(tmp_path: Path) -> None:
    """Unfinished files of an hour ago are removed; younger ones, images and anything else stay."""
    store = LocalStore(tmp_path)
    assert asyncio.run(store.sweep()) == 0
    asyncio.run(store.put(NAME, b"image"))
    shard, hour_ago = tmp_path / SHARD, time.time() - 3700
    for name, moment in (("old.part", hour_ago), ("new.part", time.time()), ("old.txt", hour_ago), (NAME, hour_ago)):
        (shard / name).touch()
        os.utime(shard / name, (moment, moment))
    assert asyncio.run(store.sweep()) == 1
    assert everything(tmp_path) == sorted([NAME, "new.part", "old.txt"])


def test_check_leaves_nothing(tmp_path: Path) -> None:
    """A check makes the directory, and leaves it empty."""
    asyncio.run(LocalStore(tmp_path / "a" / "b").check())
    assert everything(tmp_path) == []
    assert (tmp_path / "a" / "b").is_dir()


def test_tells_a_wrong_directory(tmp_path: Path) -> None:
    """A file in the directory's place is told as no directory."""
    (tmp_path / "file").write_bytes(b"")
    for call in (LocalStore(tmp_path / "file" / "x").check(), LocalStore(tmp_path / "file" / "x").put(NAME, b"x")):
        with pytest.raises(StoreUnavailable) as caught:
            asyncio.run(call)
        assert caught.value.trouble is Trouble.NO_BUCKET


def test_an_abandoned_reader_holds_nothing(tmp_path: Path) -> None:
    """Opening an image, and reading a part of it, leaves no file open."""

    async def story() -> None:
        store = LocalStore(tmp_path)
        await store.put(NAME, bytes(3 << 20))
        before = len(list(Path("/proc/self/fd").iterdir()))  # noqa: ASYNC240 -- a directory of the kernel
        for _ in range(10):
            image = await store.open(NAME)
            assert image is not None
            reader = image.read()
            await anext(reader)
        assert len(list(Path("/proc/self/fd").iterdir())) == before  # noqa: ASYNC240 -- the same

    asyncio.run(story())


def test_a_shrunken_file_is_no_silent_success(tmp_path: Path) -> None:
    """An image that somebody cut short while it was read is an error, not a short image."""

    async def story() -> None:
        store = LocalStore(tmp_path)
        await store.put(NAME, b"image")
        image = await store.open(NAME)
        assert image is not None
        os.truncate(tmp_path / SHARD / NAME, 2)
        with pytest.raises(StoreUnavailable, match="shorter"):
            assert [piece async for piece in image.read()]

    asyncio.run(story())
