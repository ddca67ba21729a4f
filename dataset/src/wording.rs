//! What the checker measures on an answer: its length, its opening, its frame.

use crate::similarity::fold;

/// Blanked in frames: an answer that only swaps the lift or the food is the same answer. Single words, singular.
const NAMED: &[&str] = &[
    // Exercises, one word at a time: a barbell row is two of them.
    "back",
    "barbell",
    "bench",
    "cycling",
    "deadlift",
    "dumbbell",
    "football",
    "front",
    "hatha",
    "hiking",
    "hip",
    "indoor",
    "jogging",
    "lap",
    "leg",
    "lifting",
    "lunge",
    "overhead",
    "plank",
    "press",
    "resistance",
    "ride",
    "row",
    "rowing",
    "run",
    "running",
    "skipping",
    "squat",
    "swimming",
    "thrust",
    "training",
    "walk",
    "walking",
    "yoga",
    // Foods.
    "almond",
    "apple",
    "banana",
    "bean",
    "beef",
    "bread",
    "cheese",
    "chicken",
    "chickpea",
    "chilli",
    "cod",
    "coffee",
    "curry",
    "egg",
    "lentil",
    "milk",
    "minestrone",
    "oat",
    "pasta",
    "porridge",
    "potato",
    "quark",
    "rice",
    "salmon",
    "skyr",
    "soup",
    "spinach",
    "stew",
    "tea",
    "tempeh",
    "tofu",
    "tuna",
    "turkey",
    "yoghurt",
];

pub fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Full stops, question and exclamation marks that end a word; the point in 1.5 does not.
pub fn sentences(text: &str) -> usize {
    let ends = |word: &str| word.trim_end_matches(['"', '”', ')', '\'']).ends_with(['.', '!', '?']);
    text.split_whitespace().filter(|word| ends(word)).count()
}

/// The answer with numbers and named foods and exercises blanked: rows of one frame differ in their figures only.
pub fn frame(answer: &str) -> String {
    blanked(answer).join(" ")
}

/// The first four words, numbers and names blanked.
pub fn opening(answer: &str) -> String {
    let mut words = blanked(answer);
    words.truncate(4);
    words.join(" ")
}

fn blanked(answer: &str) -> Vec<String> {
    let mut words: Vec<String> = fold(answer)
        .into_iter()
        .map(|word| {
            let singular = word.strip_suffix('s').unwrap_or(&word);
            if word.contains(|letter: char| letter.is_ascii_digit()) {
                "#".to_string()
            } else if NAMED.contains(&word.as_str()) || NAMED.contains(&singular) {
                "@".to_string()
            } else {
                word
            }
        })
        .collect();
    // "1,399" folds to two words and "bench press" is two: one blank each.
    words.dedup_by(|next, word| next == word && (word == "#" || word == "@"));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_ignores_figures_lifts_and_foods() {
        let squat = "Epley puts your back squat at 112.5 kg, so plan with 1,110.";
        let bench = "Epley puts your bench press at 80 kg, so plan with 75.";
        assert_eq!(frame(squat), "epley puts your @ at # kg so plan with #");
        assert_eq!(frame(squat), frame(bench));
        assert_eq!(opening(squat), "epley puts your @");
    }

    #[test]
    fn a_decimal_point_ends_no_sentence() {
        assert_eq!(sentences("That is 1.5 kg. Is it much? \"No.\""), 3);
        assert_eq!(words("That is 1.5 kg."), 4);
    }
}
