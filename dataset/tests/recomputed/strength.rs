//! One-repetition maxima and loads.

use super::Check;
use super::reading::KILOS;

pub const CHECKS: &[(&str, Check)] = &[
    ("epley", |case| {
        let (kg, reps) = (case.kg(), case.others(KILOS)[0]);
        assert!((1.0..=10.0).contains(&reps), "{}: {reps} repetitions", case.row.id);
        case.answers_near(kg + kg * reps / 30.0, 0.06);
    }),
    ("percent-of-max", |case| {
        let percent = case.one(&["%", "percent", "procent"]);
        let load = case.one(&["kg"]) * percent / 100.0;
        case.answers(load, 2);
        case.answers_near(load, 1.26); // what plates allow
    }),
];
