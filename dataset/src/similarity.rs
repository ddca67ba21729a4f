//! How near two questions are: Jaccard similarity of their three-word shingles.

use std::collections::{BTreeSet, HashMap};

/// Questions of two splits must be less alike than this.
pub const NEAR: f64 = 0.6;

/// The words of a text after folding case and punctuation: "What's my BMR?" -> whats my bmr.
pub fn fold(text: &str) -> Vec<String> {
    let letters: String = text
        .to_lowercase()
        .chars()
        .filter(|letter| !matches!(letter, '\'' | '’'))
        .map(|letter| if letter.is_alphanumeric() { letter } else { ' ' })
        .collect();
    letters.split_whitespace().map(str::to_string).collect()
}

/// A shorter text is one shingle, so that it is near to its own copy only.
fn shingles(text: &str) -> BTreeSet<String> {
    let words = fold(text);
    if words.len() < 3 {
        return BTreeSet::from([words.join(" ")]);
    }
    words.windows(3).map(|window| window.join(" ")).collect()
}

/// Questions numbered in the order in which they were added, findable by nearness.
#[derive(Default)]
pub struct Questions {
    holders: HashMap<String, Vec<usize>>,
    sizes: Vec<usize>,
}

impl Questions {
    pub fn add(&mut self, question: &str) {
        let shingles = shingles(question);
        self.sizes.push(shingles.len());
        for shingle in shingles {
            self.holders.entry(shingle).or_default().push(self.sizes.len() - 1);
        }
    }

    /// The added questions at a similarity of `bound` or more, with the similarity, in order.
    pub fn near(&self, question: &str, bound: f64) -> Vec<(usize, f64)> {
        let shingles = shingles(question);
        let mut shared: HashMap<usize, usize> = HashMap::new();
        for holder in shingles.iter().filter_map(|shingle| self.holders.get(shingle)).flatten() {
            *shared.entry(*holder).or_default() += 1;
        }
        let mut near: Vec<(usize, f64)> = shared
            .into_iter()
            .map(|(other, both)| (other, both as f64 / (shingles.len() + self.sizes[other] - both) as f64))
            .filter(|(_, similarity)| *similarity >= bound)
            .collect();
        near.sort_by_key(|(other, _)| *other); // a hash map has no order of its own
        near
    }
}

/// All pairs at a similarity of `bound` or more: (later, earlier, similarity).
pub fn near_pairs<'a>(questions: impl IntoIterator<Item = &'a str>, bound: f64) -> Vec<(usize, usize, f64)> {
    let mut seen = Questions::default();
    let mut pairs = Vec::new();
    for (number, question) in questions.into_iter().enumerate() {
        pairs.extend(seen.near(question, bound).into_iter().map(|(other, similarity)| (number, other, similarity)));
        seen.add(question);
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_punctuation_do_not_separate_questions() {
        assert_eq!(fold("What's my BMR?"), ["whats", "my", "bmr"]);
        assert_eq!(near_pairs(["What's my BMR?", "whats my bmr"], 0.99), [(1, 0, 1.0)]);
    }

    #[test]
    fn similarity_is_shared_shingles_over_all_shingles() {
        // a b c | b c d | c d e against b c d | c d e | d e f: 2 of 4.
        assert_eq!(near_pairs(["a b c d e", "b c d e f"], 0.5), [(1, 0, 0.5)]);
        assert!(near_pairs(["a b c d e", "b c d e f"], 0.51).is_empty());
    }

    #[test]
    fn short_questions_are_near_to_their_copies_only() {
        assert_eq!(near_pairs(["bmr please", "BMR, please!", "bmr thanks"], 0.1), [(1, 0, 1.0)]);
    }
}
