//! How much memory a run needs: counted before it starts, so that one that cannot fit does not begin.

use super::arguments::TrainingArguments;
use crate::model::Qwen2Config;
use crate::model::loss::CHUNK_TOKENS;

/// What a run's memory depends on.
#[derive(Debug, Clone)]
pub struct Demand<'a> {
    pub model: &'a Qwen2Config,
    /// Bytes of the base's weights as they are held; those that are trained count below.
    pub weights: u64,
    /// Trained parameters, of an adapter or of the model.
    pub trained_parameters: u64,
    /// Whether all weights are trained.
    pub trains_all: bool,
    /// Whether the inputs of all linear layers are kept: all are trained, or have an adapter.
    pub keeps_all_inputs: bool,
    /// Whether a checkpoint that is being written takes the memory that is counted here.
    pub saves_from_here: bool,
    /// Bytes of an activation.
    pub activation_size: u64,
    /// Tokens of an optimizer step.
    pub step_tokens: u64,
    /// Passes that can be computed at the same time, if a step has so many.
    pub side_by_side: u64,
    /// Matrices of a chunk's logits' size, in f32, that exist at a time: [`LOGITS_ON_CPU`] or [`LOGITS_ON_GPU`].
    pub logits: u64,
}

/// A chunk's logits and their gradient.
pub const LOGITS_ON_CPU: u64 = 2;
/// With the steps in between, and what the allocator keeps (counted: benches/RESULTS.md).
pub const LOGITS_ON_GPU: u64 = 12;

/// The program itself, tokenizer and rows.
const PROCESS: u64 = 32 << 20;

impl Demand<'_> {
    /// Bytes at the peak of a run whose largest pass has so many tokens.
    pub fn bytes(&self, tokens: usize, gradient_checkpointing: bool) -> u64 {
        let c = self.model;
        let passes = self.step_tokens.div_ceil(tokens as u64).max(1);
        let passes_at_once = passes.min(self.side_by_side);
        let (hidden, inner) = (c.hidden_size as u64, c.intermediate_size as u64);
        let (q, kv) = ((c.num_attention_heads * c.head_dim) as u64, (c.num_key_value_heads * c.head_dim) as u64);
        // Both norms' inputs, the normed input of q, k and v; q, k, v; gate and up. An adapter on every layer, or training
        // all, keeps the inputs of o and down and the second norm's output too.
        let layer = 3 * hidden + q + 2 * kv + 2 * inner;
        let layer = if self.keeps_all_inputs { layer + q + inner + hidden } else { layer };
        let layers = c.num_hidden_layers as u64;
        let kept = match gradient_checkpointing {
            true => layers * hidden + layer,
            false => layers * layer,
        };
        // On the way back through a layer: gradients of gate, up and their product, and of the hidden states in between.
        let per_token = kept + 3 * inner + 6 * hidden;
        let activations = tokens as u64 * per_token * self.activation_size * passes_at_once;
        let logits = self.logits * CHUNK_TOKENS.min(tokens) as u64 * c.vocab_size as u64 * 4 * passes_at_once;
        // In f32: weight, gradient, two moments; gradients of passes side by side, of which twice as many are under way;
        // and a checkpoint's copy of all but the gradient.
        let gradients_at_once = if self.side_by_side > 1 { passes.min(2 * self.side_by_side) } else { 0 };
        let copies = if self.saves_from_here { 3 } else { 0 };
        let trained = self.trained_parameters * 4 * (4 + gradients_at_once + copies);
        PROCESS + self.weights + trained + activations + logits
    }
}

