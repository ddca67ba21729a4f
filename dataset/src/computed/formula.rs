//! A formula: its templates, and the kinds of input that it is asked with.

use super::{PREFIX, TOPIC, phrasing};
use crate::Result;
use crate::dice::{Dice, hash};
use crate::row::Row;

/// What the kinds of one formula share. `{slot}` is filled in, `{Slot}` with a capital letter.
#[derive(Clone, Copy)]
pub struct Formula {
    pub name: &'static str,
    pub source: &'static str,
    /// Each names all inputs, so that the answer follows from the question.
    pub questions: &'static [&'static str],
    /// Each shows the steps.
    pub answers: &'static [&'static str],
}

/// A formula with one kind of person, distance or band: one group of rows.
pub struct Kind {
    formula: Formula,
    name: String,
    safety: bool,
    draw: Box<dyn Fn(&mut Dice) -> Slots>,
}

impl Formula {
    /// `draw` makes inputs and works out every figure that the templates name.
    pub fn kind(self, name: impl Into<String>, draw: impl Fn(&mut Dice) -> Slots + 'static) -> Kind {
        Kind { formula: self, name: name.into(), safety: false, draw: Box::new(draw) }
    }

    /// For formulas with a single group.
    pub fn only_kind(self, draw: impl Fn(&mut Dice) -> Slots + 'static) -> Kind {
        self.kind("", draw)
    }
}

impl Kind {
    /// Marks rows whose right answer is a warning or a refusal.
    pub fn about_safety(mut self) -> Self {
        self.safety = true;
        self
    }

    /// The name under which `overlaps.json` knows the formula.
    pub fn formula_name(&self) -> String {
        format!("{PREFIX}{}", self.formula.name)
    }

    pub fn group(&self) -> String {
        let separator = if self.name.is_empty() { "" } else { "-" };
        format!("{}{separator}{}", self.formula_name(), self.name)
    }

    /// The row number `round` of the group. Templates take turns, and each attempt moves on to the next.
    pub fn row(&self, round: usize, attempt: usize, dice: &mut Dice) -> Result<Row> {
        let group = self.group();
        let slots = (self.draw)(dice);
        // Each from a place of its own, so that questions and answers pair up differently in every group.
        let of_turn = |templates: &[&'static str], purpose: &str| {
            let start = hash(&format!("{purpose} of {group}")) % templates.len() as u64;
            templates[(start as usize + round + attempt) % templates.len()]
        };
        let question = slots.fill(of_turn(self.formula.questions, "questions"), &group)?;
        let answer = slots.fill(of_turn(self.formula.answers, "answers"), &group)?;
        Ok(Row {
            id: format!("{group}-{}", round + 1),
            question: phrasing::vary(&question, dice),
            answer,
            topic: TOPIC.to_string(),
            source: self.formula.source.to_string(),
            seen_in_train: true,
            safety: self.safety,
            group,
        })
    }
}

/// Values for the `{slots}` of templates.
#[derive(Clone, Default)]
pub struct Slots(Vec<(&'static str, String)>);

impl Slots {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.0.push((name, value.to_string()));
        self
    }

    pub fn and(mut self, other: Slots) -> Self {
        self.0.extend(other.0);
        self
    }

    fn fill(&self, template: &str, group: &str) -> Result<String> {
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let unfillable = || format!("{group}: no value for the template {template:?} at {{{after}");
            let (name, after_slot) = after.split_once('}').ok_or_else(unfillable)?;
            let (_, value) = self.0.iter().find(|(slot, _)| slot.eq_ignore_ascii_case(name)).ok_or_else(unfillable)?;
            text += before;
            if name.starts_with(char::is_uppercase) {
                text += &capitalised(value)
            } else {
                text += value
            }
            rest = after_slot;
        }
        Ok(text + rest)
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_filled_and_a_capital_slot_begins_a_sentence() {
        let slots = Slots::new().with("lift", "back squat").with("kg", 80);
        assert_eq!(slots.fill("{Lift} at {kg} kg.", "group").expect("known slots"), "Back squat at 80 kg.");
    }

    #[test]
    fn a_slot_without_a_value_is_an_error_that_names_the_group() {
        let error = Slots::new().fill("{reps} reps", "calculations/computed-x").expect_err("no such slot").to_string();
        assert!(error.starts_with("calculations/computed-x: no value"), "{error}");
        assert!(Slots::new().fill("{reps", "group").is_err());
    }
}
