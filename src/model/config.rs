//! `config.json` of a Qwen2 checkpoint, in the layout of transformers 4 (flat) and 5 (`rope_parameters`, `dtype`).

use serde_json::Value;

use super::lora::TargetModule;

/// The shape of a Qwen2 model. Field names are the keys of the checkpoint's `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Qwen2Config {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    /// Size of one attention head; `hidden_size / num_attention_heads` unless the file says otherwise.
    pub head_dim: usize,
    pub rms_norm_eps: f64,
    pub rope_theta: f64,
    pub max_position_embeddings: usize,
    /// The output projection is the embedding matrix; the file then holds no `lm_head.weight`.
    pub tie_word_embeddings: bool,
}

/// Upper bound of every size in `config.json`: far above any Qwen2, low enough that products of two fit in memory sizes.
const MAX_SIZE: u64 = 1 << 24;

const MAX_LAYERS: usize = 1024;

impl Qwen2Config {
    /// Reads the parsed `config.json`. Every problem is reported, not just the first.
    pub fn from_json(json: &Value) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let model_type = json["model_type"].as_str().unwrap_or("(none)");
        if model_type != "qwen2" {
            return Err(vec![format!("model_type is {model_type:?}; only \"qwen2\" is supported")]);
        }
        problems.extend(unsupported_features(json));

        let mut size = |key: &str, default: Option<usize>| match (&json[key], default) {
            (Value::Null, Some(default)) => default,
            (value, _) => match value.as_u64() {
                Some(n) if (1..=MAX_SIZE).contains(&n) => n as usize,
                _ => {
                    problems.push(format!("{key} must be a positive integer (up to {MAX_SIZE}), found {value}"));
                    1
                }
            },
        };
        let hidden_size = size("hidden_size", None);
        let num_attention_heads = size("num_attention_heads", None);
        let mut config = Self {
            vocab_size: size("vocab_size", None),
            hidden_size,
            intermediate_size: size("intermediate_size", None),
            num_hidden_layers: size("num_hidden_layers", None),
            num_attention_heads,
            num_key_value_heads: size("num_key_value_heads", None),
            head_dim: size("head_dim", Some((hidden_size / num_attention_heads).max(1))),
            max_position_embeddings: size("max_position_embeddings", Some(32768)),
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            tie_word_embeddings: json["tie_word_embeddings"].as_bool().unwrap_or(false),
        };

        let mut positive = |key: &str, value: &Value, default: f64| match value {
            Value::Null => default,
            value => match value.as_f64() {
                Some(x) if x > 0.0 && x.is_finite() => x,
                _ => {
                    problems.push(format!("{key} must be a positive number, found {value}"));
                    default
                }
            },
        };
        config.rms_norm_eps = positive("rms_norm_eps", &json["rms_norm_eps"], 1e-6);
        // transformers 5 nests it; 10000 is transformers' own default where neither is given.
        let nested = &json["rope_parameters"]["rope_theta"];
        let theta = if nested.is_null() { &json["rope_theta"] } else { nested };
        config.rope_theta = positive("rope_theta", theta, 10_000.0);

        if config.num_hidden_layers > MAX_LAYERS {
            problems
                .push(format!("num_hidden_layers must be at most {MAX_LAYERS}, found {}", config.num_hidden_layers));
        }
        if problems.is_empty() {
            if !config.num_attention_heads.is_multiple_of(config.num_key_value_heads) {
                problems.push(format!(
                    "num_attention_heads ({}) must be a multiple of num_key_value_heads ({})",
                    config.num_attention_heads, config.num_key_value_heads
                ));
            }
            if !config.head_dim.is_multiple_of(2) {
                problems.push(format!("head_dim ({}) must be even for rotary embeddings", config.head_dim));
            }
        }
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// `[out, in]` of a linear module.
    pub fn linear_shape(&self, target: TargetModule) -> [usize; 2] {
        let hidden = self.hidden_size;
        let (q, kv) = (self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim);
        match target {
            TargetModule::QProj => [q, hidden],
            TargetModule::KProj | TargetModule::VProj => [kv, hidden],
            TargetModule::OProj => [hidden, q],
            TargetModule::GateProj | TargetModule::UpProj => [self.intermediate_size, hidden],
            TargetModule::DownProj => [hidden, self.intermediate_size],
        }
    }

