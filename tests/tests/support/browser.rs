//! A browser without a screen, told what to do by the Chrome DevTools Protocol over a pipe.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use guard_tests::netns::Netns;
use serde_json::{Value, json};

/// How long the browser may take for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one page. It ends with this.
pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: String,
    next: u64,
    /// What the browser told beside its answers.
    told: Vec<Value>,
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools").canonicalize().unwrap()
}

/// The text of axe-core.
pub(crate) fn axe() -> String {
    std::fs::read_to_string(tools().join("axe-core/package/axe.min.js")).unwrap()
}

impl Browser {
    /// Starts it in this network, with a folder of its own.
    pub(crate) fn new(network: &Netns, profile: &Path) -> Self {
        let chromium = tools().join("chromium");
        let program = chromium.join("usr/lib/chromium/chromium-headless-shell");
        assert!(program.is_file(), "{} is not there: run this by `cargo xtask test`", program.display());
        let libraries = chromium.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
        let libraries = format!("{0}:{0}/pulseaudio", libraries.display());
        let mut command = network.command("sh").unwrap();
        // It reads from descriptor 3 and writes to descriptor 4.
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 0</dev/null 1>&2", "sh"]).arg(&program);
        command.args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"]);
        command.arg(format!("--user-data-dir={}", profile.display()));
        command.env("LD_LIBRARY_PATH", libraries).env("HOME", profile);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut browser = Self { child, to, from, session: String::new(), next: 0, told: Vec::new() };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < PATIENCE, "{method} has no answer");
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).unwrap();
            assert_eq!(bytes.pop(), Some(0), "the browser has ended at {method}");
            let mut answer: Value = serde_json::from_slice(&bytes).unwrap();
            if answer["id"] == self.next {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
            self.told.push(answer);
        }
    }

    /// Goes there, and waits until the page is whole. The status of its answer.
    pub(crate) fn go(&mut self, url: &str) -> u64 {
        self.call("Page.navigate", &json!({ "url": url }));
        let begin = Instant::now();
        while self.run("document.readyState") != "complete" || self.run("location.href") == "about:blank" {
            assert!(begin.elapsed() < PATIENCE, "{url} is not loaded");
            std::thread::sleep(Duration::from_millis(50));
        }
        let of_page =
            |it: &&Value| it["method"] == "Network.responseReceived" && it["params"]["type"] == "Document";
        let last = self.told.iter().rfind(of_page);
        last.and_then(|it| it["params"]["response"]["status"].as_u64()).unwrap()
    }

    /// What an expression comes to, once it is settled.
    pub(crate) fn run(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", &parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression:.80}: {answer}");
        answer["result"]["value"].take()
    }

    /// Presses a key and lets it go.
    pub(crate) fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", &json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": if key == "Tab" { 9 } else { 13 }}));
        }
    }

    /// Has the page as a user of this scheme and of this size sees it.
    pub(crate) fn look(&mut self, scheme: &str, (width, height): (u32, u32)) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features }));
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// A picture of the whole page, as PNG in Base64.
    pub(crate) fn picture(&mut self) -> String {
        let answer = self.call("Page.captureScreenshot", &json!({"captureBeyondViewport": true}));
        answer["data"].as_str().unwrap().to_owned()
    }

    /// Every address that was asked for, and every error that the browser told of.
    pub(crate) fn asked_and_errors(&self) -> (Vec<String>, Vec<String>) {
        let of = |method: &'static str| self.told.iter().filter(move |it| it["method"] == method);
        let asked = of("Network.requestWillBeSent").filter_map(|it| it["params"]["request"]["url"].as_str());
        let errors = of("Log.entryAdded").chain(of("Runtime.exceptionThrown")).map(Value::to_string);
        (asked.map(str::to_owned).collect(), errors.collect())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
