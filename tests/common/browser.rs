//! Drives Chromium as a reader of a page would, by WebDriver. The protocol is a handful of requests with JSON; clients for it bring
//! a network stack and a parser of addresses, which nothing else here needs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The answer to a request: status, headers as they came, body.
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request just as it is given, and reads the answer.
pub fn request(port: u16, head: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    write!(stream, "{head}\r\n{length}Connection: close\r\n\r\n{body}").unwrap();
    let mut reader = BufReader::new(stream);
    let (mut headers, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line).unwrap() > 2 {
        headers += &std::mem::take(&mut line);
    }
    let status = headers.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let length = headers.to_lowercase().lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = Vec::new();
    match length {
        Some(length) => {
            body.resize(length, 0);
            reader.read_exact(&mut body).unwrap();
        }
        None => drop(reader.read_to_end(&mut body)),
    }
    Answer { status, headers, body }
}

/// Calls `f` until it gives something.
pub fn until<T>(what: &str, mut f: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = f() {
            return value;
        }
        assert!(begun.elapsed() < Duration::from_secs(90), "{what}: not within 90 seconds");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A window of Chromium that nobody sees.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    folder: tempfile::TempDir,
}

impl Browser {
    /// Starts Chromium; `None`, with a word, if it or its driver is not installed.
    pub fn start() -> Option<Self> {
        let chromium = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| runs(name));
        let (Some(chromium), true) = (chromium, runs("chromedriver")) else {
            eprintln!("skipped: chromium or chromedriver is not installed (Debian: chromium, chromium-driver)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("downloads")).unwrap();
        let mut driver =
            Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        // Whoever closes the pipe would end the driver at its next word.
        std::thread::spawn(move || lines.for_each(drop));
        let mut browser =
            Self { driver, port: port.expect("chromedriver names its port"), session: String::new(), folder };
        let path = which(chromium);
        let profile = browser.folder.path().join("profile");
        let downloads = browser.downloads();
        let mut arguments = vec!["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];
        arguments.extend([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
        ]);
        arguments.extend(["--window-size=1400,1000", "--force-device-scale-factor=1"]);
        let mut arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        let options =
            json!({ "binary": path, "args": arguments, "prefs": { "download.default_directory": downloads } });
        let wanted = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
        let answer = browser.call("POST", "/session", json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.session = answer["sessionId"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        Some(browser)
    }

    /// The folder that files are saved to.
    pub fn downloads(&self) -> PathBuf {
        self.folder.path().join("downloads")
    }

    /// A file that was saved, once it is whole.
    pub fn saved(&self, ending: &str) -> Vec<u8> {
        let entries = || std::fs::read_dir(self.downloads()).unwrap().flatten().map(|entry| entry.path());
        let path =
            until(&format!("a file {ending}"), || entries().find(|path| path.display().to_string().ends_with(ending)));
        std::fs::read(path).unwrap()
    }

    pub fn open(&self, url: &str) {
        self.command("url", json!({ "url": url }));
    }

    /// Runs a function's body in the page.
    pub fn run(&self, script: &str) -> Value {
        self.command("execute/sync", json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is true in the page.
    pub fn wait(&self, expression: &str) {
        let script = format!("return Boolean({expression})");
        let begun = Instant::now();
        while self.run(&script) != json!(true) {
            if begun.elapsed() > Duration::from_secs(90) {
                let text = self.text("body");
                panic!("not within 90 seconds: {expression}\nThe page says:\n{text}\n{:?}", self.complaints());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The text of the first element that a selector finds.
    pub fn text(&self, selector: &str) -> String {
        let value = self.run(&format!("return document.querySelector({selector:?})?.innerText ?? ''"));
        value.as_str().unwrap_or_default().to_owned()
    }

    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.command(&format!("element/{element}/click"), json!({}));
    }

    /// Sends keys to an element, as a keyboard would.
    pub fn keys(&self, selector: &str, keys: &str) {
        let element = self.find(selector);
        self.command(&format!("element/{element}/value"), json!({ "text": keys }));
    }

    /// Drags the `mouse`, or a finger (`touch`), across an element, from and to shares of its width, at half its height.
    pub fn drag(&self, pointer: &str, selector: &str, from: f64, to: f64) {
        let script = format!(
            "const e = document.querySelector({selector:?}); e.scrollIntoView({{ block: 'center' }});
             const r = e.getBoundingClientRect(); return [r.left, r.top + r.height / 2, r.width]"
        );
        let place = self.run(&script);
        let number = |i: usize| place[i].as_f64().unwrap();
        let x = |share: f64| (number(0) + share * number(2)).round();
        let step =
            |x: f64, time: u32| json!({ "type": "pointerMove", "x": x, "y": number(1).round(), "duration": time });
        let actions = json!([
            step(x(from), 0), { "type": "pointerDown", "button": 0 },
            step(x((from + to) / 2.0), 60), step(x(to), 60), { "type": "pointerUp", "button": 0 },
        ]);
        let kind = json!({ "pointerType": pointer });
        let actions = json!({ "type": "pointer", "id": pointer, "parameters": kind, "actions": actions });
        self.command("actions", json!({ "actions": [actions] }));
    }

    /// Sets the window's size, pixels, and the colour scheme, `light` or `dark`.
    pub fn look(&self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        for (command, parameters) in [("setDeviceMetricsOverride", size), ("setEmulatedMedia", features)] {
            let command = format!("Emulation.{command}");
            self.command("goog/cdp/execute", json!({ "cmd": command, "params": parameters }));
        }
    }

    /// Saves what the whole page looks like to the folder that FACECASCADE_SCREENSHOTS names, if it is set.
    pub fn screenshot(&self, name: &str) {
        let Some(folder) = std::env::var_os("FACECASCADE_SCREENSHOTS") else { return };
        let parameters = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.command("goog/cdp/execute", json!({ "cmd": "Page.captureScreenshot", "params": parameters }));
        let png = base64::decode(answer["data"].as_str().unwrap()).unwrap();
        std::fs::write(Path::new(&folder).join(name), png).unwrap();
    }

    /// What the browser complains of in its console: errors of scripts, files that were refused.
    pub fn complaints(&self) -> Vec<String> {
        let answer = self.command("se/log", json!({ "type": "browser" }));
        let entries = answer.as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .filter(|e| e["level"] != "INFO" && e["level"] != "DEBUG")
            .map(|e| e["message"].to_string())
            .collect()
    }

    fn find(&self, selector: &str) -> String {
        let answer = self.command("element", json!({ "using": "css selector", "value": selector }));
        let element = answer.as_object().and_then(|o| o.values().next()).and_then(Value::as_str);
        element.unwrap_or_else(|| panic!("{selector}: {answer}")).to_owned()
    }

    fn command(&self, command: &str, parameters: Value) -> Value {
        self.call("POST", &format!("/session/{}/{command}", self.session), parameters)
    }

    fn call(&self, method: &str, path: &str, parameters: Value) -> Value {
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json", self.port);
        let answer = request(self.port, &head, &parameters.to_string());
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|e| panic!("{e}: {}", answer.text()));
        assert!(answer.status == 200, "{path}: {value}");
        value["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let head = format!("DELETE /session/{} HTTP/1.1\r\nHost: 127.0.0.1:{}", self.session, self.port);
            request(self.port, &head, "");
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn runs(program: &str) -> bool {
    let output = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    output.is_ok_and(|status| status.success())
}

fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.exists()).unwrap()
}