    /// Parameters of the linear layers and the head: each costs two operations a token and pass.
    pub fn multiplied_parameters(&self) -> usize {
        let layer: usize = TargetModule::ALL.iter().map(|t| self.linear_shape(*t).iter().product::<usize>()).sum();
        self.num_hidden_layers * layer + self.vocab_size * self.hidden_size
    }
}

/// What this program would compute wrongly if it loaded the file all the same.
fn unsupported_features(json: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let act = json["hidden_act"].as_str().unwrap_or("silu");
    if act != "silu" {
        found.push(format!("hidden_act {act:?} is not supported (Qwen2 uses \"silu\")"));
    }
    let sliding_layer =
        |layers: &Value| layers.as_array().is_some_and(|l| l.iter().any(|t| t.as_str() != Some("full_attention")));
    if json["use_sliding_window"].as_bool() == Some(true) || sliding_layer(&json["layer_types"]) {
        found.push("sliding-window attention (use_sliding_window, layer_types) is not supported".into());
    }
    if !json["rope_scaling"].is_null() {
        found.push(format!("rope_scaling {} is not supported", json["rope_scaling"]));
    }
    if let Some(kind) = json["rope_parameters"]["rope_type"].as_str()
        && kind != "default"
    {
        found.push(format!("rope_parameters.rope_type {kind:?} is not supported (only \"default\" is)"));
    }
    if json["attention_dropout"].as_f64().is_some_and(|p| p != 0.0) {
        found.push("attention_dropout other than 0 is not supported".into());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn v4() -> Value {
        json!({"model_type": "qwen2", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 176,
               "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "rope_theta": 1e6,
               "torch_dtype": "bfloat16", "tie_word_embeddings": true, "sliding_window": 32768,
               "use_sliding_window": false})
    }

    #[test]
    fn both_config_styles_give_the_same_model() {
        let flat = Qwen2Config::from_json(&v4()).unwrap();
        let mut nested = v4();
        nested.as_object_mut().unwrap().remove("rope_theta");
        nested.as_object_mut().unwrap().remove("torch_dtype");
        nested["rope_parameters"] = json!({"rope_theta": 1e6, "rope_type": "default"});
        nested["dtype"] = json!("bfloat16");
        assert_eq!(flat.rope_theta, 1e6);
        assert_eq!(flat.head_dim, 16);
        assert_eq!(Qwen2Config::from_json(&nested).unwrap(), flat);
    }

    #[test]
    fn an_explicit_head_dim_wins() {
        let mut json = v4();
        json["head_dim"] = json!(32);
        assert_eq!(Qwen2Config::from_json(&json).unwrap().head_dim, 32);
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (key, value, named) in [
            ("model_type", json!("llama"), "llama"),
            ("use_sliding_window", json!(true), "sliding"),
            ("layer_types", json!(["full_attention", "sliding_attention"]), "sliding"),
            ("rope_scaling", json!({"type": "yarn"}), "rope_scaling"),
            ("rope_parameters", json!({"rope_type": "yarn", "rope_theta": 1e6}), "yarn"),
            ("hidden_act", json!("gelu"), "gelu"),
            ("num_hidden_layers", json!(16_000_000), "num_hidden_layers"),
            ("hidden_size", json!(-3), "hidden_size"),
            ("vocab_size", json!(1u64 << 60), "vocab_size"),
            ("num_key_value_heads", json!(3), "num_key_value_heads"),
            ("rope_theta", json!("big"), "rope_theta"),
        ] {
            let mut json = v4();
            json[key] = value;
            let problems = Qwen2Config::from_json(&json).unwrap_err().join("\n");
            assert!(problems.contains(named), "{key}: {problems}");
        }
    }
}
