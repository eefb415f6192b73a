#!/bin/bash
# Uncovered face-frames on films in which a search alone misses faces, made from the shipped clips with ffmpeg. The known faces are those
# that the cascade finds in the plain clip, frame by frame; each is to be covered in the film by `facecascade video --redact`.
#
# usage: tools/leaks.sh [CLIP…]    names in assets/ without .mp4, of 480×270 at 12 frames/s. BIN: the program.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
BIN=$(realpath "${BIN:-$root/target/release/facecascade}")
[ $# -gt 0 ] || set -- two-faces-tilting three-faces-approaching
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# film NAME COUNT TRUTH FFMPEG_OPTIONS…: makes the film, covers it and prints a line. TRUTH: Python, the faces of frame k from `faces`,
# those of the plain clip, and `other`, those of another one; `scaled` and `mirrored` change them.
film() {
    local name=$1 count=$2 truth=$3
    shift 3
    ffmpeg -v error -y -nostdin -i clip.mp4 "$@" -fps_mode passthrough -c:v libx264 -qp 12 film.mp4
    COUNT=$count TRUTH=$truth python3 - <<'P'
import json, os
def known(file):
    return [json.loads(line)["faces"] for line in list(open(file))[1:]]
faces, other = known("known.jsonl"), known("other.jsonl")
def scaled(list, sx, sy):
    return [dict(f, x=f["x"] * sx, y=f["y"] * sy, w=f["w"] * sx, h=f["h"] * sy) for f in list]
def mirrored(list):
    return [dict(f, x=480 - f["x"] - f["w"]) for f in list]
of = eval("lambda k: " + os.environ["TRUTH"])
with open("truth.jsonl", "w") as out:
    for k in range(int(os.environ["COUNT"])):
        out.write(json.dumps({"frame": k, "faces": of(k)}) + "\n")
P
    "$BIN" video -q film.mp4 --redact solid -o out.mp4 --json run.jsonl >/dev/null
    "$BIN" eval --redaction --truth truth.jsonl --covers run.jsonl --json | NAME=$name CLIP=$clip python3 -c '
import json, os, sys
row = json.load(sys.stdin)["redaction"][0]
total, still_open = (sum(size[key] for size in row["sizes"].values()) for key in ("faces", "open"))
name = os.environ["CLIP"] + ", " + os.environ["NAME"]
wrong, frames = row["wrong"], row["pictures"]
print(f"{name:<56}{total:>11}{still_open:>11}{wrong / max(frames, 1):>14.2f}")'
}

printf '%-56s%11s%11s%14s\n' film face-frames uncovered 'wrong covers'
for clip in "$@"; do
    if [ "$clip" = two-faces-tilting ]; then other=three-faces-approaching; else other=two-faces-tilting; fi
    cp "$root/assets/$other.mp4" other.mp4
    "$BIN" video -q other.mp4 --no-track --json other.jsonl >/dev/null
    cp "$root/assets/$clip.mp4" clip.mp4
    "$BIN" video -q clip.mp4 --no-track --json known.jsonl >/dev/null
    film "as it is" 60 'faces[k]' -frames:v 60
    # Its first frame is black.
    film "fading in for 2.5 s" 60 'faces[k] if k else []' -frames:v 60 -vf fade=in:0:30
    # A quarter of a second in, the face begins to be there.
    film "dissolving for 2 s" 60 'faces[k - 12] if k >= 15 else []' -f lavfi -i testsrc2=s=480x270:r=12 -filter_complex \
        '[1]trim=0:4,setpts=PTS-STARTPTS,settb=1/12,format=yuv420p[m];[0]trim=0:4,setpts=PTS-STARTPTS,settb=1/12,format=yuv420p[f];[m][f]xfade=duration=2:offset=1[v]' \
        -map '[v]' -frames:v 60
    parts='[1]trim=0:4,setpts=PTS-STARTPTS,settb=1/12,setsar=1,format=yuv420p[b];[0]trim=0:4,setpts=PTS-STARTPTS,settb=1/12,setsar=1,format=yuv420p[a];[a][b]'
    # An eighth of a face is nothing that could be known.
    film "dissolving away for 2 s" 60 'faces[k] if k < 33 else []' -f lavfi -i testsrc2=s=480x270:r=12 -filter_complex \
        "${parts}xfade=duration=2:offset=1[v]" -map '[v]' -frames:v 60
    film "dissolving into another for 3 s" 60 '(faces[k] if k < 43 else []) + (other[k - 12] if k > 16 else [])' -i other.mp4 -filter_complex \
        "${parts}xfade=duration=3:offset=1[v]" -map '[v]' -frames:v 60
    film "flashes" 60 'faces[k]' -frames:v 60 \
        -vf "eq=brightness=0.6:enable='eq(mod(n,9),4)',eq=brightness=-0.4:enable='eq(mod(n,9),7)'"
    film "a pause of 30 s" 40 'faces[k]' -frames:v 40 -vf 'setpts=PTS+gte(N\,20)*30/TB'
    film "a cut every 13 frames" 52 'other[k] if k // 13 % 2 else faces[k]' -i other.mp4 -frames:v 52 \
        -filter_complex "[0][1]overlay=enable='eq(mod(floor(n/13),2),1)'"
    film "a cut to itself mirrored, every 13 frames" 52 'mirrored(faces[k]) if k // 13 % 2 else faces[k]' -frames:v 52 \
        -vf "hflip=enable='eq(mod(floor(n/13),2),1)'"
    dim="eq=brightness=0.42:contrast=0.25:enable='between(mod(n,20),8,11)'"
    for rate in 1 2 12; do
        film "dim for 4 frames, $rate frames/s" 36 'faces[k]' -frames:v 36 -vf "$dim,setpts=N/$rate/TB" -r $rate
    done
    for rate in 60 120 240; do
        times=$((rate / 12))
        film "dim for 1/3 s, $rate frames/s" $((36 * times)) "faces[k // $times]" -vf "$dim,fps=$rate" -frames:v $((36 * times))
    done
    for shape in 960:540:1/1 480:540:2/1 720:576:64/45 720:540:4/3 1440:540:2/3; do
        IFS=: read -r width height ratio <<<"$shape"
        film "pixels of ${ratio/\//:}" 24 "scaled(faces[k], $width / 480, $height / 270)" -frames:v 24 \
            -vf "scale=$width:$height:flags=lanczos,setsar=$ratio"
    done
done
