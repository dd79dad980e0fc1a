//! Receipts against programs of others: `ssh-keygen` and `openssl` have to take what was written, and nothing else.

use std::process::{Command, Output};

use jiff::civil::date;
use tempfile::TempDir;

use super::*;
use crate::approval::host_key;
use crate::approval::tests::oracle::{self, ED25519, OTHER_ED25519, P256, RSA_3072, key};
use crate::cli::exit_of;
use crate::report::ApprovalEntry;
use crate::report::tests::sample::receipt;

fn now() -> Timestamp {
    "2026-12-02T00:00:00Z".parse().unwrap()
}

/// A folder with a receipt, its signature, who may sign, and an authority that stamps.
struct Bed(TempDir);

impl Bed {
    fn new() -> Self {
        let bed = Self(tempfile::tempdir().unwrap());
        let text = receipt().text().unwrap();
        let signed = host_key::sign(&key(ED25519).file, RECEIPT, text.as_bytes()).unwrap();
        assert_eq!(signed.public_key, key(ED25519).public);
        bed.put("r.json", &text);
        bed.put("r.json.sig", &signed.signature);
        bed.put("allowed", format!("dublin-1 namespaces=\"{RECEIPT}\" {}\n", signed.public_key));
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn openssl(&self, words: &[&str]) -> Output {
        Command::new("openssl").args(words).current_dir(self.0.path()).output().unwrap()
    }

    fn must(&self, words: &[&str]) {
        let output = self.openssl(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// An authority of its own: a root, a certificate that may stamp, and a command that answers requests.
    fn authority(&self) -> Vec<String> {
        let subject = |name: &str| format!("/CN={name}");
        self.put("ext", "extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n");
        self.put("serial", "01");
        let folder = self.0.path().display();
        self.put(
            "tsa.conf",
            format!(
                "[tsa]\ndefault_tsa=t\n[t]\nserial={folder}/serial\nsigner_cert={folder}/tsa.pem\n\
                 signer_key={folder}/tsa.key\nsigner_digest=sha256\ndefault_policy=1.2.3.4\ndigests=sha256\n\
                 accuracy=secs:1\ness_cert_id_alg=sha256\n"
            ),
        );
        let ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256"];
        let root = ["req", "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj"];
        self.must(&[&root[..], &[&subject("root")], &ec].concat());
        let asked = ["req", "-keyout", "tsa.key", "-out", "tsa.csr", "-subj"];
        self.must(&[&asked[..], &[&subject("stamps")], &ec].concat());
        let given =
            ["x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
        self.must(&[&given[..], &["-out", "tsa.pem", "-days", "20", "-sha256", "-extfile", "ext"]].concat());
        let script =
            "cat > \"$0/q\" && openssl ts -reply -queryfile \"$0/q\" -config \"$0/tsa.conf\" 2>/dev/null";
        ["/bin/sh", "-c", script, &folder.to_string()].map(str::to_owned).to_vec()
    }

    fn stamp(&self) {
        let imprint = time_stamp::imprint(&[&self.read("r.json"), &self.read("r.json.sig")]);
        self.put("r.json.tsr", time_stamp::stamp(&self.authority(), &imprint).unwrap());
    }

    fn args(&self) -> Args {
        Args {
            id: None,
            version: None,
            into: PathBuf::new(),
            verify: Some(self.path("r.json")),
            allowed_signers: Some(self.path("allowed")),
            tsa_ca: Some(self.path("ca.pem")),
            no_time_stamp: false,
            json: false,
            target: Target::default(),
        }
    }

    fn verified(&self, args: &Args) -> (Exit, String) {
        let mut out = Vec::new();
        let exit = run(args, now(), &mut out).unwrap();
        (exit, String::from_utf8(out).unwrap())
    }

    fn is_good(&self) -> bool {
        self.verified(&self.args()).0 == Exit::Ok
    }

    /// As docs/receipt.md has it.
    fn ssh_keygen_takes_it(&self) -> bool {
        let (allowed, signature) = (self.path("allowed"), self.path("r.json.sig"));
        let mut command = oracle::ssh_keygen();
        command
            .args(["-q", "-Y", "verify", "-I", "dublin-1", "-n", "borderguard-receipt", "-f"])
            .arg(allowed);
        command.arg("-s").arg(signature);
        oracle::run(command, &self.read("r.json")).status.success()
    }

    /// As docs/receipt.md has it.
    fn openssl_takes_it(&self) -> bool {
        let words =
            "cat r.json r.json.sig | openssl ts -verify -data /dev/stdin -in r.json.tsr -CAfile ca.pem";
        let command = Command::new("sh").args(["-c", words]).current_dir(self.0.path()).output();
        command.unwrap().status.success()
    }
}

#[test]
fn a_receipt_is_taken_by_ssh_keygen_and_openssl_and_by_this_program() {
    let bed = Bed::new();
    bed.stamp();
    assert!(bed.ssh_keygen_takes_it() && bed.openssl_takes_it());
    let (exit, told) = bed.verified(&bed.args());
    assert_eq!(exit, Exit::Ok, "{told}");
    for words in ["signature: good, by dublin-1", "21,000 bytes to 1 recipient", "time stamp: good"] {
        assert!(told.contains(words), "{told}");
    }
    let (exit, json) = bed.verified(&Args { json: true, ..bed.args() });
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((exit, &json["good"], &json["time_stamp"]), (Exit::Ok, &json!(true), &json!("good")));
    assert_eq!(json["receipt"], serde_json::to_value(receipt()).unwrap());
}

#[test]
fn who_got_nothing_is_not_counted_among_those_who_did() {
    let of = |recipients: usize, rows: &[Option<u32>]| {
        let mut it = receipt();
        it.recipients = vec![it.recipients[0].clone(); recipients];
        let row = DayUse { recipient: None, ..it.use_by_day[0].clone() };
        it.use_by_day = rows.iter().map(|number| DayUse { number: *number, ..row.clone() }).collect();
        counted_recipients(&it)
    };
    assert_eq!(of(2, &[Some(2), Some(2)]), "1 of 2 recipients");
    assert_eq!(of(2, &[Some(1), Some(2)]), "2 recipients");
    assert_eq!(of(2, &[]), "0 of 2 recipients");
    assert_eq!((of(1, &[Some(1)]), of(1, &[None])), ("1 recipient".to_owned(), "1 recipient".to_owned()));
    assert_eq!(of(3, &[Some(3), None]), "at least 1 of 3 recipients");
    assert_eq!(of(3, &[None]), "at least 1 of 3 recipients");
}

/// One byte that is another one, anywhere: this program says no each time, and so do the others where it is theirs to see.
#[test]
fn no_flipped_byte_is_taken() {
    let bed = Bed::new();
    bed.stamp();
    // Each start of a program takes some milliseconds: they are asked of a sample, and of all where it is cheap.
    let flips = |name: &str, step: usize| {
        let good = bed.read(name);
        let places: Vec<usize> = (0..good.len()).step_by(step).chain([good.len() - 1]).collect();
        (good, places)
    };
    let (good, places) = flips("r.json", 1);
    let allowed = load::load(&bed.path("allowed"), &TimeZone::UTC).unwrap();
    let signature = bed.read("r.json.sig");
    let is_taken = |bytes: &[u8], signature: &[u8]| {
        Receipt::read(bytes).is_ok()
            && approval::verify(bytes, signature, RECEIPT, &["dublin-1"], &allowed, now()).is_ok()
    };
    assert!(is_taken(&good, &signature));
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1 << (at % 8);
        bytes
    };
    for at in places {
        assert!(!is_taken(&flipped(&good, at), &signature), "byte {at}");
    }
    for at in 0..signature.len() {
        assert!(!is_taken(&good, &flipped(&signature, at)), "byte {at} of the signature");
    }
    // A receipt's byte is seen by both programs, and a signature's by the one that stamped it.
    for (name, step) in [("r.json", 97), ("r.json.sig", 41)] {
        let (good, places) = flips(name, step);
        for at in places {
            bed.put(name, flipped(&good, at));
            assert!(!bed.openssl_takes_it(), "openssl takes byte {at} of {name}");
            assert!(
                name == "r.json.sig" || !bed.ssh_keygen_takes_it(),
                "ssh-keygen takes byte {at} of {name}"
            );
            assert!(!bed.is_good(), "byte {at} of {name}");
        }
        bed.put(name, &good);
    }
    let (good, places) = flips("r.json.tsr", 23);
    for at in places {
        bed.put("r.json.tsr", flipped(&good, at));
        assert!(!bed.openssl_takes_it() && !bed.is_good(), "byte {at} of the time stamp");
    }
    bed.put("r.json.tsr", good);
    assert!(bed.is_good());
}

#[test]
fn a_changed_receipt_is_told_as_such_and_a_stamp_has_its_time() {
    let bed = Bed::new();
    let before = Timestamp::now();
    bed.stamp();
    let after = Timestamp::now();
    let (_, json) = bed.verified(&Args { json: true, ..bed.args() });
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let at: Timestamp = json["stamped_at"].as_str().unwrap().parse().unwrap();
    let second = jiff::SignedDuration::from_secs(1);
    assert!(before - second <= at && at <= after + second, "{before} {at} {after}");
    let (_, told) = bed.verified(&bed.args());
    assert!(
        told.contains(&format!("time stamp: good, of {}", at.strftime("%Y-%m-%d %H:%M:%S UTC"))),
        "{told}"
    );
    // Each in a form that still is a receipt.
    let good = String::from_utf8(bed.read("r.json")).unwrap();
    for (from, to, says) in [
        ("a purpose", "b purpose", "the receipt was changed after it was signed"),
        ("dublin-1", "cork-1", "the receipt was changed, or the file of allowed signers"),
        ("\"version\": 1", "\"version\":  1", "the file was changed, or what was signed never was a receipt"),
    ] {
        assert!(good.contains(from));
        bed.put("r.json", good.replace(from, to));
        let (exit, told) = bed.verified(&Args { tsa_ca: None, no_time_stamp: true, ..bed.args() });
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(exit == Exit::Failed && told.contains(says), "{told}");
        let (_, told) = bed.verified(&bed.args());
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            told.contains("time stamp: bad: the time stamp does not count: it is of another receipt"),
            "{told}"
        );
    }
    bed.put("r.json", &good);
    fs::remove_file(bed.path("r.json.tsr")).unwrap();
    let (exit, told) = bed.verified(&bed.args());
    assert!(exit == Exit::Failed && told.contains("time stamp: bad: there is no time stamp: "), "{told}");
    assert!(!told.contains("BIO"), "{told}");
}

/// Where nothing can be written nothing is asked of the daemon, which would record that a receipt was given.
#[test]
fn a_folder_that_takes_no_files_is_found_before_anything_is_asked() {
    let bed = Bed::new();
    for (into, says) in [("none/there", "No such file"), ("r.json", "this is no folder")] {
        let args = Args { id: Some("mlat-1".to_owned()), verify: None, into: bed.path(into), ..bed.args() };
        let error = run(&args, now(), &mut Vec::new()).unwrap_err();
        assert!(exit_of(&error) == Exit::BadInput && error.to_string().contains(says), "{error}");
    }
}

/// Who may not be given receipts is told so, whatever the folder is; who may, what is wrong with the folder.
#[test]
fn the_right_is_looked_at_before_the_folder() {
    let bed = Bed::new();
    let socket = bed.path("control.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let answers = [
        r#"{"response":"error","kind":"not-permitted","message":"it takes the right `exemptions`"}"#,
        r#"{"response":"planned","message":"m","exemptions":[]}"#,
    ];
    let server = std::thread::spawn(move || {
        answers.map(|answer| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = String::new();
            io::BufRead::read_line(&mut io::BufReader::new(stream.try_clone().unwrap()), &mut asked).unwrap();
            writeln!(stream, "{answer}").unwrap();
            asked
        })
    });
    let told = [(Exit::NotPermitted, "the right `exemptions`"), (Exit::BadInput, "No such file")];
    for (exit, says) in told {
        let target = Target { socket: Some(socket.clone()), config: None };
        let id = Some("mlat-1".to_owned());
        let args = Args { id, verify: None, into: bed.path("none/there"), target, ..bed.args() };
        let error = run(&args, now(), &mut Vec::new()).unwrap_err();
        assert!(exit_of(&error) == exit && error.to_string().contains(says), "{error}");
    }
    for asked in server.join().unwrap() {
        assert!(asked.contains("\"right_only\":true"), "nothing else is asked: {asked}");
    }
}

/// The host's key signs what its owner wants: that is told apart from a file that was changed.
#[test]
fn a_good_signature_over_figures_that_do_not_agree_is_told_with_both() {
    let bed = Bed::new();
    let mut forged = receipt();
    forged.use_by_day[0].day = date(1970, 1, 1);
    let text = forged.text().unwrap();
    bed.put("r.json.sig", host_key::sign(&key(ED25519).file, RECEIPT, text.as_bytes()).unwrap().signature);
    bed.put("r.json", &text);
    let args = Args { tsa_ca: None, no_time_stamp: true, ..bed.args() };
    let (exit, told) = bed.verified(&args);
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(exit == Exit::Failed && told.contains("signature: good, by dublin-1"), "{told}");
    assert!(told.contains("figures: bad: they do not agree: its use has rows of 1970-01-01"), "{told}");
    assert!(!told.contains("made:") && !told.contains("signature: bad"), "{told}");
    let (exit, json) = bed.verified(&Args { json: true, ..args });
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((exit, &json["good"], &json["receipt"]), (Exit::Failed, &json!(false), &json!(null)));
    assert!(json["signature"].as_str().unwrap().starts_with("by dublin-1"), "{json}");
    assert!(json["figures"].as_str().unwrap().contains("1970-01-01"), "{json}");
    // Changed after that it is nobody's, whatever its figures are.
    bed.put("r.json", text.replace("1970-01-01", "1970-01-02"));
    let (exit, told) = bed.verified(&Args { tsa_ca: None, no_time_stamp: true, ..bed.args() });
    assert!(exit == Exit::Failed && told.contains("signature: bad") && !told.contains("figures"), "{told}");
}

#[test]
fn what_others_signed_or_stamped_does_not_count() {
    let bed = Bed::new();
    bed.stamp();
    let good = bed.read("r.json.sig");
    // Another key, another purpose, and the name of another host.
    let text = bed.read("r.json");
    let other = host_key::sign(&key(OTHER_ED25519).file, RECEIPT, &text).unwrap().signature;
    let audit = host_key::sign(&key(ED25519).file, approval::AUDIT, &text).unwrap().signature;
    for (signature, why) in [(other, "no key"), (audit, "borderguard-audit")] {
        bed.put("r.json.sig", signature);
        let (exit, told) = bed.verified(&Args { tsa_ca: None, no_time_stamp: true, ..bed.args() });
        assert!(exit == Exit::Failed && told.contains("signature: bad"), "{why}: {told}");
    }
    bed.put("r.json.sig", good);
    bed.put("allowed", format!("cork-1 {}\n", key(ED25519).public));
    assert!(!bed.is_good());
    // An authority whose root is another one.
    let bed = Bed::new();
    bed.stamp();
    let other = Bed::new();
    other.stamp();
    bed.put("ca.pem", other.read("ca.pem"));
    let (exit, told) = bed.verified(&bed.args());
    assert!(exit == Exit::Failed && told.contains("time stamp: bad"), "{told}");
    assert!(told.contains("signature: good"), "{told}");
}

#[test]
fn a_time_stamp_is_not_passed_over_in_silence() {
    let bed = Bed::new();
    bed.stamp();
    let error = run(&Args { tsa_ca: None, ..bed.args() }, now(), &mut Vec::new()).unwrap_err();
    assert_eq!(exit_of(&error), Exit::BadInput);
    assert!(error.to_string().contains("--tsa-ca"), "{error}");
    let (exit, told) = bed.verified(&Args { tsa_ca: None, no_time_stamp: true, ..bed.args() });
    assert!(exit == Exit::Ok && told.contains("time stamp: not looked at"), "{told}");
    // One that was asked for and is not there is no good one.
    fs::remove_file(bed.path("r.json.tsr")).unwrap();
    assert!(!bed.is_good());
    let (exit, told) = bed.verified(&Args { tsa_ca: None, ..bed.args() });
    assert!(
        exit == Exit::Ok && told.contains("time stamp: NONE, so that when it was made is by the host"),
        "{told}"
    );
}

#[test]
fn a_key_of_the_host_is_for_it_alone_and_of_a_kind_that_signs() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let copy = |which: usize| {
        let file = folder.path().join(which.to_string());
        fs::copy(&key(which).file, &file).unwrap();
        file
    };
    let told = |file: &Path| host_key::sign(file, RECEIPT, b"x").unwrap_err().to_string();
    assert!(told(&copy(RSA_3072)).contains("neither Ed25519 nor ECDSA"));
    let file = copy(P256);
    let bed = Bed::new();
    let signed = host_key::sign(&file, RECEIPT, &bed.read("r.json")).unwrap();
    bed.put("r.json.sig", signed.signature);
    bed.put("allowed", format!("dublin-1 {}\n", key(P256).public));
    assert!(bed.ssh_keygen_takes_it());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(told(&file).contains("not root's alone"), "{}", told(&file));
    let locked = folder.path().join("locked");
    let mut command = oracle::ssh_keygen();
    command.args(["-q", "-t", "ed25519", "-N", "secret", "-f"]).arg(&locked);
    assert!(oracle::run(command, b"").status.success());
    assert!(told(&locked).contains("passphrase"));
    assert!(told(&folder.path().join("none")).contains("can't be read"));
}

