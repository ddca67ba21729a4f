//! Texts that say nearly the same: Jaccard similarity of their word 3-shingles, found by MinHash (Broder, 1997) and
//! banding, so that a hundred thousand rows take seconds.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use rayon::prelude::*;

/// Two texts count as near duplicates from here on.
pub const NEAR_DUPLICATE: f64 = 0.6;

const BANDS: usize = 24;
const ROWS_PER_BAND: usize = 3;

/// Lower-case words without sentence punctuation: what is left of a question when its typing is forgotten. Signs that
/// tell things apart (C and C#, + and -) stay.
pub fn fold(text: &str) -> String {
    let is_typing = |c: char| c.is_whitespace() || ".,;:!?\"'()[]…’‘“”".contains(c);
    let words: Vec<String> =
        text.split(is_typing).filter(|word| !word.is_empty()).map(|word| word.to_lowercase()).collect();
    if words.is_empty() { text.trim().to_string() } else { words.join(" ") }
}

/// Hashes of a folded text's 3-word shingles; of all its words, if it has fewer.
fn shingles(folded: &str) -> HashSet<u64> {
    let words: Vec<&str> = folded.split(' ').collect();
    words
        .windows(words.len().clamp(1, 3))
        .map(|shingle| {
            let mut hasher = DefaultHasher::new();
            shingle.hash(&mut hasher);
            hasher.finish()
        })
        .collect()
}

fn jaccard(a: &HashSet<u64>, b: &HashSet<u64>) -> f64 {
    let common = a.intersection(b).count();
    common as f64 / (a.len() + b.len() - common) as f64
}

/// Pairs of texts (by their places in the list, smaller first) that are near duplicates; texts are folded first.
///
/// Candidates share a band of their signature; each is verified exactly. A pair at the threshold is found with
/// probability 1 - (1 - 0.6^3)^24 > 99.7 %.
pub fn near_duplicates(folded: &[String]) -> Vec<(usize, usize)> {
    let sets: Vec<HashSet<u64>> = folded.par_iter().map(|text| shingles(text)).collect();
    let signatures: Vec<Vec<u64>> = sets.par_iter().map(signature).collect();
    let mut candidates = HashSet::new();
    for band in 0..BANDS {
        let mut buckets: HashMap<&[u64], Vec<usize>> = HashMap::new();
        for (place, signature) in signatures.iter().enumerate() {
            let rows = &signature[band * ROWS_PER_BAND..(band + 1) * ROWS_PER_BAND];
            let bucket = buckets.entry(rows).or_default();
            // One neighbour a bucket and text is enough to name a family of copies, and keeps this linear.
            if let Some(first) = bucket.first() {
                candidates.insert((*first, place));
            }
            if let Some(last) = bucket.last() {
                candidates.insert((*last, place));
            }
            bucket.push(place);
        }
    }
    let mut pairs: Vec<(usize, usize)> =
        candidates.into_par_iter().filter(|(a, b)| jaccard(&sets[*a], &sets[*b]) >= NEAR_DUPLICATE).collect();
    pairs.sort_unstable();
    pairs
}

/// For each of the hash functions, the smallest hash of a shingle.
fn signature(shingles: &HashSet<u64>) -> Vec<u64> {
    (0..(BANDS * ROWS_PER_BAND) as u64)
        .map(|function| {
            let hash = |shingle: &u64| {
                let z = (shingle ^ function.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                (z ^ (z >> 29)).wrapping_mul(0x94D0_49BB_1331_11EB)
            };
            shingles.iter().map(hash).min().unwrap_or(0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_forgets_case_and_punctuation() {
        assert_eq!(fold("  How much PROTEIN, per kg?! "), "how much protein per kg");
        assert_ne!(fold("What is C#?"), fold("What is C?"));
        assert_eq!(fold("?!"), "?!");
    }

    #[test]
    fn near_duplicates_are_found_and_others_are_not() {
        let texts: Vec<String> = [
            "how much protein should i eat each day to build muscle",
            "is creatine safe for me if i am sixteen years old",
            "how much protein should i eat each day to build some muscle",
            "how many days a week should i train legs to build muscle",
        ]
        .map(String::from)
        .to_vec();
        assert_eq!(near_duplicates(&texts), [(0, 2)]);
    }

    /// Against comparing every pair, on texts at many distances.
    #[test]
    fn banding_misses_almost_nothing() {
        let texts: Vec<String> = (0..400)
            .map(|i| {
                let word = |j: usize| format!("w{}", if j % 9 == i % 9 { 1000 + i } else { j + 20 * (i / 8) });
                (0..14).map(word).collect::<Vec<_>>().join(" ")
            })
            .collect();
        let sets: Vec<_> = texts.iter().map(|t| shingles(t)).collect();
        let close = |a: usize, b: usize| jaccard(&sets[a], &sets[b]) >= NEAR_DUPLICATE;
        let with_neighbour =
            |pairs: &[(usize, usize)]| -> HashSet<usize> { pairs.iter().flat_map(|p| [p.0, p.1]).collect() };
        let all: Vec<(usize, usize)> =
            (0..texts.len()).flat_map(|b| (0..b).map(move |a| (a, b))).filter(|p| close(p.0, p.1)).collect();
        let found = near_duplicates(&texts);
        assert!(found.iter().all(|pair| all.contains(pair)));
        let (expected, found) = (with_neighbour(&all), with_neighbour(&found));
        assert!(found.len() as f64 >= 0.97 * expected.len() as f64, "{} of {}", found.len(), expected.len());
    }
}