/// Why a run does not fit into so much memory, and which settings would make it fit; nothing if it fits.
pub fn refusal(
    demand: &Demand,
    args: &TrainingArguments,
    tokens: usize,
    longest_row: usize,
    available: u64,
) -> Option<String> {
    let needed = demand.bytes(tokens, args.gradient_checkpointing);
    if needed <= available {
        return None;
    }
    let fits = |tokens: usize, checkpointing: bool| demand.bytes(tokens, checkpointing) <= available;
    let mut cures = Vec::new();
    // The most tokens a pass that fit, in round figures; a row cannot be split.
    let budget = (longest_row..tokens).rev().find(|tokens| fits(*tokens, args.gradient_checkpointing));
    if let Some(budget) = budget {
        cures.push(format!("training.micro_batching=auto with training.tokens_per_pass={budget}"));
    }
    if !args.gradient_checkpointing && fits(tokens, true) {
        cures.push("training.gradient_checkpointing=true".into());
    }
    let length = (1..longest_row).rev().find(|length| fits(*length, args.gradient_checkpointing));
    if let Some(length) = length {
        cures.push(format!(
            "max_length={length} with training.micro_batching=auto and training.tokens_per_pass={length}"
        ));
    }
    if cures.is_empty() && fits(longest_row, true) {
        cures.push(format!(
            "training.gradient_checkpointing=true with training.micro_batching=auto and \
             training.tokens_per_pass={longest_row}"
        ));
    }
    if demand.trains_all {
        cures.push("an adapter instead of all weights (a \"lora\" section instead of null)".into());
    }
    let cures = match cures.is_empty() {
        true => "no setting makes it fit; choose a smaller model".to_string(),
        false => format!("any of these makes it fit: {}", cures.join("; ")),
    };
    let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    Some(format!(
        "training needs about {:.2} GiB of memory, {:.2} GiB are free ({tokens} tokens in the largest pass); {cures}. To \
         try all the same: --ignore-memory",
        gib(needed),
        gib(available)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> Qwen2Config {
        let json = json!({"model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864,
            "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
            "tie_word_embeddings": true});
        Qwen2Config::from_json(&json).unwrap()
    }

    fn demand(model: &Qwen2Config) -> Demand<'_> {
        Demand {
            model,
            weights: 988_000_000,
            trained_parameters: 1_081_344,
            trains_all: false,
            keeps_all_inputs: false,
            saves_from_here: true,
            activation_size: 4,
            step_tokens: 2600,
            side_by_side: 1,
            logits: LOGITS_ON_CPU,
        }
    }

    /// Measured: benches/RESULTS.md.
    #[test]
    fn the_estimate_is_near_what_was_measured() {
        let mib = demand(&config()).bytes(704, false) >> 20;
        assert!((2000..2600).contains(&mib), "{mib} MiB; measured 2,262");
        let config = config();
        let on_gpu = Demand { saves_from_here: false, activation_size: 2, logits: LOGITS_ON_GPU, ..demand(&config) };
        let mib = on_gpu.bytes(2848, false) >> 20;
        assert!((4500..5100).contains(&mib), "{mib} MiB; it ran in 4,600 and took 5,040 where there was more");
        let mib = on_gpu.bytes(2848, true) >> 20;
        assert!((2800..3300).contains(&mib), "{mib} MiB; took 2,960");
    }

    #[test]
    fn every_cure_that_is_offered_makes_it_fit() {
        let (config, args) = (config(), TrainingArguments::default());
        let demand = demand(&config);
        assert_eq!(refusal(&demand, &args, 704, 512, 8 << 30), None);
        let text = refusal(&demand, &args, 704, 512, 2 << 30).unwrap();
        for part in ["tokens_per_pass=", "gradient_checkpointing=true", "max_length=", "--ignore-memory"] {
            assert!(text.contains(part), "{text}");
        }
        let offered = text.split("tokens_per_pass=").nth(1).unwrap();
        let budget: usize = offered.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
        assert!((512..704).contains(&budget) && refusal(&demand, &args, budget, 512, 2 << 30).is_none());
        assert!(refusal(&demand, &args, 704, 512, 1 << 29).unwrap().contains("choose a smaller model"));
    }
}
