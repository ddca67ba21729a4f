//! Hostile files: whatever bytes a file holds, reading it ends with a value or an error, without a panic and without more
//! memory than the file's size warrants. 2,000 mutants of real files run with every test; a hundred times as many with
//! `cargo test --test hostile -- --ignored`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::backend::{Autodiff, Flex};
use burn::tensor::DType;
use qwen_lora::config::RunConfig;
use qwen_lora::data::encode::{EncodeOptions, encode};
use qwen_lora::data::jsonl;
use qwen_lora::data::tokenizer::Tokenizer;
use qwen_lora::training::arguments::TrainingArguments;
use qwen_lora::training::checkpoint::SavedRun;
use qwen_lora::training::manifest;
use qwen_lora::training::optimizer::SharedAdamW;
use qwen_lora::training::state::TrainerState;
use qwen_lora::training::trainer::{Start, StartWeights};
use qwen_lora::weights::adapter::Adapter;
use qwen_lora::weights::generation_config::ModelGenerationConfig;
use qwen_lora::weights::model::ModelFolder;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Counts what is allocated, and remembers the most.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// More than any of these small files may cost, by far; less than a lying length asks for.
const MOST_MEMORY: usize = 256 << 20;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A file to mutate, in a folder of its own with what belongs beside it, and its reader.
struct Target {
    folder: tempfile::TempDir,
    file: &'static str,
    original: Vec<u8>,
    read: fn(&Path) -> bool,
}

impl Target {
    /// `sources`: files or folders whose contents are copied.
    fn new(sources: &[PathBuf], file: &'static str, read: fn(&Path) -> bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for source in sources {
            let files: Vec<PathBuf> = match source.is_dir() {
                true => std::fs::read_dir(source).unwrap().map(|entry| entry.unwrap().path()).collect(),
                false => vec![source.clone()],
            };
            for path in files.iter().filter(|path| path.is_file()) {
                std::fs::copy(path, folder.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        let original = std::fs::read(folder.path().join(file)).unwrap();
        assert!(read(folder.path()), "{file} as it is can be read");
        Self { folder, file, original, read }
    }

    /// Reads a mutant; whether it was accepted, or how reading it failed.
    fn try_mutant(&self, bytes: &[u8], what: &str) -> Result<bool, String> {
        std::fs::write(self.folder.path().join(self.file), bytes).unwrap();
        let before = NOW.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {})); // a panic is told once, with its mutant
        let result = catch_unwind(AssertUnwindSafe(|| (self.read)(self.folder.path())));
        std::panic::set_hook(hook);
        let memory = PEAK.load(Ordering::Relaxed).saturating_sub(before);
        let failure = match &result {
            Err(_) => Some("a panic".to_string()),
            Ok(_) => (memory > MOST_MEMORY).then(|| format!("{} MiB", memory >> 20)),
        };
        failure.map_or_else(
            || Ok(result.unwrap_or_default()),
            |failure| {
                let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{}", self.file));
                std::fs::write(&path, bytes).unwrap();
                Err(format!("{}: {failure} at {what}; the mutant is {}", self.file, path.display()))
            },
        )
    }
}

fn ok<T>(result: anyhow::Result<T>) -> bool {
    result.is_ok()
}

