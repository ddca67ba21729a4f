//! A folder with a config for each test, and the binary run in it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A user's folder: config.json, and whatever the commands write.
pub struct Workspace {
    pub folder: TempDir,
}

/// What a command did.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    fn new(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The JSON objects on stdout; anything else there fails the test.
    #[track_caller]
    pub fn objects(&self) -> Vec<Value> {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
    }

    /// Fails unless the command refused with this code, naming each of these, without a panic.
    #[track_caller]
    pub fn refuses(&self, code: i32, named: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        for text in named.iter().chain(&["error: "]) {
            assert!(self.stderr.contains(text), "{text:?} is not in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains("RUST_BACKTRACE"), "{}", self.stderr);
    }
}

impl Workspace {
    /// A short run on the golden data.
    pub fn new() -> Self {
        let model = fixture("tiny-model");
        Self::with(json!({
            "device": "cpu",
            "model_name": model,
            "train_file": fixture("golden/train.jsonl"),
            "eval_file": fixture("golden/eval.jsonl"),
            "lora": {"r": 4, "lora_alpha": 16, "lora_dropout": 0.1},
            "training": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "learning_rate": 2e-3,
                         "max_steps": 12, "warmup_steps": 2, "logging_steps": 2, "eval_steps": 4, "save_steps": 4,
                         "output_dir": "out", "logging_dir": "logs"},
            "inference": {"base_model_name": model, "adapter_path": "out", "merged_model_path": "merged",
                          "generation": {"max_new_tokens": 12, "temperature": 0.0},
                          "questions": ["How many sets?", "What is RPE?"]},
        }))
    }

    pub fn with(config: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.file(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        path.display().to_string()
    }

    /// The binary with this workspace's config, ready for more arguments. No hub is in reach.
    pub fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qwen-lora"));
        command.current_dir(self.path()).args([verb, "--config", "config.json"]);
        command.env("HF_HOME", self.file("hf")).env("HF_HUB_OFFLINE", "1").env_remove("HF_HUB_CACHE");
        command
    }

    pub fn run(&self, verb: &str, arguments: &[&str]) -> Ran {
        Ran::new(self.command(verb).args(arguments).output().unwrap())
    }

    /// A line for the shell (bash, whose `ulimit` counts KiB), run in this workspace. No hub is in reach.
    pub fn bash(&self, line: &str) -> Ran {
        run(Command::new("bash").current_dir(self.path()).args(["-c", line]).env("HF_HUB_OFFLINE", "1"))
    }

    /// Waits until a run of this workspace, which must go on, has made a folder.
    #[track_caller]
    pub fn wait_for(&self, folder: &str, run: &mut Child) {
        while !self.file(folder).is_dir() {
            assert!(run.try_wait().unwrap().is_none(), "it ended early");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Fails unless both runs ended alike, bit for bit.
    #[track_caller]
    pub fn assert_ended_like(&self, other: &Self) {
        assert_eq!(self.adapter_bytes(), other.adapter_bytes());
        assert_eq!(self.json("out/trainer_state.json"), other.json("out/trainer_state.json"));
    }

    #[track_caller]
    pub fn trained(self) -> Self {
        let ran = self.run("train", &[]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        self
    }

    /// The adapter at the root of `out`, byte for byte.
    pub fn adapter_bytes(&self) -> Vec<u8> {
        std::fs::read(self.file("out/adapter_model.safetensors")).unwrap()
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.file(name)).unwrap()).unwrap()
    }
}

pub fn run(command: &mut Command) -> Ran {
    Ran::new(command.output().unwrap())
}

/// A copy of the tiny model that a test may damage.
pub fn copy_model(to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(fixture("tiny-model")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
