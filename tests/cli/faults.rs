//! Faults injected into real processes: nothing that counts is lost, and the error is one clear line.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use qwen_lora::training::checkpoint::Checkpoints;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::errors::ONE_ROW;
use crate::support::{Workspace, copy_model};

const RESUME: [&str; 2] = ["--set", "training.resume_from_checkpoint=true"];

/// With dropout, shuffling, epochs of 8 steps, and early stopping that counts but never stops.
const LONG: [&str; 12] = [
    "--set",
    "training.max_steps=300",
    "--set",
    "training.eval_steps=6",
    "--set",
    "training.save_steps=2",
    "--set",
    "training.early_stopping_patience=40",
    "--set",
    "training.early_stopping_threshold=0.05",
    "--answers",
    "0",
];

fn start(workspace: &Workspace, arguments: &[&str]) -> Child {
    let mut command = workspace.command("train");
    command.args(LONG).args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Killed at 20 moments, while it loads, computes or writes a checkpoint, a run ends as if nothing had happened.
#[test]
fn a_run_that_is_killed_again_and_again_ends_like_one_that_is_not() {
    let whole = Workspace::new();
    let ran = whole.run("train", &LONG);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);

    let mut victim = Workspace::new();
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    let (mut kills, mut with_checkpoint, mut resumed_at) = (0, 0, Vec::new());
    while kills < 20 {
        if !lives_to_its_end(&victim, &mut rng) {
            kills += 1;
            let (latest, damaged) = Checkpoints::of(&victim.file("out")).latest_complete();
            assert_eq!(damaged, [] as [String; 0], "a half-written checkpoint bears a checkpoint's name");
            with_checkpoint += usize::from(latest.is_some());
            resumed_at.extend(latest.and_then(|path| Checkpoints::step_of(&path)));
            continue;
        }
        // Nobody looked in time: this run is done, and the kills go on with another.
        assert_same_run(&victim, &whole);
        victim = Workspace::new();
        resumed_at.clear();
    }
    assert!(with_checkpoint >= 10 && resumed_at.is_sorted(), "{resumed_at:?}");
    let ran = victim.run("train", &[&LONG[..], &RESUME].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_same_run(&victim, &whole);
}

/// Resumes the run and kills it somewhere within two logged lines, the first to the seventh of which are past: two to
/// sixteen steps with a save at every second; now and then while it still loads.
fn lives_to_its_end(victim: &Workspace, rng: &mut ChaCha8Rng) -> bool {
    let mut child = start(victim, &RESUME);
    let lines = rng.random_range(0..8);
    let mut last = Instant::now();
    let mut gap = Duration::from_millis(100);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.by_ref().lines().map_while(Result::ok).filter(|line| line.starts_with("step ")).take(lines).for_each(|_| {
        gap = last.elapsed();
        last = Instant::now();
    });
    std::thread::sleep(gap.mul_f64(rng.random_range(0.0..1.0)));
    child.kill().unwrap();
    child.wait().unwrap().success()
}

#[track_caller]
fn assert_same_run(victim: &Workspace, whole: &Workspace) {
    victim.assert_ended_like(whole);
    let left: Vec<String> = std::fs::read_dir(victim.file("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".partial") || name.starts_with(".tmp-"))
        .collect();
    assert_eq!(left, [] as [String; 0]);
}

/// The newest checkpoint has lost bytes, or has other ones: the one before it is used, and the run says so.
#[test]
fn a_damaged_newest_checkpoint_is_passed_over() {
    type Damage = fn(&Workspace);
    let damages: [(&str, Damage); 4] = [
        ("adapter_model.safetensors", |w| {
            let path = w.file("out/checkpoint-8/adapter_model.safetensors");
            let mut bytes = std::fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(path, bytes).unwrap();
        }),
        ("optimizer.safetensors", |w| {
            let file = std::fs::File::options().write(true).open(w.file("out/checkpoint-8/optimizer.safetensors"));
            file.unwrap().set_len(100).unwrap();
        }),
        ("loop_state.json", |w| std::fs::remove_file(w.file("out/checkpoint-8/loop_state.json")).unwrap()),
        ("manifest.json", |w| std::fs::write(w.file("out/checkpoint-8/manifest.json"), "{").unwrap()),
    ];
    let whole = Workspace::new().trained();
    for (named, damage) in damages {
        let workspace = Workspace::new();
        let keep = ["--set", "training.save_total_limit=null"];
        assert_eq!(workspace.run("train", &keep).code, Some(0));
        for path in ["checkpoint-12", "adapter_model.safetensors", "adapter_config.json", "trainer_state.json"] {
            let path = workspace.file("out").join(path);
            let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        }
        damage(&workspace);
        let ran = workspace.run("train", &[&keep[..], &RESUME].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("checkpoint-8 is damaged or incomplete") && ran.stderr.contains(named),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains("resuming from out/checkpoint-4"), "{}", ran.stderr);
        assert_eq!(workspace.adapter_bytes(), whole.adapter_bytes());
        // Asked for by name, it is refused.
        damage(&workspace);
        let named = ["--set", "training.resume_from_checkpoint=out/checkpoint-8"];
        workspace.run("train", &named).refuses(2, &["out/checkpoint-8 is damaged or incomplete"]);
    }
}

/// Whatever is refused, and whoever made it: nothing is removed unasked.
#[test]
fn what_another_run_left_is_not_removed_unasked() {
    // A checkpoint of another program's, without a manifest.
    let workspace = Workspace::new();
    workspace.write("out/checkpoint-500/adapter_model.safetensors", "weights");
    workspace.run("train", &[]).refuses(2, &["out holds the results of a run", "--overwrite"]);
    let ran = workspace.run("train", &RESUME);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let aside = workspace.file("out/damaged-checkpoint-500/adapter_model.safetensors");
    assert_eq!(std::fs::read_to_string(aside).unwrap(), "weights");

    // A run in the folder that a checkpoint from elsewhere is continued to.
    let other = ["--set", "training.output_dir=other", "--set", "training.seed=7"];
    assert_eq!(workspace.run("train", &other).code, Some(0));
    let from = ["--set", "training.output_dir=other", "--set", "training.resume_from_checkpoint=out/checkpoint-12"];
    workspace.run("train", &from).refuses(2, &["other holds the results of a run"]);

    // What replaces a run has to be able to start.
    let keep = ["--set", "training.save_total_limit=null", "--overwrite"];
    assert_eq!(workspace.run("train", &keep).code, Some(0));
    let changed = ["--set", "training.resume_from_checkpoint=out/checkpoint-4", "--set", "training.learning_rate=1e-5"];
    workspace.run("train", &[&keep[..], &changed].concat()).refuses(2, &["--accept-changes"]);
    assert!(workspace.file("out/checkpoint-12").is_dir());

    // What a run goes on from stays, whatever it is called by and wherever it lies.
    std::os::unix::fs::symlink(workspace.file("out/checkpoint-12"), workspace.file("latest")).unwrap();
    let longer = ["--set", "training.max_steps=16", "--accept-changes", "--overwrite"];
    let by_link = ["--set", "training.resume_from_checkpoint=latest"];
    let ran = workspace.run("train", &[&longer[..], &by_link].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        workspace.file("out/checkpoint-12").is_dir() && !ran.stderr.contains("not there any more"),
        "{}",
        ran.stderr
    );

    // The base's own folder is no place for an adapter.
    copy_model(&workspace.file("base"));
    let into_base = ["--set", "model_name=base", "--set", "training.output_dir=base", "--overwrite"];
    workspace.run("train", &into_base).refuses(2, &["the base model's own folder"]);
    assert!(workspace.file("base/model.safetensors").exists());
}

/// The report and the weights are of the same step.
#[test]
fn without_its_best_checkpoint_a_run_reports_the_last_step() {
    let workspace = Workspace::new();
    // The validation loss rises from the first evaluation on.
    workspace.write("one.jsonl", ONE_ROW);
    let worse = ["--set", "train_file=one.jsonl", "--set", "training.save_total_limit=null"];
    assert_eq!(workspace.run("train", &worse).code, Some(0));
    let best = workspace.json("out/trainer_state.json")["best_global_step"].as_u64().unwrap();
    assert!(best < 12, "{best}");
    std::fs::remove_dir_all(workspace.file(&format!("out/checkpoint-{best}"))).unwrap();
    let ran = workspace.run("train", &[&worse[..], &RESUME, &["--json"]].concat());
    let report = ran.objects().pop().unwrap();
    assert_eq!(report["best_step"], 12);
    assert_eq!(workspace.json("out/trainer_state.json")["best_global_step"], serde_json::Value::Null);
}

#[test]
fn two_runs_do_not_share_an_output_folder() {
    let workspace = Workspace::new();
    let mut first = start(&workspace, &["--set", "training.num_train_epochs=1000", "--set", "training.max_steps=null"]);
    workspace.wait_for("out/checkpoint-2", &mut first);
    for arguments in [&["--overwrite"][..], &RESUME] {
        workspace.run("train", arguments).refuses(2, &["another run is writing to training.output_dir out"]);
    }
    first.kill().unwrap();
    first.wait().unwrap();
    // The lock died with its process.
    let ran = workspace.run("train", &["--overwrite"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

/// A resumed run rests on the same config, data and base, unless told otherwise.
#[test]
fn a_changed_run_is_resumed_only_when_told() {
    let workspace = Workspace::new();
    let stopped = ["--set", "training.save_total_limit=null"];
    assert_eq!(workspace.run("train", &stopped).code, Some(0));
    for (change, named) in [
        ("training.learning_rate=1e-4", "training.learning_rate was 0.002, is 0.0001"),
        ("training.max_steps=20", "training.max_steps was 12, is 20"),
        ("lora.lora_dropout=0.3", "lora.lora_dropout was 0.1, is 0.3"),
        ("max_length=20", "the training rows was"),
    ] {
        let arguments = [&stopped[..], &RESUME, &["--set", change]].concat();
        workspace.run("train", &arguments).refuses(2, &[named, "--accept-changes"]);
    }
    // Paths and logging may change.
    let moved = ["--set", "training.logging_steps=1", "--set", "training.logging_dir=elsewhere"];
    assert_eq!(workspace.run("train", &[&stopped[..], &RESUME, &moved].concat()).code, Some(0));
    let longer = ["--set", "training.max_steps=20", "--accept-changes"];
    let ran = workspace.run("train", &[&stopped[..], &RESUME, &longer].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("going on although training.max_steps was 12, is 20"), "{}", ran.stderr);
    assert_eq!(workspace.json("out/trainer_state.json")["global_step"], 20);
}

/// An adapter says what it was trained on; with anything else it is used only when told.
#[test]
fn an_adapter_is_not_used_with_weights_or_a_template_that_are_not_its_own() {
    let workspace = Workspace::new();
    copy_model(&workspace.file("base"));
    let named = ["--set", "model_name=base", "--set", "inference.base_model_name=base"];
    assert_eq!(workspace.run("train", &named).code, Some(0));
    // Other weights under the same name.
    let path = workspace.file("base/model.safetensors");
    let original = std::fs::read(&path).unwrap();
    let mut bytes = original.clone();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    for verb in ["infer", "evaluate", "merge"] {
        workspace.run(verb, &named).refuses(2, &["trained with base weights with fingerprint", "--allow-mismatch"]);
        let ran = workspace.run(verb, &[&named[..], &["--allow-mismatch"]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(ran.stderr.contains("warning: the adapter does not belong to base"), "{}", ran.stderr);
    }
    let init = ["--set", "lora.init_adapter=out", "--set", "training.output_dir=other"];
    workspace.run("train", &[&named[..], &init].concat()).refuses(2, &["lora.init_adapter", "--accept-changes"]);
    std::fs::write(&path, original).unwrap();

    let record = workspace.file("out/adapter_record.json");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replace("User: ", "Human: ")).unwrap();
    workspace.run("infer", &named).refuses(2, &["the template", "Human: "]);
    // From elsewhere, without a record: used, with a note.
    std::fs::remove_file(&record).unwrap();
    let ran = workspace.run("infer", &named);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("does not record which weights"), "{}", ran.stderr);
}

#[test]
fn merging_shows_how_close_the_merged_model_is() {
    let workspace = Workspace::new().trained();
    let parity = &workspace.run("merge", &["--json"]).objects()[0]["parity"];
    let figure = |key: &str| parity[key].as_f64().unwrap_or_else(|| panic!("{key}: {parity}"));
    assert_eq!((figure("rows"), figure("greedy_agreement")), (16.0, 1.0));
    assert!(figure("largest_logit_difference") < 1e-4 && figure("kl_divergence").abs() < 1e-6, "{parity}");
    assert!(figure("loss_difference").abs() < 1e-5, "{parity}");
}

/// Files may not grow beyond 12 KiB, so that the optimizer's state fits into none: every save fails, loudly, training goes
/// on, and nothing half-written bears a checkpoint's name.
#[test]
fn a_full_disk_stops_no_training_and_leaves_no_half_checkpoint() {
    let workspace = Workspace::new();
    let command = format!("ulimit -f 12; exec {} train --config config.json", env!("CARGO_BIN_EXE_qwen-lora"));
    let ran = workspace.bash(&command);
    ran.refuses(1, &["cannot save out/checkpoint-12", "warning: cannot save out/checkpoint-4", "tries again"]);
    assert!(ran.stderr.contains("step 12/12"), "{}", ran.stderr);
    assert_eq!(Checkpoints::of(&workspace.file("out")).steps(), [] as [usize; 0]);
    // Not even a log has room.
    let nothing = Workspace::new();
    let ran_without = nothing.bash(&command.replace("-f 12", "-f 0"));
    ran_without.refuses(1, &["warning: cannot write the metric logs in logs", "step 12/12"]);
    // With room again, it starts from the beginning and says so.
    let ran = workspace.run("train", &RESUME);
    assert!(ran.stderr.contains("starting from the beginning"), "{}", ran.stderr);
    assert_eq!(workspace.adapter_bytes(), Workspace::new().trained().adapter_bytes());
}

/// Both folders vanish while the run writes to them: it goes on, saves again, and ends with the last weights.
#[test]
fn folders_that_vanish_while_training_come_back() {
    let workspace = Workspace::new();
    let mut child = start(&workspace, &[]);
    workspace.wait_for("out/checkpoint-20", &mut child);
    for folder in ["out", "logs"] {
        // Files appear while it is removed.
        while workspace.file(folder).exists() && std::fs::remove_dir_all(workspace.file(folder)).is_err() {}
    }
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() && !stderr.contains("panicked"), "{stderr}");
    assert!(workspace.file("out/checkpoint-300").is_dir() && workspace.file("out/adapter_model.safetensors").exists());
}

#[test]
fn an_output_folder_that_cannot_be_written_is_refused_before_training() {
    let workspace = Workspace::new();
    workspace.write("file", "not a folder");
    let refused = |key: &str| workspace.run("train", &["--set", &format!("{key}=file/out")]);
    refused("training.output_dir").refuses(1, &["cannot write to training.output_dir file/out"]);
    refused("training.logging_dir").refuses(1, &["cannot write to training.logging_dir"]);
}

/// Told beforehand, with settings that would do.
#[test]
fn a_job_that_cannot_fit_is_refused_with_what_would_make_it_fit() {
    let workspace = Workspace::new();
    let row =
        serde_json::json!({"question": "How many sets?", "answer": "Ten sets of squats. ".repeat(60)}).to_string();
    workspace.write("rows.jsonl", format!("{row}\n").repeat(512));
    let train = |limit: &str, options: &str| {
        let options = format!("--set train_file=rows.jsonl --set training.per_device_train_batch_size=512 {options}");
        let binary = env!("CARGO_BIN_EXE_qwen-lora");
        let command = format!("{limit} exec {binary} train --json --config config.json {options}");
        workspace.bash(&command)
    };
    let refused = train("ulimit -v 800000;", "--set training.tokens_per_pass=1000000");
    refused.refuses(2, &["training needs about", "0.76 GiB are free", "training.tokens_per_pass="]);
    // What is offered first needs no more than that.
    let offered = refused.stderr.split("training.tokens_per_pass=").nth(1).unwrap();
    let tokens: String = offered.chars().take_while(char::is_ascii_digit).collect();
    let ran = train("", &format!("--set training.max_steps=1 --set training.tokens_per_pass={tokens}"));
    let mib = ran.objects().pop().unwrap()["peak_rss_mib"].as_f64().unwrap();
    assert!(mib < 0.76 * 1024.0, "{mib} MiB");
}

/// Resident memory over 2,000 steps with ten evaluations and saves, once the allocator has what it needs (as many steps
/// before).
#[test]
fn two_thousand_steps_more_need_no_more_memory() {
    let workspace = Workspace::new();
    let options =
        ["max_steps=4000", "logging_steps=100", "eval_steps=200", "save_steps=200", "gradient_accumulation_steps=1"]
            .map(|option| format!("training.{option}"));
    let mut command = workspace.command("train");
    command.args(options.iter().flat_map(|option| ["--set", option])).args(["--answers", "0"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut points: Vec<(f64, f64)> = Vec::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        let step = line.strip_prefix("step ").and_then(|rest| rest.split('/').next()?.parse::<f64>().ok());
        let Some(step) = step.filter(|step| *step >= 2000.0 && line.contains("grad norm")) else { continue };
        let memory = std::fs::read_to_string(&status).unwrap_or_default();
        let resident = memory.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        if let Some(kib) = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok()) {
            points.push((step, kib));
        }
    }
    assert!(child.wait().unwrap().success() && points.len() > 10, "{points:?}");
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let slope = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>()
        / points.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>();
    // A leaked gradient of this model's adapter is 2 KiB.
    assert!(slope < 0.5, "{slope:.3} KiB a step: {points:?}");
}
