//! How to generate: the config's `generation` section over the model's `generation_config.json` over transformers'
//! defaults.

use serde::{Deserialize, Serialize};

use crate::weights::generation_config::ModelGenerationConfig;

/// transformers' own default, 20 tokens in all, cuts every answer short.
const DEFAULT_MAX_NEW_TOKENS: usize = 512;

/// The `inference.generation` section of config.json. What is null comes from the model's `generation_config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GenerationArguments {
    pub max_new_tokens: Option<usize>,
    /// 0: greedy.
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    /// 0: off.
    pub top_k: Option<usize>,
    pub repetition_penalty: Option<f64>,
    pub do_sample: Option<bool>,
    /// The same question gives the same answer.
    pub seed: u64,
}

impl Default for GenerationArguments {
    fn default() -> Self {
        Self {
            max_new_tokens: None,
            temperature: None,
            top_p: None,
            top_k: None,
            repetition_penalty: None,
            do_sample: None,
            seed: 42,
        }
    }
}

impl GenerationArguments {
    /// Problems by key, without the section's name.
    pub fn validate(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut check = |key: &'static str, fine: bool, wanted: &str| {
            if !fine {
                problems.push((key, wanted.to_string()));
            }
        };
        let max_new_tokens = self.max_new_tokens.unwrap_or(DEFAULT_MAX_NEW_TOKENS);
        check("max_new_tokens", (1..=1_000_000).contains(&max_new_tokens), "must be from 1 to 1000000");
        let temperature = self.temperature.unwrap_or(1.0);
        check("temperature", (0.0..=100.0).contains(&temperature), "must be from 0 (greedy) to 100");
        let top_p = self.top_p.unwrap_or(1.0);
        check("top_p", top_p > 0.0 && top_p <= 1.0, "must be above 0 and at most 1");
        let penalty = self.repetition_penalty.unwrap_or(1.0);
        check("repetition_penalty", penalty > 0.0 && penalty.is_finite(), "must be positive (1: none)");
        problems
    }
}

/// Everything that decides which tokens are generated.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationConfig {
    pub max_new_tokens: usize,
    /// `None`: greedy.
    pub sampling: Option<Sampling>,
    pub repetition_penalty: f64,
    /// Generation ends with any of these.
    pub eos_token_ids: Vec<u32>,
    pub seed: u64,
}

/// Applied in this order, each to what the one before left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    pub temperature: f64,
    pub top_k: Option<usize>,
    pub top_p: f64,
}

impl GenerationConfig {
    /// `more_eos`: ids that end generation besides the model's, such as the tokenizer's end-of-sequence token.
    /// Fails if what the model's file adds is out of range.
    pub fn resolve(
        arguments: &GenerationArguments,
        model: &ModelGenerationConfig,
        more_eos: &[u32],
    ) -> Result<Self, String> {
        let number = |own: Option<f64>, key: &str, default: f64| own.or(model.number(key)).unwrap_or(default);
        let temperature = number(arguments.temperature, "temperature", 1.0);
        let top_k = arguments.top_k.or(model.size("top_k")).unwrap_or(50);
        let do_sample = arguments.do_sample.or(model.flag("do_sample")).unwrap_or(false);
        let sampling =
            Sampling { temperature, top_k: (top_k > 0).then_some(top_k), top_p: number(arguments.top_p, "top_p", 1.0) };
        let mut eos_token_ids = model.eos_token_ids();
        eos_token_ids.extend(more_eos);
        eos_token_ids.sort_unstable();
        eos_token_ids.dedup();
        let max_new_tokens =
            arguments.max_new_tokens.or(model.size("max_new_tokens")).unwrap_or(DEFAULT_MAX_NEW_TOKENS);
        let repetition_penalty = number(arguments.repetition_penalty, "repetition_penalty", 1.0);
        let resolved = GenerationArguments {
            max_new_tokens: Some(max_new_tokens),
            temperature: Some(temperature),
            top_p: Some(sampling.top_p),
            repetition_penalty: Some(repetition_penalty),
            ..arguments.clone()
        };
        if let Some((key, problem)) = resolved.validate().first() {
            return Err(format!("{key} {problem}"));
        }
        Ok(Self {
            max_new_tokens,
            sampling: (do_sample && temperature > 0.0).then_some(sampling),
            repetition_penalty,
            eos_token_ids,
            seed: arguments.seed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn instruct() -> ModelGenerationConfig {
        ModelGenerationConfig::from_json(json!({"do_sample": true, "eos_token_id": [151645, 151643],
            "repetition_penalty": 1.1, "temperature": 0.7, "top_p": 0.8, "top_k": 20}))
    }

    #[test]
    fn what_the_config_leaves_out_comes_from_the_model() {
        let arguments =
            GenerationArguments { temperature: Some(0.2), top_p: Some(0.9), ..GenerationArguments::default() };
        let config = GenerationConfig::resolve(&arguments, &instruct(), &[151645]).unwrap();
        assert_eq!(config.sampling, Some(Sampling { temperature: 0.2, top_k: Some(20), top_p: 0.9 }));
        assert_eq!((config.repetition_penalty, config.eos_token_ids), (1.1, vec![151643, 151645]));
    }

    #[test]
    fn without_a_model_config_transformers_defaults_hold() {
        let config = GenerationConfig::resolve(&GenerationArguments::default(), &Default::default(), &[7]).unwrap();
        assert_eq!((config.sampling, config.repetition_penalty, config.eos_token_ids), (None, 1.0, vec![7]));
        let sampled = GenerationArguments { do_sample: Some(true), ..GenerationArguments::default() };
        let config = GenerationConfig::resolve(&sampled, &Default::default(), &[]).unwrap();
        assert_eq!(config.sampling, Some(Sampling { temperature: 1.0, top_k: Some(50), top_p: 1.0 }));
    }

    #[test]
    fn temperature_zero_and_do_sample_false_are_greedy() {
        let cold = GenerationArguments { temperature: Some(0.0), ..GenerationArguments::default() };
        assert_eq!(GenerationConfig::resolve(&cold, &instruct(), &[]).unwrap().sampling, None);
        let greedy = GenerationArguments { do_sample: Some(false), ..GenerationArguments::default() };
        assert_eq!(GenerationConfig::resolve(&greedy, &instruct(), &[]).unwrap().sampling, None);
    }

    #[test]
    fn what_the_model_adds_is_checked_too() {
        for (key, value) in
            [("repetition_penalty", 0.0), ("temperature", -1.0), ("top_p", 3.0), ("max_new_tokens", 0.0)]
        {
            let value = if key == "max_new_tokens" { json!(0) } else { json!(value) };
            let model = ModelGenerationConfig::from_json(json!({key: value}));
            let problem = GenerationConfig::resolve(&GenerationArguments::default(), &model, &[]).unwrap_err();
            assert!(problem.starts_with(key), "{problem}");
        }
    }
}
