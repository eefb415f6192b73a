//! `facecascade monitor`, followed in a real browser and asked what it must not answer.
#![cfg(feature = "monitor")]

#[path = "common/browser.rs"]
#[allow(clippy::print_stderr, unreachable_pub, missing_docs, reason = "a module of tests")]
mod browser;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use browser::{Answer, Browser, request, until};

/// The program `facecascade monitor` on some runs.
struct Monitor {
    child: Child,
    port: u16,
}

impl Monitor {
    fn start(runs: &[&Path]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_facecascade"));
        command.arg("monitor").args(runs).args(["--port", "0"]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.split("http://127.0.0.1:").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
        Self { child, port: port.unwrap_or_else(|| panic!("no address in {line:?}")) }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "localhost")
    }

    fn ask(&self, method: &str, path: &str, host: &str) -> Answer {
        request(self.port, &format!("{method} {path} HTTP/1.1\r\nHost: {host}"), "")
    }

    fn json(&self, path: &str) -> serde_json::Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// The loss of the stage `net` in the first run, once it has so many points.
    fn losses(&self, points: usize) -> Vec<f64> {
        until("losses", || {
            let answer = self.json("/api/curves?stage=net&figure=loss&runs=0&points=4000");
            let curve = &answer["curves"][0];
            let losses: Vec<f64> = curve["low"].as_array()?.iter().filter_map(serde_json::Value::as_f64).collect();
            (losses.len() >= points).then_some(losses)
        })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn append(run: &Path, text: impl AsRef<[u8]>) {
    let mut file = OpenOptions::new().create(true).append(true).open(run.join("events.jsonl")).unwrap();
    file.write_all(text.as_ref()).unwrap();
}

fn step(stage: &str, step: usize, loss: impl std::fmt::Display) -> String {
    let accuracy = 1.0 - 0.5 / (1.0 + step as f64 / 50.0);
    format!(
        "{{\"event\":\"step\",\"stage\":\"{stage}\",\"step\":{step},\"steps\":1000,\"loss\":{loss},\"accuracy\":{accuracy},\"rate\":0.001,\
         \"gradient_norm\":2.5,\"samples\":{},\"samples_per_second\":500.0,\"multiply_adds_per_second\":1e9}}\n",
        (step + 1) * 32
    )
}

fn steps(stage: &str, range: std::ops::Range<usize>, loss: impl Fn(usize) -> f64) -> String {
    range.map(|i| step(stage, i, loss(i))).collect()
}

/// A run's folder with a recipe.
fn run(folder: &Path, name: &str, peak: &str) -> std::path::PathBuf {
    let run = folder.join(name);
    fs::create_dir_all(&run).unwrap();
    let recipe = format!("net = \"net\"\nseed = 1\n[[round]]\nschedule = {{ steps = 1000, peak = {peak} }}\n");
    fs::write(run.join("net.toml"), recipe).unwrap();
    run
}

/// How many dots of a run's colour the chart of losses has, right of a share of its width.
fn dots(browser: &Browser, run: usize, from: f64) -> u64 {
    let script = format!(
        "const c = document.querySelector('#chart-loss canvas');
         const wanted = getComputedStyle(document.documentElement).getPropertyValue('--run-{run}').trim();
         const [r, g, b] = [1, 3, 5].map(i => parseInt(wanted.slice(i, i + 2), 16));
         const x = Math.floor(c.width * {from});
         const d = c.getContext('2d').getImageData(x, 0, c.width - x, c.height).data;
         let n = 0;
         for (let i = 0; i < d.length; i += 4)
           if (d[i + 3] > 128 && Math.abs(d[i] - r) + Math.abs(d[i + 1] - g) + Math.abs(d[i + 2] - b) < 60) n++;
         return n"
    );
    browser.run(&script).as_u64().unwrap()
}

#[test]
fn a_reader_follows_two_runs_compares_them_zooms_and_saves_a_chart() {
    let Some(browser) = Browser::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = [run(dir.path(), "first", "0.001"), run(dir.path(), "second <b>", "0.002")];
    let monitor = Monitor::start(&[&first, &second]);
    browser.open(&monitor.url());
    browser.wait("document.querySelector('#empty').innerText.includes('Waiting for the first event of')");
    assert!(browser.text("#run-list").contains("waiting for the first event of"));

    // A curve appears, and grows.
    let loss = |i: usize| 4.0 + 16.0 / (1.0 + i as f64 / 20.0) + (i * 7919 % 100) as f64 / 50.0;
    append(&first, "{\"event\":\"start\",\"stage\":\"net\",\"step\":0,\"steps\":1000,\"seed\":1}\n");
    append(&first, steps("net", 0..200, loss));
    browser.wait("document.querySelector('#chart-loss .plot').ariaLabel?.includes('steps 0 to 200')");
    assert!(dots(&browser, 0, 0.2) > 100);
    append(&first, steps("net", 200..600, loss));
    browser.wait("document.querySelector('#chart-loss .plot').ariaLabel.includes('steps 0 to 600')");
    browser.wait("document.querySelector('#run-list').innerText.includes('step 600 of 1,000')");
    for chart in ["loss", "error", "accuracy", "rate", "gradient_norm", "samples_per_second"] {
        assert_eq!(browser.run(&format!("return document.querySelector('#chart-{chart}').hidden")), false, "{chart}");
    }
    assert_eq!(browser.run("return document.querySelector('#chart-ap_h20').hidden"), true);

    // A second run lies over it.
    assert_eq!(dots(&browser, 1, 0.2), 0);
    append(&second, steps("net", 0..600, |i| loss(i) + 3.0));
    browser.wait("document.querySelectorAll('#chart-loss tbody tr').length === 2");
    let validation = "{\"event\":\"validation\",\"stage\":\"net\",\"step\":500,\"samples\":1,\"loss\":5.5,\"accuracy\":0.75,\
                      \"sets\":[{\"set\":\"held back\",\"ap_h20\":0.5,\"ap_h40\":0.6,\"recall_h20\":0.7}]}\n";
    append(&second, validation);
    browser.wait("document.querySelector('#chart-loss thead').innerText.includes('validation')");
    browser.wait("document.querySelector('#chart-ap_h20 tbody')?.innerText.includes('0.5')");
    let table = browser.text("#chart-loss table");
    assert!(table.contains("first") && table.contains("second <b>") && table.contains("5.5"), "{table}");
    assert!(dots(&browser, 1, 0.2) > 100);
    let recipes = browser.text("#recipe-table");
    assert!(
        recipes.contains("round.1.schedule.peak") && recipes.contains("0.002") && !recipes.contains("seed"),
        "{recipes}"
    );
    browser.click("#run-list li:nth-child(2) input");
    browser.wait("document.querySelectorAll('#chart-loss tbody tr').length === 1");
    browser.click("#run-list li:nth-child(2) input");
    browser.wait("document.querySelectorAll('#chart-loss tbody tr').length === 2");

    // Zooming, by finger, by mouse and by keyboard.
    browser.drag("touch", "#chart-loss .u-over", 0.25, 0.5);
    browser.wait("document.querySelector('#range').innerText.match(/^steps 1[45]\\d to (29|30)\\d$/)");
    browser.click("#reset");
    browser.wait("document.querySelector('#reset').disabled");
    browser.drag("mouse", "#chart-loss .u-over", 0.25, 0.5);
    browser.wait("document.querySelector('#range').innerText.match(/^steps 1[45]\\d to (29|30)\\d$/)");
    browser.wait("document.querySelector('#chart-error .plot').ariaLabel.includes('steps 1')");
    browser.click("#reset");
    browser.wait("document.querySelector('#range').innerText === '' && document.querySelector('#reset').disabled");
    browser.wait("document.querySelector('#chart-loss .plot').ariaLabel.includes('steps 0 to 600')");
    const ARROW_LEFT: &str = "\u{e012}";
    browser.keys("#chart-loss .plot", &ARROW_LEFT.repeat(3));
    browser.wait("document.querySelector('#spoken').innerText.startsWith('Loss, step 5')");
    assert!(browser.text("#chart-error caption").starts_with("At step 5"), "all charts show one cursor");
    browser.keys("#chart-loss .plot", "+");
    browser.wait("!document.querySelector('#reset').disabled");
    browser.keys("#chart-loss .plot", "\u{e00c}");
    browser.wait("document.querySelector('#reset').disabled");

    // Logarithmic, and without smoothing.
    browser.click("#log");
    browser.run("const s = document.querySelector('#smooth'); s.value = 0; s.dispatchEvent(new Event('input'))");
    browser.wait("!document.querySelector('#chart-loss thead').innerText.includes('smoothed')");
    assert!(dots(&browser, 0, 0.2) > 100);

    // Files.
    browser.click("#chart-loss .exports button:nth-child(1)");
    let picture = image::load_from_memory(&browser.saved("loss-net.png")).unwrap();
    assert!(picture.width() > 300 && picture.height() > 250);
    browser.click("#chart-loss .exports button:nth-child(2)");
    let drawing = String::from_utf8(browser.saved("loss-net.svg")).unwrap();
    assert!(drawing.contains("<polygon") && drawing.contains("second &lt;b&gt;, training"), "{drawing}");
    browser.click("#chart-loss .exports a");
    let numbers = String::from_utf8(browser.saved("loss.csv")).unwrap();
    assert_eq!(numbers.lines().count(), 1 + 2 * 600 + 1, "a row for each value");
    assert!(numbers.contains("second <b>,net,loss,validation,500,5.5"), "{}", &numbers[..200]);

    for (name, width, scheme) in [("light.png", 1400, "light"), ("dark.png", 1400, "dark"), ("phone.png", 390, "light")]
    {
        browser.look(width, 1000, scheme);
        std::thread::sleep(Duration::from_millis(1500));
        browser.screenshot(name);
        let wide = browser.run("return document.documentElement.scrollWidth").as_u64().unwrap();
        assert!(wide <= u64::from(width), "{name}: the page is {wide} pixels wide");
    }
    // That dots are counted is this test's own doing.
    let complaints = browser.complaints().into_iter().filter(|c| !c.contains("willReadFrequently"));
    assert_eq!(complaints.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_hostile_record_is_shown_as_far_as_it_can_be_read_and_its_names_are_only_text() {
    let Some(browser) = Browser::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let folder = run(dir.path(), "<img src=x onerror=hacked=1>", "1.0");
    let recipe = "net = \"<script>hacked=1</script>\"\n\"<img src=x onerror=hacked=1>\" = 1\n";
    fs::write(folder.join("x.toml"), recipe).unwrap();
    let stage = "<script>hacked=1<\\/script><img src=x onerror=hacked=1>";
    let monitor = Monitor::start(&[&folder]);
    browser.open(&monitor.url());
    append(&folder, steps(stage, 0..100, |i| i as f64));
    append(&folder, [b"{\"event\":\"step\",\"stage\":\"", &vec![b'x'; 10 << 20][..], b"\"}\n"].concat());
    append(&folder, step(stage, 100, "NaN") + &step(stage, 101, "-Infinity") + &step(stage, 102, "null"));
    append(&folder, format!("{{\"event\":\"step\",\"loss\":{}\n", "[".repeat(50_000)));
    append(&folder, b"{\"event\":\"step\",\"stage\":\"\xf0\x9f\n\xff\xfe\0\0\n\n[]\n7\n");
    append(&folder, step(stage, 103, 1e300) + &step(stage, 104, 5.0));
    let pictures = "{\"event\":\"pictures\",\"stage\":\"STAGE\",\"step\":3,\"pictures\":[{\"file\":\"../../secret.png\",\"shows\":\"<img src=x onerror=hacked=1>\"}]}\n";
    append(&folder, pictures.replace("STAGE", stage));
    append(&folder, &step(stage, 105, 1.0).as_bytes()[..40]);
    browser.wait("document.querySelector('#run-list').innerText.includes('step 105 of 1,000')");
    browser.wait("document.querySelector('#run-list').innerText.includes('3 values are NaN or infinite')");
    browser.wait("document.querySelector('#run-list').innerText.includes('6 lines could not be read')");
    browser.wait("document.querySelector('#chart-loss tbody')?.innerText.includes('× 3 not a number')");
    browser.wait("document.querySelector('#picture-list figcaption')?.innerText.includes('onerror')");
    assert!(browser.text("#run-list").contains("<img src=x onerror=hacked=1>"));
    assert_eq!(
        browser.run("return [typeof hacked, document.querySelectorAll('img[src=x], main script').length]"),
        serde_json::json!(["undefined", 0])
    );
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|c| c.contains("/api/picture?") && c.contains("404")), "{complaints:?}");
}

#[test]
fn a_record_may_come_late_be_written_midline_be_resumed_and_be_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("late");
    let monitor = Monitor::start(&[&folder]);
    assert_eq!(monitor.json("/api/curves?stage=net&runs=0")["curves"], serde_json::json!([]));
    fs::create_dir(&folder).unwrap();
    let text = steps("net", 0..60, |i| i as f64);
    let (half, rest) = text.split_at(text.len() - 30);
    append(&folder, half);
    assert_eq!(monitor.losses(59).len(), 59);
    append(&folder, rest);
    assert_eq!(monitor.losses(60).last(), Some(&59.0));
    // Killed at step 60, resumed at step 40.
    append(&folder, "{\"event\":\"start\",\"stage\":\"net\",\"step\":40,\"steps\":1000,\"seed\":1}\n");
    append(&folder, steps("net", 40..70, |i| 1000.0 + i as f64));
    let losses = monitor.losses(70);
    assert_eq!((losses.len(), losses[39], losses[40]), (70, 39.0, 1040.0));
    // Begun anew.
    fs::write(folder.join("events.jsonl"), steps("net", 0..90, |i| 5.0 + i as f64)).unwrap();
    OpenOptions::new()
        .write(true)
        .open(folder.join("events.jsonl"))
        .unwrap()
        .set_modified(SystemTime::now() + Duration::from_secs(2))
        .unwrap();
    assert_eq!(monitor.losses(90)[..2], [5.0, 6.0]);
}

#[test]
fn only_this_machine_is_answered_and_only_what_belongs_to_the_runs() {
    let dir = tempfile::tempdir().unwrap();
    let folder = run(dir.path(), "a", "1.0");
    fs::write(dir.path().join("secret.png"), "secret").unwrap();
    fs::write(folder.join("unnamed.png"), "secret").unwrap();
    fs::write(folder.join("named.png"), "picture").unwrap();
    fs::write(folder.join("weights.safetensors"), "secret").unwrap();
    let mut named = vec![
        "named.png",
        "../secret.png",
        "net.toml",
        "weights.safetensors",
        "/etc/passwd",
        "out.png",
        "up/secret.png",
        "none.png",
    ];
    let absolute = dir.path().join("secret.png").display().to_string();
    named.push(&absolute);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../secret.png", folder.join("out.png")).unwrap();
        std::os::unix::fs::symlink("..", folder.join("up")).unwrap();
        fs::write(dir.path().join("elsewhere.toml"), "net = \"net\"\nsecret = 1\n").unwrap();
        fs::remove_file(folder.join("net.toml")).unwrap();
        std::os::unix::fs::symlink("../elsewhere.toml", folder.join("net.toml")).unwrap();
    }
    let list: Vec<_> = named.iter().map(|file| serde_json::json!({ "file": file, "shows": "x" })).collect();
    append(
        &folder,
        serde_json::json!({ "event": "pictures", "stage": "net", "step": 1, "pictures": list }).to_string() + "\n",
    );
    append(&folder, steps("net", 0..10, |i| i as f64));
    let monitor = Monitor::start(&[&folder]);
    monitor.losses(10);

