"""Checkpoints that were being written when their machine died: never what a command goes on from.

A snapshot is a moment of the directory, whole and exact (P2); but in that moment the *program* may have been in the
midst of a file. Some write beside the old one and rename; many do not, and some only believe that they do: Lightning
writes into the folder for temporary files and moves, which is a copy where /tmp is another file system; Transformers'
Trainer writes a folder file by file, and resumes from the newest, whatever is in it.

Where this is looked after
    After a restore, before the command starts. Not in a save: a snapshot stays what was there, for whoever wants to
    look; a check costs a save seconds that it may not have; and the file may be whole again in the next moment.

What is done
    1. The directory is made what it would have been had the machine died just before that checkpoint was begun. The
       unfinished file, or folder, is set aside as `.spotrelay-unfinished/<attempt>/<its path>.unfinished`: both the
       folder and the ending, so that neither "newest *.ckpt below here" nor "whatever begins with last" finds it.
       Nothing is deleted.
    2. A file that had been whole under this name before is put back from the newest earlier snapshot that has it so.
       A state in which the program might have died anyway: every file besides is as it was.
    3. The log, status and hand-over of the attempt say so, and the rehearsal's report.

What is not done
    Another file is not judged by this one: a program that keeps model and optimizer in two files and is killed between
    them has a mixture, with or without us. And going back to an earlier *snapshot*, in which all was whole, would
    throw away what else was done since.
    Nor is anything touched that is older than the run: a broken file that somebody brought along is theirs.

What a person may choose ([save] unfinished): `previous`, this; `aside`, without the second step; `keep`, nothing.

    formats     is this file whole, as far as its format tells?
    folders     is this folder?
    mending     set aside, and put back
"""
