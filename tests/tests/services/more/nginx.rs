//! nginx: files that it serves, another service before which it stands, and where it passes requests on to.

use guard_tests::cgroup::Cgroup;
use guard_tests::machine::Machine;
use guard_tests::proc::{Process, Transport};

use super::sh;
use crate::stage::{PATIENCE, Page, STORE_ADDRESS, Stage, Way, guarded, mails};

const PAGE: Page = Page { name: "nginx", text: include_str!("../../../../docs/recipes/nginx.md") };
const CONFIG: &str = r"
daemon off;
user root;
pid /run/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_max_body_size 10m;
    proxy_connect_timeout 3s;
    server {
        listen 80;
        root /srv/www;
        location /in/ { dav_methods PUT; create_full_put_path on; }
        location /app/ { proxy_pass http://127.0.0.1:8080/; }
        location /belgium/ { proxy_pass http://198.51.100.10/; }
        location /us/ { proxy_pass http://203.0.113.10/; }
    }
    server {
        listen 127.0.0.1:8080;
        root /srv/app;
    }
}
";

fn server(machine: &Machine<'_>, within: Option<&Cgroup>) -> Process {
    machine.run(&["install", "-d", "/srv/www/in", "/srv/in", "/srv/app", "/var/log/nginx"]).unwrap();
    machine.write("/etc/nginx/test.conf", CONFIG).unwrap();
    let server = machine.serve("root", within, &["nginx", "-c", "/etc/nginx/test.conf"]).unwrap();
    server.wait_for_port(machine.netns(), Transport::Tcp, 80, PATIENCE).unwrap();
    server
}

#[test]
#[ignore = "needs root and BPF"]
fn by_slice() {
    guarded(&PAGE, Way::Slice, scenario);
}

#[test]
#[ignore = "needs root and BPF"]
fn by_volume() {
    guarded(&PAGE, Way::Volume, scenario);
}

fn scenario(stage: &Stage<'_>) {
    let _servers =
        [server(&stage.store, Some(&stage.service)), server(&stage.belgium, None), server(&stage.us, None)];
    for file in ["/srv/www/box", "/srv/app/box"] {
        stage.store.write(file, mails()).unwrap();
    }
    let curl = |machine: &Machine<'_>, within, options: &str| {
        sh(
            machine,
            within,
            &format!("curl --fail --silent --show-error --max-time {} {options}", stage.seconds),
        )
    };
    let has = |machine: &Machine<'_>, file: &str| std::fs::read(machine.path(file)).unwrap() == mails();

    // What another service of the host fetches from there.
    stage.us.write("/srv/www/new", "an import").unwrap();
    curl(&stage.store, Some(&stage.import), "-o /srv/in/new http://203.0.113.10/new").unwrap();
    assert_eq!(std::fs::read_to_string(stage.store.path("/srv/in/new")).unwrap(), "an import");

    // Clients: of files, and of the service behind.
    for path in ["box", "app/box"] {
        let fetch = format!("-o /tmp/fetched http://{STORE_ADDRESS}/{path}");
        curl(&stage.belgium, None, &fetch).unwrap();
        assert!(has(&stage.belgium, "/tmp/fetched"), "{path}");
        stage.is_cut(path, || curl(&stage.us, None, &fetch));
        sh(&stage.belgium, None, "rm /tmp/fetched").unwrap();
    }
    stage.told(80);

    for (machine, address) in stage.others() {
        let is_us = address == "203.0.113.10";
        let place = if is_us { "us" } else { "belgium" };
        // What is pushed from its slice, and the body of a request of the host's that it passes on.
        let slice: Option<&Cgroup> = Some(&stage.service);
        for (name, within, to) in
            [("pushed", slice, address.to_owned()), ("passed", None, format!("127.0.0.1/{place}"))]
        {
            let push = format!("--upload-file /srv/www/box http://{to}/in/{name}");
            let push = || curl(&stage.store, within, &push);
            let there = format!("/srv/www/in/{name}");
            if is_us {
                stage.is_cut(name, push);
                assert!(!machine.path(&there).exists());
            } else {
                push().unwrap();
                assert!(has(machine, &there), "{name}");
            }
        }
    }
}
