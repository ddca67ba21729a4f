//! A tokenizer of Qwen2's kind, trained on a corpus: byte-level BPE (Sennrich et al., 2016; Radford et al., 2019).

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde_json::json;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, NormalizerWrapper, SplitDelimiterBehavior, TokenizerBuilder};

use crate::files::write_atomically;

/// How Qwen2 cuts text into words before merging: contractions, words with the space before them, single digits,
/// punctuation, line ends, other space.
const WORDS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Ends a text.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// Qwen2's special tokens; their ids follow the vocabulary's.
const SPECIAL: [&str; 3] = [END_OF_TEXT, "<|im_start|>", "<|im_end|>"];

/// The smallest vocabulary: every byte and the special tokens.
pub const MIN_VOCAB_SIZE: usize = 256 + SPECIAL.len();

/// A tokenizer that was trained.
pub struct TrainedTokenizer {
    json: String,
    /// Tokens, the special ones included.
    pub vocab_size: usize,
    /// The id of [`END_OF_TEXT`].
    pub end_of_text_id: u32,
}

impl TrainedTokenizer {
    /// Learns the merges of `texts` that make `vocab_size` tokens with the special ones. The same texts give the same
    /// tokenizer, byte for byte.
    pub fn train(texts: &[String], vocab_size: usize) -> Result<Self> {
        let failed = |e: tokenizers::Error| anyhow!("cannot train the tokenizer: {e}");
        let split = Split::new(SplitPattern::Regex(WORDS.into()), SplitDelimiterBehavior::Isolated, false);
        let byte_level = ByteLevel::new(false, false, false);
        let words = Sequence::new(vec![
            PreTokenizerWrapper::Split(split.map_err(failed)?),
            PreTokenizerWrapper::ByteLevel(byte_level),
        ]);
        let mut tokenizer = TokenizerBuilder::new()
            .with_model(BPE::default())
            .with_normalizer(Some(NormalizerWrapper::NFC(NFC)))
            .with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(words)))
            .with_post_processor(Some(byte_level))
            .with_decoder(Some(byte_level))
            .build()
            .map_err(failed)?;
        let mut trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(vocab_size - SPECIAL.len())
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        tokenizer.train(&mut trainer, texts.iter().map(String::as_str)).map_err(failed)?;
        tokenizer.add_special_tokens(SPECIAL.map(|token| AddedToken::from(token, true))).map_err(failed)?;
        let end_of_text_id = tokenizer.token_to_id(END_OF_TEXT).context("the special tokens were just added")?;
        let vocab_size = tokenizer.get_vocab_size(true);
        Ok(Self { vocab_size, json: tokenizer.to_string(true).map_err(failed)?, end_of_text_id })
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json`.
    pub fn write(&self, folder: &Path, max_length: usize) -> Result<()> {
        let config = json!({
            "add_prefix_space": false,
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
            "bos_token": null,
            "clean_up_tokenization_spaces": false,
            "eos_token": END_OF_TEXT,
            "errors": "replace",
            "model_max_length": max_length,
            "pad_token": END_OF_TEXT,
            "split_special_tokens": false,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": null,
        });
        write_atomically(&folder.join("tokenizer.json"), self.json.as_bytes())?;
        write_atomically(&folder.join("tokenizer_config.json"), serde_json::to_string_pretty(&config)?.as_bytes())
    }
}
