//! A model's name in the config -> a folder: a local one, or a snapshot in the Hugging Face cache, downloaded first
//! where it is not there yet.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Result;
use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};

use crate::bad_input;
use crate::data::tokenizer::TOKENIZER_FILES;
use crate::error::OrBadInput;
use crate::weights::safetensors::{INDEX_FILE, SINGLE_FILE, read_index};

/// How long the hub may take to say what a repository holds.
const REACH_TIMEOUT: Duration = Duration::from_secs(20);

/// Files that a model cannot do without, besides its weights.
const REQUIRED: [&str; 3] = ["config.json", "tokenizer.json", "tokenizer_config.json"];

/// Files that are used where a model has them.
fn optional() -> impl Iterator<Item = &'static str> {
    TOKENIZER_FILES.into_iter().chain(["generation_config.json"]).filter(|file| !REQUIRED.contains(file))
}

/// Where models come from: the environment variables of `huggingface_hub`, read by the caller.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`.
    pub cache_dir: PathBuf,
    /// `HF_TOKEN`, else the file that `huggingface-cli login` writes.
    pub token: Option<String>,
    /// `HF_ENDPOINT`
    pub endpoint: String,
    /// `HF_HUB_OFFLINE`
    pub offline: bool,
    /// Whether downloads draw a progress bar on stderr.
    pub progress: bool,
}

impl HubSettings {
    /// Reads the variables through `var`, as huggingface_hub does.
    pub fn from_variables(var: impl Fn(&str) -> Option<String>, progress: bool) -> Self {
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        let home = set("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
            let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.unwrap_or_else(|| PathBuf::from(set("HOME").unwrap_or_default()).join(".cache"));
            cache.join("huggingface")
        });
        let saved_token = || std::fs::read_to_string(home.join("token")).ok().map(|t| t.trim().to_string());
        Self {
            cache_dir: set("HF_HUB_CACHE").map(PathBuf::from).unwrap_or_else(|| home.join("hub")),
            token: set("HF_TOKEN").or_else(saved_token).filter(|token| !token.is_empty()),
            endpoint: set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into()),
            offline: set("HF_HUB_OFFLINE").is_some_and(|v| ["1", "true", "yes", "on"].contains(&&*v.to_lowercase())),
            progress,
        }
    }
}

/// The folder that holds a model's files.
pub fn resolve(name: &str, settings: &HubSettings) -> Result<PathBuf> {
    let path = Path::new(name);
    if path.is_dir() {
        return Ok(path.to_path_buf());
    }
    if !is_hub_id(name) {
        bad_input!("the model folder {name:?} does not exist (and it is not a hub id, which reads \"owner/name\")");
    }
    let cached = Cache::new(settings.cache_dir.clone()).repo(repo(name));
    if let Some(folder) = complete_snapshot(&cached) {
        return Ok(folder);
    }
    if settings.offline {
        bad_input!(
            "{name} is not in the cache and HF_HUB_OFFLINE forbids a download.\n  {}",
            what_would_do(name, settings)
        );
    }
    download(name, settings)
}

fn repo(name: &str) -> Repo {
    Repo::new(name.to_string(), RepoType::Model)
}

