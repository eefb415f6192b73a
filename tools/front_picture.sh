#!/bin/sh
# Makes assets/front.jpg, the picture at the head of README.md: frames of two shipped clips, with boxes above and with faces
# covered below, by the program itself. Needs ffmpeg and a built program.
set -eu
cd "$(dirname "$0")/.."
program=${PROGRAM:-target/release/facecascade}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ff="ffmpeg -nostdin -v error -y"

columns=0
# Clips and the numbers of their frames (from 0) to show.
for choice in two-faces-tilting:0 two-faces-tilting:50 three-faces-approaching:20 three-faces-approaching:40; do
    clip=${choice%:*} frame=${choice#*:}
    for way in "faces" "covered --redact blur"; do
        name=$clip-${way%% *}
        # shellcheck disable=SC2086  # the options of a way are a list
        [ -e "$work/$name.mp4" ] || "$program" video -q "assets/$clip.mp4" -o "$work/$name.mp4" ${way#"${way%% *}"} >/dev/null
        # shellcheck disable=SC2086
        $ff -i "$work/$name.mp4" -vf "select=eq(n\,$frame),scale=320:180" -frames:v 1 "$work/$columns-${way%% *}.png"
    done
    columns=$((columns + 1))
done
$ff -i "$work/%d-faces.png" -i "$work/%d-covered.png" \
    -filter_complex "[0]tile=${columns}x1[above];[1]tile=${columns}x1[below];[above][below]vstack" \
    -frames:v 1 -q:v 4 assets/front.jpg