/// A checkpoint of a short run, made once.
fn checkpoint() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let config = serde_json::json!({
        "device": "cpu", "model_name": fixture("tiny-model"),
        "train_file": fixture("golden/train.jsonl"), "eval_file": fixture("golden/eval.jsonl"),
        "training": {"max_steps": 2, "eval_steps": 2, "save_steps": 2, "output_dir": folder.join("out"),
                     "logging_dir": folder.join("logs")},
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_qwen-lora"));
    let ran = command.args(["train", "--config"]).arg(folder.join("config.json")).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    folder.join("out/checkpoint-2")
}

/// Loads a checkpoint as far as resuming does before the model is there. Its manifest is renewed: it would notice.
fn read_checkpoint(folder: &Path) -> bool {
    manifest::write(folder).unwrap();
    SavedRun::read(folder).and_then(Start::resumed).is_ok()
}

/// Loads the optimizer's moments for the weights that they belong to.
fn read_moments(folder: &Path) -> bool {
    manifest::write(folder).unwrap();
    let start = SavedRun::read(folder).and_then(Start::resumed).unwrap();
    let (StartWeights::Adapter(adapter), Some(saved)) = (start.trained, start.saved) else { unreachable!() };
    let device = Default::default();
    let model = ModelFolder::open(&fixture("tiny-model")).unwrap().load::<Autodiff<Flex>>(&device, DType::F32);
    let optimizer = SharedAdamW::new(&TrainingArguments::default());
    ok(optimizer.load(&saved.optimizer_file(), &adapter.attach(model, 0.0), saved.state.global_step, &device))
}

fn targets() -> Vec<Target> {
    let (model, adapter, checkpoint) = (fixture("tiny-model"), fixture("golden/adapter_final_hand"), checkpoint());
    let read_model: fn(&Path) -> bool = |folder| {
        let Ok(folder) = ModelFolder::open(folder) else { return false };
        folder.fingerprint();
        folder.load::<Flex>(&Default::default(), DType::F32);
        true
    };
    let read_tokenizer: fn(&Path) -> bool = |folder| {
        let Ok(tokenizer) = Tokenizer::open(folder) else { return false };
        let rows = jsonl::read(&fixture("golden/eval.jsonl")).unwrap();
        let options = EncodeOptions { max_length: 64, completion_only_loss: true };
        encode(&rows, &tokenizer, options, folder).is_ok()
    };
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configurations/config.json");
    vec![
        Target::new(&[config], "config.json", |f| ok(RunConfig::load(&f.join("config.json"), &[]))),
        Target::new(&[fixture("golden/eval.jsonl")], "eval.jsonl", |f| ok(jsonl::read(&f.join("eval.jsonl")))),
        Target::new(std::slice::from_ref(&model), "config.json", read_model),
        Target::new(std::slice::from_ref(&model), "model.safetensors", read_model),
        Target::new(&[sharded()], "model.safetensors.index.json", read_model),
        Target::new(std::slice::from_ref(&model), "tokenizer.json", read_tokenizer),
        Target::new(std::slice::from_ref(&model), "tokenizer_config.json", read_tokenizer),
        Target::new(&[model], "generation_config.json", |f| ok(ModelGenerationConfig::read(f))),
        Target::new(std::slice::from_ref(&adapter), "adapter_config.json", |f| ok(Adapter::read(f))),
        Target::new(&[adapter], "adapter_model.safetensors", |f| ok(Adapter::read(f))),
        Target::new(std::slice::from_ref(&checkpoint), "trainer_state.json", |f| ok(TrainerState::read(f))),
        Target::new(std::slice::from_ref(&checkpoint), "loop_state.json", read_checkpoint),
        Target::new(std::slice::from_ref(&checkpoint), "adapter_record.json", read_checkpoint),
        Target::new(std::slice::from_ref(&checkpoint), "optimizer.safetensors", read_moments),
        Target::new(&[checkpoint], "manifest.json", |f| manifest::problem(f).is_none()),
    ]
}

/// The tiny model in two shards.
fn sharded() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile-sharded");
    std::fs::create_dir_all(&folder).unwrap();
    let bytes = std::fs::read(fixture("tiny-model/model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut shards: [Vec<(String, safetensors::tensor::TensorView)>; 2] = Default::default();
    let mut map = serde_json::Map::new();
    for (number, (name, view)) in file.iter().enumerate() {
        map.insert(name.into(), format!("shard-{}.safetensors", number % 2).into());
        shards[number % 2].push((name.to_string(), view));
    }
    for (number, shard) in shards.into_iter().enumerate() {
        let path = folder.join(format!("shard-{number}.safetensors"));
        std::fs::write(path, safetensors::serialize(shard, None).unwrap()).unwrap();
    }
    let index = serde_json::json!({"metadata": {}, "weight_map": map});
    std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    std::fs::copy(fixture("tiny-model/config.json"), folder.join("config.json")).unwrap();
    folder
}

/// Where a mutation may strike: anywhere in a text, in the header of a safetensors file (its data has no structure).
fn reach(target: &Target, bytes: &[u8]) -> usize {
    match target.file.ends_with(".safetensors") {
        true => (u64::from_le_bytes(bytes[..8].try_into().unwrap()).saturating_add(8) as usize).min(bytes.len()),
        false => bytes.len(),
    }
}

/// Breaks a file in one of the ways that files are broken in, by accident or on purpose; says how.
fn mutate(bytes: &mut Vec<u8>, reach: usize, rng: &mut ChaCha8Rng) -> String {
    let at = rng.random_range(0..reach.max(1)).min(bytes.len().saturating_sub(1));
    match rng.random_range(0..8) {
        0 => {
            bytes[at] ^= 1 << rng.random_range(0..8);
            format!("a flipped bit at {at}")
        }
        1 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        2 => {
            let len = rng.random_range(1..40).min(bytes.len() - at);
            bytes.drain(at..at + len);
            format!("{len} bytes lost at {at}")
        }
        3 => {
            let len = rng.random_range(1..40).min(bytes.len() - at);
            let copy = bytes[at..at + len].to_vec();
            bytes.splice(at..at, copy);
            format!("{len} bytes doubled at {at}")
        }
        4 => {
            let words: [&[u8]; 14] = [
                b"null",
                b"-1",
                b"0",
                b"18446744073709551615",
                b"1e999",
                b"1e-999",
                b"{}",
                b"[]",
                b"\"\"",
                b"true",
                b"\xFF\xFE",
                b"\0",
                b"\\ud800",
                b"../../x",
            ];
            let word = words.choose(rng).unwrap();
            bytes.splice(at..at, word.iter().copied());
            format!("{:?} put in at {at}", String::from_utf8_lossy(word))
        }
        5 => replace_a_number(bytes, reach, rng),
        6 => {
            let depth = rng.random_range(1..2000);
            bytes.splice(at..at, std::iter::repeat_n(b'[', depth));
            format!("{depth} brackets at {at}")
        }
        _ => {
            let lengths = [0, 1, 7, u32::MAX as u64, 1 << 40, u64::MAX, bytes.len() as u64, reach as u64 + 1];
            let length = lengths.choose(rng).unwrap();
            if bytes.len() >= 8 {
                bytes[..8].copy_from_slice(&length.to_le_bytes());
            }
            format!("the first eight bytes say {length}")
        }
    }
}

/// Another number in the place of one: lengths, shapes and offsets that lie.
fn replace_a_number(bytes: &mut Vec<u8>, reach: usize, rng: &mut ChaCha8Rng) -> String {
    let starts: Vec<usize> =
        (1..reach.min(bytes.len())).filter(|i| bytes[*i].is_ascii_digit() && !bytes[*i - 1].is_ascii_digit()).collect();
    let Some(start) = starts.choose(rng).copied() else {
        return "nothing".into();
    };
    let end = (start..bytes.len()).find(|i| !bytes[*i].is_ascii_digit()).unwrap_or(bytes.len());
    let numbers =
        ["0", "1", "2", "3", "-1", "4294967296", "1099511627776", "9223372036854775807", "0.5", "1e308", "65536"];
    let number = numbers.choose(rng).unwrap();
    bytes.splice(start..end, number.bytes());
    format!("{number} at {start}")
}

fn mutants(count: usize, seed: u64) {
    let targets = targets();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut accepted, mut failures) = (0, Vec::new());
    for number in 0..count {
        let target = &targets[number % targets.len()];
        let (mut bytes, mut what) = (target.original.clone(), Vec::new());
        for _ in 0..rng.random_range(1..4) {
            if !bytes.is_empty() {
                let reach = if bytes.len() >= 8 { reach(target, &bytes) } else { bytes.len() };
                what.push(mutate(&mut bytes, reach, &mut rng));
            }
        }
        match target.try_mutant(&bytes, &what.join(", ")) {
            Ok(was_accepted) => accepted += was_accepted as usize,
            Err(failure) => failures.push(failure),
        }
    }
    assert!(
        failures.is_empty(),
        "{} failures, among them:\n{}",
        failures.len(),
        failures[..failures.len().min(10)].join("\n")
    );
    // Both happen, or the test would show nothing.
    assert!(accepted > count / 50 && accepted < count * 3 / 4, "{accepted} of {count} were accepted");
}

#[test]
fn two_thousand_mutants_are_read_or_refused() {
    mutants(2_000, 1);
}

#[test]
#[ignore = "minutes; the short form runs always"]
fn two_hundred_thousand_mutants_are_read_or_refused() {
    mutants(200_000, 2);
}
