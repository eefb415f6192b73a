//! `live` from addresses and pipes: a stream that is lost is opened again.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]
#![cfg(feature = "camera")]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use common::clips::Clips;
use common::{Ran, frames, program};

const SOURCE: &str = "-f lavfi -i testsrc2=s=96x64:r=10:d=2 -c:v libx264 -bf 0 -g 5";

/// Gives `bytes` to everybody who connects, and hangs up each time; where `web`, as an answer to what was asked.
fn serve(bytes: Vec<u8>, web: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            if web {
                let _ = stream.read(&mut [0; 4096]);
                let head = "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nConnection: close\r\nContent-Length:";
                let _ = write!(stream, "{head} {}\r\n\r\n", bytes.len());
            }
            let _ = stream.write_all(&bytes);
        }
    });
    port
}

fn live(clips: &Clips, arguments: &[&str]) -> Ran {
    let mut command = program();
    command.args(["live", "--headless", "--record", "out.mp4"]).args(arguments);
    command.current_dir(clips.dir()).output().unwrap().into()
}

#[test]
fn a_stream_that_ends_is_opened_again() {
    let Some(clips) = Clips::new() else { return };
    clips.make("a.ts", SOURCE);
    let port = serve(std::fs::read(clips.path("a.ts")).unwrap(), false);
    let ran = live(&clips, &["--seconds", "15", "--source", &format!("tcp://127.0.0.1:{port}")]);
    ran.exits(0).complains("it is retried").complains("is back");
    assert!(frames(&clips.path("out.mp4")) > 0);
}

#[test]
fn a_film_at_an_address_is_shown_to_its_end() {
    let Some(clips) = Clips::new() else { return };
    clips.make("a.mp4", &format!("{SOURCE} -movflags +faststart"));
    let port = serve(std::fs::read(clips.path("a.mp4")).unwrap(), true);
    live(&clips, &["--source", &format!("http://127.0.0.1:{port}/a.mp4")]).exits(0);
    assert!(frames(&clips.path("out.mp4")) > 5);
}

#[test]
fn an_address_that_nobody_answers_is_named_without_its_password() {
    let Some(clips) = Clips::new() else { return };
    let ran = live(&clips, &["--source", "rtsp://me:secret@127.0.0.1:9/x"])
        .exits(1)
        .complains("rtsp://127.0.0.1:9/x: can't be read (");
    assert!(!ran.err.contains("secret"), "{}", ran.err);
}

#[cfg(unix)]
#[test]
fn standard_input_is_shown_like_a_file() {
    let Some(clips) = Clips::new() else { return };
    clips.make("a.ts", SOURCE);
    let script =
        format!("cat a.ts | '{}' live --headless --source - --record out.mp4", env!("CARGO_BIN_EXE_facecascade"));
    let ran: Ran = Command::new("bash").args(["-c", &script]).current_dir(clips.dir()).output().unwrap().into();
    ran.exits(0);
    assert!(frames(&clips.path("out.mp4")) > 5);
}
