r"""Remember a directory: snapshots that are committed whole or do not exist, and restores that verify every byte.

Terminology
    A *pack* is a run of raw bytes named by their blake3 hash. An *extent* says which bytes of a file are which bytes
    of a pack. A *slice* is one of the equal parts a large file is cut into, a pack each; small files share packs. A
    *manifest* lists what a directory held, with extents for the contents. A *snapshot* is a manifest and the packs it
    names. It is *committed* once its manifest is in the store.

The promise everything rests on
    A pack is never changed, and a manifest is written last, once, and never changed. So whoever sees a manifest can
    restore it, whatever happened to the writer; what a writer left without a manifest means nothing; and a pack that
    one snapshot has sent, the next one refers to.

Layout

    runs/<run>/packs/<hash>                        raw bytes, or one zstd frame of them if that is shorter (pack.py)
    runs/<run>/snapshots/<n>-<k>.json.zst          one zstd frame, with checksum, of JSON lines (core/manifest.py):
    │
    ├── {"format":"spotrelay-manifest","version":1,"run":"demo","snapshot":"2-7"}
    ├── {"kind":"directory","path":"","mode":493,"mtime":<ns>,"uid":1000,"gid":1000}         the directory itself
    ├── {"kind":"pack","number":7,"hash":"9f2c…","size":16777216,"stored":9123456}    before its first use
    ├── {"kind":"file","path":"w.bin","mode":…,"mtime":…,"uid":…,"gid":…,"size":16777300,
    │       "extents":[[0,7,0,16777216],[16777216,9,0,84]],      [offset in file, pack's number, offset in pack, length]
    │       "linked":true,                                       if other names of the same file may follow
    │       "state":"kept",                                      or "torn" or "moving", see below
    │       "xattrs":{"user.note":"aGk="}}                       base64
    ├── {"kind":"hardlink","path":"x.bin","target":"w.bin"}
    ├── {"kind":"symlink","path":"latest",…,"target":"w.bin"}
    ├── {"kind":"fifo","path":"pipe",…}
    ├── {"kind":"skipped","path":"sock","reason":"a socket"}                  was there, is not in the snapshot
    └── {"kind":"end","entries":6,"packs":2,"bytes":16777300}                 a manifest cut short is invalid

    A pack's number is its own for as long as an agent lives, so that the rows of what did not change are the same in
    the next manifest. Numbers have gaps, and mean nothing outside of their manifest.

What is kept
    Names of any bytes, modes, times of change in nanoseconds, uid and gid as numbers (given back by a restoring
    root), targets of symlinks, hard links between regular files, holes, user.* attributes, empty directories, FIFOs.
    The numbers are those of the run's machines, which are of one image. A run's first snapshot (attempt 0) is of a
    person's computer, whose numbers mean somebody else there: where the run names a user, all of it becomes that
    user's, without set-id bits.
    Not kept: sockets, devices, other mounts, other attributes (ACLs, capabilities, labels), times of access, anything
    below 200 directories.

Change
    A file is the same as long as size, mtime, ctime and inode are. One that changes while it is read is read again,
    three times in all; then the snapshot has its last consistent version ("kept"), or, if there is none, what was
    read ("torn"). What grows under every read is kept as it was at one of them. Beside a running command all of it has
    to be of one moment (still.py); where that could not be had, files that moved meanwhile are "moving".
"""

from __future__ import annotations

from spotrelay.snapshot.snapshots import Progress, Published, Restored, Saved, Snapshots

__all__ = ["Progress", "Published", "Restored", "Saved", "Snapshots"]