    let page = monitor.get("/");
    assert_eq!(page.status, 200);
    let headers = page.headers.to_lowercase();
    for header in [
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
    ] {
        assert!(headers.contains(header), "{header}: {headers}");
    }
    assert!(!headers.contains("access-control"), "{headers}");

    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", ""] {
        for path in ["/", "/api/news", "/api/curves?stage=net&runs=0", "/main.js"] {
            let answer = monitor.ask("GET", path, host);
            // An empty name is no HTTP at all.
            assert!(
                answer.status == 403 || (host.is_empty() && answer.status == 400),
                "{host} {path}: {}",
                answer.status
            );
            assert!(!answer.text().contains("net"), "{}", answer.text());
        }
    }
    for host in ["localhost", "127.0.0.1:1234", "[::1]"] {
        assert_eq!(monitor.ask("GET", "/", host).status, 200, "{host}");
    }
    assert_eq!(request(monitor.port, "GET / HTTP/1.0", "").status, 403, "without a name");

    let picture = |file: &str| {
        let coded: String = file.bytes().map(|b| format!("%{b:02x}")).collect();
        monitor.get(&format!("/api/picture?run=0&file={coded}"))
    };
    assert_eq!((picture("named.png").status, picture("named.png").text()), (200, "picture".to_owned()));
    for file in named[1..].iter().chain(&["unnamed.png", "", ".", "..", "events.jsonl"]) {
        let answer = picture(file);
        assert_eq!(answer.status, 404, "{file}: {}", answer.text());
    }
    #[cfg(unix)]
    assert_eq!(monitor.json("/api/recipes?stage=net&runs=0"), serde_json::json!([[0, null]]), "a link leads out");
    for path in [
        "/../secret.png",
        "/%2e%2e/secret.png",
        "/a/../../secret.png",
        "//etc/passwd",
        "/events.jsonl",
        "/src/lib.rs",
        "/api/picture",
        "/api/picture?run=9&file=named.png",
        "/api/curves?stage=net&runs=0&figure=secret",
    ] {
        let answer = monitor.get(path);
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
        assert!(!answer.text().contains("secret\n") && !answer.text().contains("root:"), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        assert_eq!(monitor.ask(method, "/", "localhost").status, 405, "{method}");
    }
    // Ranges that make no sense.
    for query in [
        "from=4294967295&to=0",
        "points=999999999999",
        "smooth=1e308",
        "smooth=NaN",
        "smooth=-1",
        "from=0&to=4294967295&points=1",
    ] {
        monitor.json(&format!("/api/curves?stage=net&runs=0,0,7,x&figure=loss&{query}"));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn nobody_but_this_machine_can_reach_it_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let monitor = Monitor::start(&[dir.path()]);
    let sockets =
        fs::read_to_string("/proc/net/tcp").unwrap() + &fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    let port = format!(":{:04X}", monitor.port);
    // State 0A is listening.
    let listening: Vec<&str> = sockets
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|parts| parts.len() > 3 && parts[3] == "0A" && parts[1].ends_with(&port))
        .map(|parts| parts[1])
        .collect();
    assert_eq!(listening, [format!("0100007F{port}")]);
}

#[test]
fn a_folder_of_runs_is_followed_with_the_runs_that_come_later() {
    let dir = tempfile::tempdir().unwrap();
    append(&run(dir.path(), "one", "1.0"), steps("net", 0..10, |_| 1.0));
    let monitor = Monitor::start(&[dir.path()]);
    assert_eq!(monitor.losses(10).len(), 10);
    append(&run(dir.path(), "two", "1.0"), steps("net", 0..20, |_| 2.0));
    until("the second run", || {
        let curves = monitor.json("/api/curves?stage=net&figure=loss&runs=1")["curves"].clone();
        (curves[0]["last"] == 2.0).then_some(())
    });
    assert_eq!(monitor.json("/api/recipes?stage=net&runs=0,1")[1][1]["net"], "net");
}
