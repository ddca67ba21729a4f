//! Hub ids: downloads into the cache's standard layout, from a small hub on this machine.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::support::{Workspace, fixture, run};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const NAME: &str = "someone/tiny";

/// Serves the tiny model as `someone/tiny`, and counts requests.
fn serve() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let counter = counter.clone();
            std::thread::spawn(move || answer(stream.unwrap(), &counter));
        }
    });
    (endpoint, requests)
}

fn answer(mut stream: TcpStream, requests: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut path, mut start, mut end) = (String::new(), 0, None);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(rest) = line.strip_prefix("GET ") {
                path = rest.split(' ').next().unwrap().to_string();
            }
            if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
                let (from, to) = range.trim().split_once('-').unwrap();
                (start, end) = (from.parse().unwrap(), to.parse::<usize>().ok());
            }
            if line == "\r\n" {
                break;
            }
        }
        requests.fetch_add(1, Ordering::Relaxed);
        let response = respond(&path, start, end);
        if stream.write_all(&response).is_err() {
            return;
        }
    }
}

fn respond(path: &str, start: usize, end: Option<usize>) -> Vec<u8> {
    if path == format!("/api/models/{NAME}/revision/main") || path == format!("/api/models/{NAME}") {
        let files = std::fs::read_dir(fixture("tiny-model")).unwrap();
        let siblings: Vec<_> =
            files.map(|file| serde_json::json!({"rfilename": file.unwrap().file_name().to_str().unwrap()})).collect();
        let body = serde_json::json!({"sha": COMMIT, "siblings": siblings}).to_string();
        return format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
    }
    let file = path.strip_prefix(&format!("/{NAME}/resolve/main/")).map(|name| fixture("tiny-model").join(name));
    let Some(bytes) = file.and_then(|file| std::fs::read(file).ok()) else {
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
    };
    let end = end.unwrap_or(bytes.len() - 1).min(bytes.len() - 1);
    let etag = path.rsplit('/').next().unwrap().replace('.', "-");
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{end}/{}\r\n\
         ETag: \"{etag}\"\r\nx-repo-commit: {COMMIT}\r\n\r\n",
        end + 1 - start,
        bytes.len()
    );
    [head.as_bytes(), &bytes[start..=end]].concat()
}

fn infer(workspace: &Workspace, endpoint: &str, name: &str) -> std::process::Command {
    let mut command = workspace.command("infer");
    command.args(["--mode", "base", "--json", "--set", &format!("inference.base_model_name={name}")]);
    command.env_remove("HF_HUB_OFFLINE").env("HF_ENDPOINT", endpoint);
    command
}

#[test]
fn a_hub_id_is_downloaded_once_into_the_standard_cache() {
    let (endpoint, requests) = serve();
    let workspace = Workspace::new();
    let first = run(&mut infer(&workspace, &endpoint, NAME)).objects();
    let snapshot = workspace.file("hf/hub/models--someone--tiny/snapshots").join(COMMIT);
    for file in
        ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors"]
    {
        assert_eq!(
            std::fs::read(snapshot.join(file)).unwrap(),
            std::fs::read(fixture("tiny-model").join(file)).unwrap()
        );
    }
    assert_eq!(std::fs::read_to_string(workspace.file("hf/hub/models--someone--tiny/refs/main")).unwrap(), COMMIT);

    // From now on the hub isn't asked, and isn't needed.
    let asked = requests.load(Ordering::Relaxed);
    let mut offline = infer(&workspace, "http://127.0.0.1:9", NAME);
    offline.env("HF_HUB_OFFLINE", "1");
    let second = run(&mut offline).objects();
    assert_eq!(requests.load(Ordering::Relaxed), asked);
    assert_eq!(first[0]["token_ids"], second[0]["token_ids"]);
    // The same model from its folder.
    let folder = fixture("tiny-model").display().to_string();
    assert_eq!(run(&mut infer(&workspace, &endpoint, &folder)).objects()[0]["token_ids"], first[0]["token_ids"]);
}

#[test]
fn a_hub_cache_elsewhere_is_used() {
    let (endpoint, _) = serve();
    let workspace = Workspace::new();
    let mut command = infer(&workspace, &endpoint, NAME);
    command.env("HF_HUB_CACHE", workspace.file("cache"));
    run(&mut command).objects();
    assert!(workspace.file("cache/models--someone--tiny/snapshots").is_dir());
}

#[test]
fn an_id_that_the_hub_does_not_have_is_bad_input() {
    let (endpoint, _) = serve();
    run(&mut infer(&Workspace::new(), &endpoint, "someone/else")).refuses(2, &["someone/else", &endpoint, "404"]);
}

#[test]
fn a_hub_that_refuses_or_never_answers_is_given_up_within_30_seconds() {
    let refused = run(&mut infer(&Workspace::new(), "http://127.0.0.1:9", NAME));
    refused.refuses(2, &[NAME, "http://127.0.0.1:9", "config.json"]);
    // Accepts connections and stays silent.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let started = Instant::now();
    run(&mut infer(&Workspace::new(), &silent, NAME)).refuses(2, &[NAME, "no answer"]);
    assert!(started.elapsed().as_secs() < 30);
    drop(listener);
}
