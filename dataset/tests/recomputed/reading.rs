//! Reads the figures out of a question and an answer.

use fitness_dataset::row::Row;

/// A number in a text, with the word that follows it: `68.5 kg`, `30 %`, `34-year`.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Seconds where it is a clock such as 5:41 or 1:49:58.
    pub value: f64,
    pub unit: String,
    pub is_clock: bool,
}

pub struct Case {
    pub row: Row,
    pub question: Vec<Figure>,
    pub answer: Vec<Figure>,
}

impl Case {
    pub fn new(row: Row) -> Self {
        Self { question: figures(&row.question.to_lowercase()), answer: figures(&row.answer), row }
    }

    /// The group's name behind `calculations/computed-`.
    fn name(&self) -> &str {
        self.row.group.strip_prefix("calculations/computed-").unwrap_or_default()
    }

    pub fn is_of(&self, formula: &str) -> bool {
        self.name().strip_prefix(formula).is_some_and(|kind| kind.is_empty() || kind.starts_with('-'))
    }

    /// The last word of the group's name.
    pub fn kind(&self) -> &str {
        self.name().rsplit('-').next().unwrap_or_default()
    }

    pub fn name_contains(&self, part: &str) -> bool {
        self.name().contains(part)
    }

    /// The question's figures with one of these units.
    pub fn all(&self, units: &[&str]) -> Vec<f64> {
        self.question.iter().filter(|figure| units.contains(&figure.unit.as_str())).map(|figure| figure.value).collect()
    }

    /// The first of them.
    #[track_caller]
    pub fn one(&self, units: &[&str]) -> f64 {
        *self.all(units).first().unwrap_or_else(|| panic!("{}: no {units:?} in {:?}", self.row.id, self.row.question))
    }

    /// The figures with any other unit.
    pub fn others(&self, units: &[&str]) -> Vec<f64> {
        self.question
            .iter()
            .filter(|figure| !units.contains(&figure.unit.as_str()))
            .map(|figure| figure.value)
            .collect()
    }

    #[track_caller]
    pub fn clock(&self) -> f64 {
        let clock = self.question.iter().find(|figure| figure.is_clock);
        clock.unwrap_or_else(|| panic!("{}: no time in {:?}", self.row.id, self.row.question)).value
    }

    pub fn kg(&self) -> f64 {
        self.one(KILOS)
    }

    pub fn metres(&self) -> f64 {
        self.all(&["cm"]).first().map_or_else(|| self.one(&["m"]), |cm| cm / 100.0)
    }

    pub fn bmi(&self) -> f64 {
        self.kg() / self.metres().powi(2)
    }

    /// The figure that measures nothing else.
    pub fn age(&self) -> f64 {
        self.others(&[KILOS, &["cm", "m", "to", "less", "below", "%", "percent", "procent"], KCAL].concat())[0]
    }

    /// The answer must show `value`, give or take `tolerance`; times count in seconds.
    #[track_caller]
    pub fn answers_near(&self, value: f64, tolerance: f64) {
        assert!(
            self.answer.iter().any(|figure| (figure.value - value).abs() <= tolerance),
            "{}: {value} is missing\n  Q {}\n  A {}",
            self.row.id,
            self.row.question,
            self.row.answer
        );
    }

    /// The answer must show `value`, rounded to so many decimals.
    #[track_caller]
    pub fn answers(&self, value: f64, decimals: i32) {
        self.answers_near(value, 0.501 * 10_f64.powi(-decimals));
    }

    #[track_caller]
    pub fn says(&self, words: &[&str]) {
        let found = words.iter().any(|word| self.row.answer.contains(word));
        assert!(found, "{}: none of {words:?} in {:?}", self.row.id, self.row.answer);
    }
}

pub const KILOS: &[&str] = &["kg", "kilo", "kilos"];
pub const KCAL: &[&str] = &["kcal", "calories", "calorys"];

pub fn figures(text: &str) -> Vec<Figure> {
    let letters: Vec<char> = text.chars().collect();
    let digit = |at: usize| letters.get(at).is_some_and(char::is_ascii_digit);
    let mut found = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        if !digit(at) {
            at += 1;
            continue;
        }
        let start = at;
        // A point, comma or colon belongs to the number when a digit follows.
        while digit(at) || (matches!(letters.get(at), Some('.' | ',' | ':')) && digit(at + 1)) {
            at += 1;
        }
        let number: String = letters[start..at].iter().filter(|letter| **letter != ',').collect();
        let parts: Vec<f64> = number.split(':').filter_map(|part| part.parse().ok()).collect();
        let after = at + usize::from(matches!(letters.get(at), Some(' ' | '-')));
        let unit = letters[after.min(letters.len())..].iter();
        let unit = unit.take_while(|letter| letter.is_alphabetic() || matches!(letter, '%' | '€' | '/')).collect();
        let value = parts.iter().fold(0.0, |seconds, part| seconds * 60.0 + part);
        found.push(Figure { value, unit, is_clock: parts.len() > 1 });
    }
    found
}

#[test]
fn figures_are_read_with_their_units() {
    let read = figures("34-year-old, 68.5 kg, 1,850 kcal, 30 %, 5:30 min/km.");
    let read: Vec<(f64, &str)> = read.iter().map(|figure| (figure.value, figure.unit.as_str())).collect();
    assert_eq!(read, [(34.0, "year"), (68.5, "kg"), (1850.0, "kcal"), (30.0, "%"), (330.0, "min/km")]);
}
