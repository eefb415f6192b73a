//! `video` from pipes, addresses and pictures: nothing hangs, and what comes out is whole.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::clips::Clips;
use common::{Ran, ffprobe, frames, program};

const SOURCE: &str = "-f lavfi -i testsrc2=s=96x64:r=10:d=1 -f lavfi -i sine=d=1 -c:v libx264 -c:a aac";

/// Runs the program in a shell: `$P` is `facecascade video -q`.
fn shell(clips: &Clips, script: &str) -> Ran {
    let script = format!("P='{} video -q'; {script}", env!("CARGO_BIN_EXE_facecascade"));
    Command::new("bash").args(["-c", &script]).current_dir(clips.dir()).output().unwrap().into()
}

fn is_whole(file: &Path) {
    assert_eq!(frames(file), 10);
    assert_eq!(ffprobe(file, "-select_streams a -show_entries stream=codec_name"), "aac");
}

#[cfg(unix)]
#[test]
fn standard_input_and_pipes_are_read_to_their_end() {
    let Some(clips) = Clips::new() else { return };
    clips.make("a.ts", SOURCE);
    // Its index lies at the end: no player could begin before all is there.
    clips.make("a.mp4", SOURCE);
    for script in [
        "cat a.ts | $P - -o out.mp4",
        "cat a.mp4 | $P - -o out.mp4",
        "$P - -o out.mp4 < a.mp4",
        "$P <(cat a.ts) -o out.mp4",
        "mkfifo p && { cat a.mp4 > p & $P p -o out.mp4; }",
        "cat a.mp4 | $P - && mv stdin-faces.mp4 out.mp4",
    ] {
        shell(&clips, script).exits(0);
        is_whole(&clips.path("out.mp4"));
        std::fs::remove_file(clips.path("out.mp4")).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_with_nothing_or_no_video_is_one_error() {
    let Some(clips) = Clips::new() else { return };
    let err = shell(&clips, "$P - -o out.mp4 < /dev/null").exits(1).complains("-: is empty (0 bytes)").err;
    assert_eq!(err.trim().lines().count(), 1, "{err}");
    let err =
        shell(&clips, "yes nonsense | head -c 100000 | $P - -o out.mp4").exits(1).complains("-: is not a video").err;
    assert_eq!(err.trim().lines().count(), 1, "{err}");
    assert!(!clips.path("out.mp4").exists() && clips.is_empty_of_partials());
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_video_is_read_from_an_address_also_where_the_server_gives_it_only_from_its_beginning() {
    let Some(clips) = Clips::new() else { return };
    clips.make("a.mp4", SOURCE);
    let server = Command::new("python3")
        .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"])
        .current_dir(clips.dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(server) = server else { return eprintln!("skipped: python3 is not installed") };
    let mut server = Server(server);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.split("port ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let address = |name: &str| format!("http://me:secret@127.0.0.1:{port}/{name}");
    clips.run(&[&address("a.mp4"), "-o", "out.mp4", "--json", "out.jsonl"]).exits(0);
    is_whole(&clips.path("out.mp4"));
    let records = std::fs::read_to_string(clips.path("out.jsonl")).unwrap();
    assert!(records.contains("127.0.0.1") && !records.contains("secret"));
    let ran = clips.run(&[&address("no.mp4"), "-o", "x.mp4"]).exits(1).complains("404");
    assert!(!ran.err.contains("secret"), "{}", ran.err);
}

#[test]
fn numbered_pictures_and_a_folder_of_them_are_films() {
    let Some(clips) = Clips::new() else { return };
    std::fs::create_dir(clips.path("film")).unwrap();
    clips.make(
        "film/f_%05d.png",
        "-f lavfi -i testsrc2=s=96x64:r=10:d=1.2 -vf scale=97:64 -pix_fmt rgb24 -start_number 95",
    );
    for input in ["film/f_%05d.png", "film"] {
        clips.run(&[input, "--frame-rate", "10", "-o", "out.mp4", "--json", "out.jsonl"]).exits(0);
        let out = clips.path("out.mp4");
        assert_eq!(ffprobe(&out, "-show_entries stream=width,height,r_frame_rate,nb_frames"), "98,64,10/1,12");
        let records = std::fs::read_to_string(clips.path("out.jsonl")).unwrap();
        assert!(records.contains(r#""width":97,"height":64,"fps":10.0"#) && records.contains(r#""frame":11,"t":1.1,"#));
    }
    clips.run(&["film"]).exits(0);
    assert_eq!(frames(&clips.path("film-faces.mp4")), 12);
    // A picture that is damaged ends the film, and says which.
    std::fs::write(clips.path("film/f_00100.png"), "no picture").unwrap();
    clips.run(&["film", "-o", "short.mp4"]).exits(1).complains("f_00100.png");
    assert_eq!(frames(&clips.path("short.mp4")), 5);
    clips.run(&["none/%05d.png", "-o", "x.mp4"]).exits(1).complains("none");
}

#[test]
fn an_address_that_nobody_answers_is_one_error() {
    if !common::ffmpeg_is_here() {
        return;
    }
    let ran: Ran = program().args(["video", "rtsp://127.0.0.1:9/x", "-o", "x.mp4"]).output().unwrap().into();
    ran.exits(1).complains("rtsp://127.0.0.1:9/x: can't be read");
}
