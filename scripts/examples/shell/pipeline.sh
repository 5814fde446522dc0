#!/bin/sh
# A job of many parts, each a pipeline: transcoding, conversion, a simulation's frames. What is there is not made again.
#
# A part is written under another name and renamed when it is whole, so nothing has to be caught: SIGTERM ends the
# pipeline where it is, and that one part is begun again.
set -eu
mkdir -p parts

for part in $(seq 1 "${PARTS:-24}"); do
    if [ ! -e "parts/$part.gz" ]; then
        echo "part $part"
        # The sleep is only so that there is time to interrupt so small a job.
        { sleep "${PACE:-0}"; seq "$part" 7 200000; } | awk '{ print $1 * $1 % 9973 }' | sort -n | uniq -c | gzip -n >"parts/$part.unfinished"
        mv "parts/$part.unfinished" "parts/$part.gz"
    fi
done

echo "result $(for part in $(seq 1 "${PARTS:-24}"); do gzip -dc "parts/$part.gz"; done | sha256sum | cut -d' ' -f1)"
