//! Resting and total energy, and the energy of activities.

use super::Check;
use super::reading::{Case, KCAL};

pub const CHECKS: &[(&str, Check)] = &[
    ("mifflin-st-jeor", |case| case.answers(resting(case), 0)),
    ("daily-needs", |case| {
        case.answers(resting(case), 2);
        case.answers_near(resting(case) * factor(case), 1.5);
    }),
    ("total-energy", |case| {
        let bmr = case.question.iter().map(|figure| figure.value).find(|value| *value > 1_000.0).expect("a BMR");
        // Some answers name only the total rounded to 50.
        case.answers(bmr * factor(case), 0);
    }),
    ("met-energy", |case| {
        let met = [
            ("walking", 4.3),
            ("running", 9.8),
            ("cycling", 8.0),
            ("swimming", 5.8),
            ("lifting", 3.5),
            ("yoga", 2.5),
            ("machine", 7.0),
            ("hiking", 6.0),
        ];
        let (_, met) = met.iter().find(|(activity, _)| *activity == case.kind()).expect("a known activity");
        let hours = case.one(&["minutes", "minuts", "min"]) / 60.0;
        case.answers(met * case.kg() * hours, 0);
    }),
    ("maintenance-from-log", |case| {
        let eaten = case.one(KCAL);
        let kilos = case.one(&["kg"]);
        let stored = kilos * 7_700.0 / case.one(&["days"]);
        let lost = case.row.question.to_lowercase().contains("lost");
        assert_eq!(lost, case.kind() == "losing", "{}", case.row.id);
        case.answers_near(if lost { eaten + stored } else { eaten - stored }, 1.0);
    }),
];

/// Mifflin-St Jeor from the question alone.
pub fn resting(case: &Case) -> f64 {
    let text = case.row.question.to_lowercase();
    let woman = text.contains("woman") || text.contains("female");
    let base = case.kg() * 10.0 + case.metres() * 625.0 - case.age() * 5.0;
    if woman { base - 161.0 } else { base + 5.0 }
}

fn factor(case: &Case) -> f64 {
    if case.name_contains("sedentary") {
        1.2
    } else if case.name_contains("lightly") {
        1.375
    } else if case.name_contains("moderately") {
        1.55
    } else {
        assert!(case.name_contains("very-active"), "{}", case.row.id);
        1.725
    }
}
