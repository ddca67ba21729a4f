//! People ask in haste: some questions are sloppy, some have a greeting or a typo. Figures are never touched.

use crate::dice::Dice;

const GREETINGS: &[&str] = &[
    "Quick one: ",
    "Hi! ",
    "Hello, ",
    "Just to be sure: ",
    "Sum check: ",
    "Hey, ",
    "Maths help: ",
    "Short question. ",
];
const CLOSINGS: &[&str] = &[
    " Thanks!",
    " Please show the steps.",
    " I'd like to see the working.",
    " A rough figure will do.",
    " Could you spell it out?",
    " No long story needed.",
];

/// Common slips; words only, so that the inputs stay readable.
const TYPOS: &[(&str, &str)] = &[
    ("calories", "calorys"),
    ("protein", "protien"),
    ("weigh", "wiegh"),
    ("weight", "wieght"),
    ("maximum", "maximun"),
    ("heart", "haert"),
    ("deficit", "defecit"),
    ("should", "shoud"),
    ("maintenance", "maintainance"),
    ("carbohydrate", "carbohidrate"),
    ("kilometre", "kilometer"),
    ("training", "trainig"),
    ("resting", "restign"),
    ("finish", "finnish"),
    ("which", "wich"),
    ("because", "becuase"),
    ("percent", "procent"),
    ("what", "waht"),
    ("does", "deos"),
    ("would", "woud"),
    ("minutes", "minuts"),
];

pub fn vary(question: &str, dice: &mut Dice) -> String {
    match dice.below(20) {
        0..=9 => question.to_string(),
        10..=13 => sloppy(question),
        14..=15 => mistyped(&sloppy(question)),
        16..=17 => format!("{}{question}", dice.pick(GREETINGS)),
        _ if question.ends_with(['.', '?', '!']) => format!("{question}{}", dice.pick(CLOSINGS)),
        _ => question.to_string(),
    }
}

/// No capitals, no apostrophes, no mark at the end.
fn sloppy(question: &str) -> String {
    question.to_lowercase().replace('\'', "").trim_end_matches(['.', '?', '!']).to_string()
}

/// The first word in it that people mistype.
fn mistyped(question: &str) -> String {
    let slip = |word: &str| TYPOS.iter().find(|(right, _)| *right == word).map(|(_, wrong)| *wrong);
    let Some(word) = question.split(' ').find(|word| slip(word).is_some()) else {
        return question.to_string();
    };
    question.replacen(word, slip(word).unwrap_or(word), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sloppy_questions_keep_their_figures() {
        assert_eq!(sloppy("What's my BMI at 68.5 kg and 1.68 m?"), "whats my bmi at 68.5 kg and 1.68 m");
    }

    #[test]
    fn one_word_is_mistyped_and_questions_without_such_a_word_stay() {
        assert_eq!(mistyped("how many calories does it burn"), "how many calorys does it burn");
        assert_eq!(mistyped("bmi please"), "bmi please");
    }
}