/// `owner/name` in the characters that the hub allows.
fn is_hub_id(name: &str) -> bool {
    let part = |s: &str| {
        !s.is_empty()
            && !s.starts_with(['.', '-'])
            && s.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    name.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

/// The cached snapshot, if all that a model needs is there.
fn complete_snapshot(cached: &hf_hub::CacheRepo) -> Option<PathBuf> {
    let folder = cached.get("config.json")?.parent()?.to_path_buf();
    let required = REQUIRED.iter().all(|file| folder.join(file).exists());
    let weights = match folder.join(INDEX_FILE) {
        index if index.exists() => shards(&index).ok()?.iter().all(|shard| folder.join(shard).exists()),
        _ => folder.join(SINGLE_FILE).exists(),
    };
    (required && weights).then_some(folder)
}

/// The files that an index names.
fn shards(index: &Path) -> Result<BTreeSet<String>> {
    Ok(read_index(index)?.into_values().collect())
}

fn what_would_do(name: &str, settings: &HubSettings) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    format!(
        "If {name} should be a folder: there is none in {}, and paths are relative to where the program is started.\n  \
         Else put {}, {SINGLE_FILE} (or its shards with {INDEX_FILE}) and, where it has one, generation_config.json into a \
         folder and set model_name to that folder; or fill the cache {} on a machine with a connection \
         (`huggingface-cli download {name}`).",
        here.display(),
        REQUIRED.join(", "),
        settings.cache_dir.display(),
    )
}

fn download(name: &str, settings: &HubSettings) -> Result<PathBuf> {
    let failed = || format!("cannot download {name} from {}", settings.endpoint);
    let api = ApiBuilder::from_cache(Cache::new(settings.cache_dir.clone()))
        .with_endpoint(settings.endpoint.clone())
        .with_token(settings.token.clone())
        .with_progress(settings.progress)
        .with_retries(3)
        .build()
        .or_bad_input(failed)?;
    let files = list_files(api.clone(), name, settings)?;
    let model = api.repo(repo(name));
    let get = |file: &str| model.get(file).or_bad_input(|| format!("{} ({file})", failed()));
    let has = |file: &str| files.iter().any(|f| f == file);

    if let Some(file) = REQUIRED.into_iter().find(|file| !has(file)) {
        bad_input!("{name} on {} has no {file}", settings.endpoint);
    }
    for file in REQUIRED.into_iter().chain(optional().filter(|file| has(file))) {
        get(file)?;
    }
    if has(SINGLE_FILE) {
        get(SINGLE_FILE)?;
    } else if has(INDEX_FILE) {
        for shard in shards(&get(INDEX_FILE)?)? {
            get(&shard)?;
        }
    } else {
        bad_input!("{name} on {} has no safetensors weights", settings.endpoint);
    }
    let config = get("config.json")?;
    Ok(config.parent().expect("a file has a folder").to_path_buf())
}

/// The repository's files, config.json already downloaded: a hub that gives both is in reach. Asked on a thread of its
/// own, because the client knows no time limit.
fn list_files(api: Api, name: &str, settings: &HubSettings) -> Result<Vec<String>> {
    let (sender, receiver) = mpsc::channel();
    let model = api.repo(repo(name));
    std::thread::spawn(move || {
        let listed = model.info().and_then(|info| model.get(REQUIRED[0]).map(|_| info));
        sender.send(listed.map_err(|error| error.to_string()))
    });
    let unreachable = |why: String| {
        format!(
            "cannot get {name} from {}: {why}.\n  Check the connection, the id and, for a private model, HF_TOKEN. {}",
            settings.endpoint,
            what_would_do(name, settings)
        )
    };
    match receiver.recv_timeout(REACH_TIMEOUT) {
        Ok(Ok(info)) => Ok(info.siblings.into_iter().map(|file| file.rfilename).collect()),
        Ok(Err(error)) => bad_input!("{}", unreachable(error)),
        Err(_) => bad_input!("{}", unreachable(format!("no answer within {} seconds", REACH_TIMEOUT.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> HubSettings {
        let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        HubSettings::from_variables(get, false)
    }

    #[test]
    fn the_cache_follows_huggingface_hubs_variables() {
        assert_eq!(settings(&[("HOME", "/h")]).cache_dir, Path::new("/h/.cache/huggingface/hub"));
        assert_eq!(settings(&[("HOME", "/h"), ("HF_HOME", "/x")]).cache_dir, Path::new("/x/hub"));
        assert_eq!(settings(&[("HF_HOME", "/x"), ("HF_HUB_CACHE", "/y")]).cache_dir, Path::new("/y"));
        let all = settings(&[("HF_TOKEN", "t"), ("HF_ENDPOINT", "http://e"), ("HF_HUB_OFFLINE", "1")]);
        assert_eq!((all.token.as_deref(), all.endpoint.as_str(), all.offline), (Some("t"), "http://e", true));
    }

    #[test]
    fn only_owner_and_name_make_a_hub_id() {
        assert!(is_hub_id("Qwen/Qwen2.5-0.5B-Instruct"));
        for name in ["./model", "model", "/abs/model", "a/b/c", "../x", "a/..", "~/model", "a/b c"] {
            assert!(!is_hub_id(name), "{name}");
        }
    }
}
