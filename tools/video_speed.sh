#!/bin/bash
# Compares the speed of `facecascade video` with that of its parts: decoding, encoding and detecting alone, with the same settings
# and threads, in turns within the same minutes; the best of three rounds (ROUNDS) counts for each. Needs ffmpeg and a built program.
#   tools/video_speed.sh [CLIP]     CLIP: by default one of the shipped clips, at 1280×720 for 20 seconds
set -euo pipefail
cd "$(dirname "$0")/.."
program=${PROGRAM:-target/release/facecascade}
cores=${THREADS:-$(nproc)}
encoder=$((cores > 1 ? cores + 1 : 1))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ff="ffmpeg -nostdin -v error -y"
x264="-c:v libx264 -preset veryfast -crf 20"

clip=${1:-}
if [ -z "$clip" ]; then
    clip=$work/clip.mp4
    $ff -stream_loop -1 -i assets/three-faces-approaching.mp4 -vf scale=1280:720:flags=bicubic,fps=30 -t 20 $x264 \
        -pix_fmt yuv420p "$clip"
fi
show() { ffprobe -v error -select_streams v:0 -show_entries "$1" -of csv=p=0 "$clip" | tr -d ' '; }
size=$(show stream=width,height | tr , x)
rate=$(show stream=r_frame_rate)
frames=$(ffprobe -v error -select_streams v:0 -count_packets -show_entries stream=nb_read_packets -of csv=p=0 "$clip" | tr -d ' ,')
# The encoder's input, and frames that take next to no time to decode. Both stay in the system's file cache.
$ff -i "$clip" -f rawvideo -pix_fmt yuv420p "$work/planes"
$ff -i "$clip" -c:v rawvideo -pix_fmt rgb24 "$work/frames.nut"

decode() { $ff -threads "$cores" -i "$clip" -f rawvideo -pix_fmt rgb24 pipe:1 | cat > /dev/null; }
encode() {
    $ff -f rawvideo -pixel_format yuv420p -video_size "$size" -framerate "$rate" -i "$work/planes" $x264 \
        -threads "$1" "$work/encoded.mp4"
}
video() { "$program" video -q --threads "$cores" "$@" > /dev/null; }
parts="decode encode detect video redact"
part() {
    case $1 in
        decode) decode ;;
        encode) encode "$encoder" ;;
        detect) video "$work/frames.nut" --json "$work/faces.jsonl" --no-track ;;
        video) video "$clip" -o "$work/faces.mp4" --json "$work/faces.jsonl" ;;
        redact) video "$clip" -o "$work/faces.mp4" --redact blur ;;
    esac
}
for round in $(seq "${ROUNDS:-3}"); do
    for part in $parts; do
        begin=$(date +%s.%N)
        part "$part"
        echo "$part $begin $(date +%s.%N)"
    done
done | awk -v frames="$frames" -v size="$size" -v cores="$cores" -v encoder="$encoder" '
    { took = $3 - $2; if (!($1 in best) || took < best[$1]) best[$1] = took }
    function row(part, text) { printf "%-44s %7.1f\n", text, frames / best[part] }
    END {
        printf "%d frames of %s, %d cores                    frames/s\n", frames, size, cores
        row("decode", "decoding alone, to RGB through a pipe")
        row("encode", "encoding alone, threads as in video: " encoder)
        row("detect", "detecting alone, with reading raw frames")
        row("video", "facecascade video -o --json")
        row("redact", "facecascade video --redact blur")
        slowest = best["decode"]
        # Each part alone has all cores, so the whole can be faster than this sum only by what the parts leave idle.
        best["sum"] = best["decode"] + best["encode"] + best["detect"]
        if (best["encode"] > slowest) slowest = best["encode"]
        if (best["detect"] > slowest) slowest = best["detect"]
        row("sum", "the three alone, one after the other")
        printf "video / slowest part alone %.2f, redacting %.2f;", slowest / best["video"], slowest / best["redact"]
        printf " video / the three one after the other %.2f\n", best["sum"] / best["video"]
    }'
