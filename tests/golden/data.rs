//! Tokenizer, template and row order against transformers, TRL and torch.

use std::path::Path;

use qwen_lora::data::encode::{EncodeOptions, encode};
use qwen_lora::data::shuffle::randperm;

use crate::fixtures::{golden, golden_rows, integers, json, rows, tokenizer};
use qwen_lora::data::jsonl::{Document, Rows};

const OPTIONS: EncodeOptions = EncodeOptions { max_length: 1024, completion_only_loss: false };

#[test]
fn the_tokenizer_equals_transformers() {
    let tokenizer = tokenizer();
    for case in golden()["tokenizer"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let ids = tokenizer.encode(text).unwrap();
        let expected: Vec<u32> = integers(&case["ids"]).into_iter().map(|id| id as u32).collect();
        assert_eq!(ids, expected, "{text:?}");
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), case["decoded"].as_str().unwrap());
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), case["decoded_skip_special"].as_str().unwrap());
    }
}

#[test]
fn rows_are_encoded_as_sft_trainer_does() {
    for split in ["train", "eval"] {
        let encoded = encode(&rows(split), &tokenizer(), OPTIONS, Path::new(split)).unwrap();
        assert_eq!(encoded.rows, golden_rows(split), "{split}");
        assert_eq!(encoded.truncated, 0);
    }
}

#[test]
fn an_overlong_row_loses_its_end_of_sequence_token() {
    let expected = &json("extra.json")["sft_from_path"];
    let options = EncodeOptions { max_length: 20, ..OPTIONS };
    let encoded = encode(&rows("train"), &tokenizer(), options, Path::new("train")).unwrap();
    assert_eq!(encoded.rows[0].input_ids, integers(&expected["truncated_first"]));
    let lengths: Vec<i32> = encoded.rows[..8].iter().map(|row| row.input_ids.len() as i32).collect();
    assert_eq!(lengths, integers(&expected["lens"]));
    assert_eq!(encoded.truncated, golden_rows("train").iter().filter(|row| row.input_ids.len() > 20).count());
}

#[test]
fn prompt_tokens_carry_no_label_with_completion_only_loss() {
    let options = EncodeOptions { completion_only_loss: true, ..OPTIONS };
    let (rows, tokenizer) = (rows("train"), tokenizer());
    let encoded = encode(&rows, &tokenizer, options, Path::new("train")).unwrap();
    for (record, row) in rows.records.iter().zip(&encoded.rows) {
        let labels: Vec<u32> = row.labels().iter().map(|id| *id as u32).collect();
        assert_eq!(tokenizer.decode(&labels, false).unwrap(), format!(" {}<|im_end|>", record.answer));
    }
}

#[test]
fn a_row_with_no_label_is_refused_with_its_line() {
    let options = EncodeOptions { max_length: 5, completion_only_loss: true };
    let error = encode(&rows("train"), &tokenizer(), options, Path::new("d.jsonl")).unwrap_err().to_string();
    assert!(error.starts_with("d.jsonl:1:"), "{error}");
}

#[test]
fn an_end_token_in_the_text_is_not_doubled() {
    let mut rows = rows("train");
    rows.records[0].answer.push_str("<|im_end|>");
    let encoded = encode(&rows, &tokenizer(), OPTIONS, Path::new("train")).unwrap();
    assert_eq!(encoded.rows[0], golden_rows("train")[0]);
}

/// One stream of documents with an end after each, in blocks of `max_length`.
#[test]
fn documents_are_packed_into_blocks() {
    let document = |text: &str| Document { text: text.into(), line: 1 };
    let texts = ["Protein builds muscle.", "Sleep eight hours.<|im_end|>", "Walk."];
    let rows = Rows { records: Vec::new(), documents: texts.map(document).into() };
    let options = EncodeOptions { max_length: 7, ..OPTIONS };
    let encoded = encode(&rows, &tokenizer(), options, Path::new("d.jsonl")).unwrap();
    let text = "Protein builds muscle.<|im_end|>Sleep eight hours.<|im_end|>Walk.<|im_end|>";
    let stream: Vec<i32> = tokenizer().encode(text).unwrap().into_iter().map(|id| id as i32).collect();
    assert!(stream.len() > 14 && stream.len() % 7 > 1, "the last block is short: {}", stream.len());
    for (row, block) in encoded.rows.iter().zip(stream.chunks(7)) {
        assert_eq!((row.input_ids.as_slice(), row.labels()), (block, &block[1..]));
    }
    assert_eq!(encoded.rows.len(), stream.len().div_ceil(7));
}

#[test]
fn the_order_of_rows_is_torchs() {
    for (epoch, order) in json("extra.json")["default_shuffle_order_seed42_n64"].as_array().unwrap().iter().enumerate()
    {
        let found: Vec<i32> = randperm(64, 42 + epoch as u64).into_iter().map(|i| i as i32).collect();
        assert_eq!(found, integers(order), "epoch {epoch}");
    }
}