#[test]
fn a_receipt_of_a_time_that_is_still_to_come_does_not_hold() {
    for (made_at, exit) in [
        ("2026-12-02T00:04:00Z", Exit::Ok),
        ("2026-12-02T00:06:00Z", Exit::Failed),
        ("2036-12-02T00:00:00Z", Exit::Failed),
    ] {
        let bed = Bed::new();
        let text = Receipt { made_at: made_at.parse().unwrap(), ..receipt() }.text().unwrap();
        let signed = host_key::sign(&key(ED25519).file, RECEIPT, text.as_bytes()).unwrap();
        bed.put("r.json", &text);
        bed.put("r.json.sig", signed.signature);
        let (found, told) = bed.verified(&Args { tsa_ca: None, no_time_stamp: true, ..bed.args() });
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(found, exit, "{told}");
        assert_eq!(told.contains("still to come"), exit == Exit::Failed, "{told}");
    }
}

/// docs/receipt.schema.json, held by a program that reads schemas: it takes receipts, and nothing that lacks a key or has
/// one more.
#[test]
fn the_schema_takes_receipts_and_nothing_else() {
    let schema = include_str!("../../../../../docs/receipt.schema.json");
    let validator = jsonschema::draft202012::new(&serde_json::from_str(schema).unwrap()).unwrap();
    let mut with_nothing = receipt();
    with_nothing.signers = Vec::<ApprovalEntry>::new();
    with_nothing.exemption.quota_bytes = None;
    with_nothing.exemption.emergency = String::new();
    (with_nothing.exemption.review_by, with_nothing.exemption.law) = (None, None);
    with_nothing.presumed_bytes = Some(0);
    with_nothing.use_by_day[0].number = None;
    with_nothing.use_by_day[0].recipient = None;
    with_nothing.use_by_day[0].jurisdiction = None;
    let change = &mut with_nothing.history[0];
    (change.order, change.still_held, change.covers, change.name) = (None, false, None, None);
    (change.document_sha256, change.signed_by) = (None, Vec::new());
    assert_eq!(Receipt::read(with_nothing.text().unwrap().as_bytes()).unwrap(), with_nothing);
    for receipt in [receipt(), with_nothing] {
        let value = serde_json::to_value(&receipt).unwrap();
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0]);
    }
    const OF_ORDERS: [&str; 6] = ["order", "still_held", "covers", "name", "document_sha256", "signed_by"];
    let good = serde_json::to_value(receipt()).unwrap();
    let mut tried = 0;
    for pointer in pointers(&good, "") {
        let object = good.pointer(&pointer).unwrap().as_object().unwrap();
        let mut more = good.clone();
        more.pointer_mut(&pointer).unwrap()["x"] = json!(1);
        assert!(!validator.is_valid(&more), "{pointer} may have more");
        for name in object.keys() {
            let mut less = good.clone();
            less.pointer_mut(&pointer).unwrap().as_object_mut().unwrap().remove(name);
            // What is attributed to no recipient has none, and receipts of earlier versions have none at all; what lifts no
            // order names none, what was no emergency has no reason for one, not every document has a date of review, and
            // earlier versions wrote neither the law nor what counts as used and was not counted.
            let may_be_missing = ["number", "emergency", "review_by", "presumed_bytes", "law"]
                .contains(&name.as_str())
                || (pointer.starts_with("/history/") && OF_ORDERS.contains(&name.as_str()));
            assert_eq!(validator.is_valid(&less), may_be_missing, "{pointer}/{name}");
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried}");
}

/// Where objects are in this value.
fn pointers(value: &serde_json::Value, at: &str) -> Vec<String> {
    match value {
        serde_json::Value::Object(object) => {
            let inner = object.iter().flat_map(|(name, value)| pointers(value, &format!("{at}/{name}")));
            std::iter::once(at.to_owned()).chain(inner).collect()
        }
        serde_json::Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(number, value)| pointers(value, &format!("{at}/{number}")))
            .collect(),
        _ => Vec::new(),
    }
}

/// That a receipt was given is in the trail before its file is written: a second one finds a name of its own.
#[test]
fn a_second_receipt_is_written_beside_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let name =
        || free_file(folder.path(), "m-1").unwrap().file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(name(), "m-1.receipt.json");
    fs::write(folder.path().join("m-1.receipt.json"), "").unwrap();
    assert_eq!(name(), "m-1.2.receipt.json");
    // What is left of one is not mixed with another.
    fs::write(folder.path().join("m-1.2.receipt.json.tsr"), "").unwrap();
    assert_eq!(name(), "m-1.3.receipt.json");
}
