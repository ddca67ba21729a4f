//! The one place where a question and an answer become text.

/// What the model is given to answer.
pub fn prompt(question: &str) -> String {
    format!("User: {question}\nAssistant:")
}

/// The form in words, to be compared with that of another training.
pub fn description(eos_token: &str) -> String {
    example("{question}", "{answer}") + eos_token
}

/// What the model is trained on, before the end-of-sequence token.
pub fn example(question: &str, answer: &str) -> String {
    format!("{} {answer}", prompt(question))
}
