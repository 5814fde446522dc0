"""An S3 in memory, fast enough to measure clients against, and wrong on request.

1. `wire` speaks HTTP: a body lands where it stays, an answer is sent from where it lies, neither is copied.
2. `actions` is what S3 means by a request: objects, multipart uploads, lists, conditions. Path style only.
3. `storage` keeps buckets, `memory` their bytes; `bodies` undoes what clients wrap around a body.
4. `mischief` is what makes it slow or wrong: latency, a rate for each connection, refusals, cuts, stalls, flips.
5. `control` is the bench's own door: counts, a clean slate, knobs, hashes of what is stored. Below `/_`, which no
   bucket may be called.

Whoever asks may: no signature is looked at. Every client pays for signing, none for a check.
"""
